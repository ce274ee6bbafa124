"""The trail of a verification: each check that was made, what it got and wanted; and the error that ends it."""

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from datetime import UTC, datetime
from enum import IntFlag, StrEnum
from typing import Generic, Never, TypeVar

from casemate.verifier.rules import RULES, Rule, RuleText
from casemate.wire.encodings.json_object import date_text
from casemate.wire.encodings.spans import Span
from casemate.wire.errors import CasemateError, WireError
from casemate.wire.protocol.clock import off_by

T = TypeVar("T")


class RefusedError(CasemateError):
    """The evidence was refused: which rule, what it got, and what it wanted."""

    def __init__(self, rule: Rule, *, got: str, want: str, advice: str = "") -> None:
        super().__init__(f"{rule}: got {got}, want {want}")
        self.advice = advice
        self.rule = rule
        self.got = got
        self.want = want


class CheckOutcome(StrEnum):
    """What became of a check."""

    PASSED = "passed"
    REFUSED = "refused"
    NOT_REACHED = "not reached"


@dataclass(frozen=True, slots=True)
class Check:
    """One rule, applied once."""

    rule: Rule
    outcome: CheckOutcome
    got: str
    want: str
    spans: tuple[Span, ...]
    """Where in the quote the value stands."""

    @property
    def text(self) -> RuleText:
        """What the rule demands, and where that is written."""
        return RULES[self.rule]


@dataclass(frozen=True, slots=True)
class CheckGroup:
    """The checks of one thing: a chain, a document, a report."""

    title: str
    checks: tuple[Check, ...]


@dataclass(frozen=True, slots=True)
class CheckTree:
    """All checks. For people to look at: what acts on trust takes what ``appraise`` returns."""

    groups: tuple[CheckGroup, ...]

    @property
    def refusal(self) -> Check | None:
        """The check at which ``appraise`` refuses; None where it accepts."""
        return next((check for check in self.checks() if check.outcome is CheckOutcome.REFUSED), None)

    def checks(self) -> Iterable[Check]:
        """All checks, in order."""
        return (check for group in self.groups for check in group.checks)


class _NotReachedError(Exception):
    """An earlier step has failed that this one stands on."""


class Step(Generic[T]):
    """The result of a group of checks, for the groups that stand on it."""

    __slots__ = ("_values",)

    def __init__(self, *values: T) -> None:
        self._values = values

    @property
    def is_reached(self) -> bool:
        """Whether there is a result."""
        return bool(self._values)

    def value(self) -> T:
        """The result; where there is none, the group that asks is not reached."""
        if not self._values:
            raise _NotReachedError
        return self._values[0]


@dataclass(slots=True)
class _Record:
    rule: Rule
    holds: bool
    got: object
    want: object
    spans: tuple[str, ...]


class Passed:
    """Shows that every check of an appraisal has passed: verified evidence cannot be made without one.

    :meth:`Trail.passed` gives it, at the end of an appraisal and nowhere else (a test looks for other places).
    """

    __slots__ = ()

    @staticmethod
    def demand(given: object) -> None:
        """Refuses to make verified evidence by hand."""
        if type(given) is not Passed:
            raise TypeError("verified evidence is made by an appraisal alone")


class Trail:
    """Makes checks, and notes them.

    What a check got and wanted is a value, or a function that gives it: most are never read, so they cost nothing then.
    A thorough trail goes on after a refusal with all that can still be looked at: a chain to the wrong root is followed
    all the same. So no verdict may be drawn from one.
    """

    def __init__(self, *, thorough: bool, without: frozenset[Rule] = frozenset()) -> None:
        """An empty trail; rules that it is ``without`` are expected by somebody else."""
        self.thorough = thorough
        self._without = without
        self._groups: list[tuple[str, tuple[Rule, ...], list[_Record]]] = []
        self._records: list[_Record] = []

    def group(self, title: str, rules: tuple[Rule, ...], work: Callable[[], T]) -> Step[T]:
        """Runs ``work``, whose checks are of these ``rules``."""
        if not self.thorough:
            return Step(work())
        self._records = []
        self._groups.append((title, rules, self._records))
        try:
            return Step(work())
        except (RefusedError, _NotReachedError):
            return Step()

    def require(self, rule: Rule, holds: bool, *, got: object, want: object, at: tuple[str, ...] = ()) -> None:  # noqa: FBT001 - the checked condition itself
        """Refuses where ``holds`` is false. What follows in the group may lean on it."""
        if not holds:
            self.refuse(rule, got=got, want=want, at=at)
        self.found(rule, got=got, want=want, at=at)

    def expect(
        self,
        rule: Rule,
        holds: bool,  # noqa: FBT001 - the checked condition itself
        *,
        got: object,
        want: object,
        at: tuple[str, ...] = (),
        advice: Callable[[], str] = str,
    ) -> None:
        """The same, where a thorough trail can still look at what follows; ``advice`` says what to do otherwise."""
        if self.thorough:
            self._records.append(_Record(rule, holds, got, want, at))
        elif not holds and rule not in self._without:
            self.refuse(rule, got=got, want=want, at=at, advice=advice())

    def found(self, rule: Rule, *, got: object, want: object, at: tuple[str, ...] = ()) -> None:
        """Notes that a rule holds."""
        if self.thorough:
            self._records.append(_Record(rule, True, got, want, at))

    def waive(self, rule: Rule, *, got: object, by: str, at: tuple[str, ...] = ()) -> None:
        """Notes that the policy does not demand anything here, in the policy's words."""
        self.found(rule, got=got, want=by, at=at)

    def refuse(self, rule: Rule, *, got: object, want: object, at: tuple[str, ...] = (), advice: str = "") -> Never:
        """Refuses."""
        self._records.append(_Record(rule, False, got, want, at))
        raise RefusedError(rule, got=shown(got), want=shown(want), advice=advice)

    def passed(self) -> Passed:
        """The end of an appraisal: all checks have passed, or an earlier one had raised."""
        if self.thorough:
            raise TypeError("no verdict may be drawn from a trail that goes on after a refusal")
        return Passed()

    def parse(self, rule: Rule, parse: Callable[[bytes], T], data: bytes, what: str) -> T:
        """What ``parse`` makes of ``data``; malformed bytes are a refusal by ``rule``."""
        try:
            value = parse(data)
        except WireError as error:
            self.refuse(rule, got=f"{error.field}: {error.got}", want=error.want)
        self.found(rule, got=f"{len(data)} bytes", want=what)
        return value

    def tree(self, spans: Iterable[Span]) -> CheckTree:
        """All checks so far, with the ``spans`` of the quote that they name."""
        by_name = {span.name: span for span in spans}
        return CheckTree(tuple(_group(title, rules, records, by_name) for title, rules, records in self._groups))


def window(start: datetime, end: datetime, of: str) -> Callable[[], str]:
    """From when until when something is valid, both included; written out only where somebody reads it."""
    return lambda: f"{shown(start)} to {shown(end)} ({of})"


def moment(now: datetime, start: datetime, end: datetime) -> Callable[[], str]:
    """A time, and how far it is outside of when something is valid; written out only where somebody reads it."""

    def said() -> str:
        distance = off_by(now, start, end)
        return f"{shown(now)}, {distance}" if distance else shown(now)

    return said


def shown(value: object) -> str:
    """A value for people: bytes in hexadecimal, times in UTC, flags by name; a function is asked for it now."""
    if callable(value):
        return shown(value())
    if isinstance(value, IntFlag):
        return value.name or str(int(value))
    if isinstance(value, bytes):
        return value.hex()
    if isinstance(value, datetime):
        return date_text(value.astimezone(UTC))
    if isinstance(value, frozenset | tuple | list):
        return ", ".join(sorted(shown(item) for item in value)) or "none"
    return str(value)


def _group(title: str, rules: tuple[Rule, ...], records: list[_Record], spans: dict[str, Span]) -> CheckGroup:
    checks = [
        Check(
            record.rule,
            CheckOutcome.PASSED if record.holds else CheckOutcome.REFUSED,
            shown(record.got),
            shown(record.want),
            tuple(spans[name] for name in record.spans if name in spans),
        )
        for record in records
    ]
    made = {record.rule for record in records}
    left = [Check(rule, CheckOutcome.NOT_REACHED, "", "", ()) for rule in rules if rule not in made]
    return CheckGroup(title, (*checks, *left))
