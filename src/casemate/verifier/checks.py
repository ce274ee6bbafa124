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
    """How a check came out."""

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
    """The value's place in the quote."""

    @property
    def text(self) -> RuleText:
        """The rule's demand and its source."""
        return RULES[self.rule]


@dataclass(frozen=True, slots=True)
class CheckGroup:
    """The checks of one thing: a chain, a document, a report."""

    title: str
    checks: tuple[Check, ...]


@dataclass(frozen=True, slots=True)
class CheckTree:
    """All checks of an explanation, for people to read. Code that acts on trust takes what ``appraise`` returns."""

    groups: tuple[CheckGroup, ...]

    @property
    def refusal(self) -> Check | None:
        """The check at which ``appraise`` refuses; None where it accepts."""
        return next((check for check in self.checks() if check.outcome is CheckOutcome.REFUSED), None)

    def checks(self) -> Iterable[Check]:
        """All checks, in order."""
        return (check for group in self.groups for check in group.checks)


class _NotReachedError(Exception):
    """An earlier step failed on whose result this one depends."""


class Step(Generic[T]):
    """The result of a group of checks, for the groups that depend on it."""

    __slots__ = ("_values",)

    def __init__(self, *values: T) -> None:
        self._values = values

    @property
    def is_reached(self) -> bool:
        """Whether there is a result."""
        return bool(self._values)

    def value(self) -> T:
        """The result. Where there is none, the group that asks for it ends and counts as not reached."""
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
    """Makes the checks of one appraisal, and records them for an explanation.

    A plain trail raises at the first check that fails. A thorough trail records the failure and goes on with whatever
    does not depend on it: it follows a chain to the wrong root, for instance. So no verdict may be drawn from it.

    ``got`` and ``want`` are values or functions that give one. Most are never shown, and then a function costs nothing.
    """

    def __init__(self, *, thorough: bool, without: frozenset[Rule] = frozenset()) -> None:
        """An empty trail. It ignores failures of the rules that it is ``without``: the caller checks those itself."""
        self.thorough = thorough
        self._without = without
        self._groups: list[tuple[str, tuple[Rule, ...], list[_Record]]] = []
        self._records: list[_Record] = []

    def group(self, title: str, rules: tuple[Rule, ...], work: Callable[[], T]) -> Step[T]:
        """The result of ``work``, whose checks are of these ``rules``; no result where a thorough trail saw it fail."""
        if not self.thorough:
            return Step(work())
        self._records = []
        self._groups.append((title, rules, self._records))
        try:
            return Step(work())
        except (RefusedError, _NotReachedError):
            return Step()

    def require(self, rule: Rule, holds: bool, *, got: object, want: object, at: tuple[str, ...] = ()) -> None:  # noqa: FBT001 - the checked condition itself
        """Refuses where ``holds`` is false, also when explaining: what follows in the group depends on it."""
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
        """Refuses where ``holds`` is false; records the failure and goes on when explaining.

        Args:
            rule: that demands it.
            holds: whether it does.
            got: what was found.
            want: what the rule demands.
            at: names of the fields that the value stands in.
            advice: what the user can do about a refusal.
        """
        if self.thorough:
            self._records.append(_Record(rule, holds, got, want, at))
        elif not holds and rule not in self._without:
            self.refuse(rule, got=got, want=want, at=at, advice=advice())

    def found(self, rule: Rule, *, got: object, want: object, at: tuple[str, ...] = ()) -> None:
        """Records that a rule holds."""
        if self.thorough:
            self._records.append(_Record(rule, True, got, want, at))

    def waive(self, rule: Rule, *, got: object, by: str, at: tuple[str, ...] = ()) -> None:
        """Records that the policy demands nothing here, with the policy's word for that."""
        self.found(rule, got=got, want=by, at=at)

    def refuse(self, rule: Rule, *, got: object, want: object, at: tuple[str, ...] = (), advice: str = "") -> Never:
        """Raises :class:`RefusedError`."""
        self._records.append(_Record(rule, False, got, want, at))
        raise RefusedError(rule, got=shown(got), want=shown(want), advice=advice)

    def passed(self) -> Passed:
        """The end of an appraisal: all checks have passed, or an earlier one had raised."""
        if self.thorough:
            raise TypeError("no verdict may be drawn from a trail that goes on after a refusal")
        return Passed()

    def parse(self, rule: Rule, parse: Callable[[bytes], T], data: bytes, what: str) -> T:
        """The value that ``data`` encodes; malformed bytes are refused by ``rule``."""
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
    """A validity period for an error, both ends included; formatted only when it is shown."""
    return lambda: f"{shown(start)} to {shown(end)} ({of})"


def moment(now: datetime, start: datetime, end: datetime) -> Callable[[], str]:
    """A time and its distance from a validity period, for an error; formatted only when it is shown."""

    def said() -> str:
        distance = off_by(now, start, end)
        return f"{shown(now)}, {distance}" if distance else shown(now)

    return said


_MOST_SHOWN = 32
"""Most values of one list in an error: allow-lists of machines have thousands."""


def shown(value: object) -> str:
    """A value as text for people: bytes in hexadecimal, times in UTC, flags by name; functions are called for it."""
    if callable(value):
        return shown(value())
    if isinstance(value, IntFlag):
        return value.name or str(int(value))
    if isinstance(value, bytes):
        return value.hex()
    if isinstance(value, datetime):
        return date_text(value.astimezone(UTC))
    if isinstance(value, frozenset | tuple | list):
        items = sorted(shown(item) for item in value)
        more = len(items) - _MOST_SHOWN
        return ", ".join(items[:_MOST_SHOWN]) + (f" and {more} more" if more > 0 else "") if items else "none"
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
