"""A policy's demands as records: each field of a policy class carries one, from which everything else follows.

A field says its name, its type and the words that it takes; the :class:`Demand` in its annotation says how a value is
read and written (:class:`Kind`), which rule judges it, and how where that is a comparison with one field of a report
(:class:`Comparison`). Type checkers see an ordinary field. Parsing, printing, the checks at construction and the
documents' tables read the records.

A field with a default was added later: old policies lack it, and mean by that what its default says.
"""

from collections.abc import Callable, Hashable
from dataclasses import MISSING, dataclass, fields
from functools import lru_cache
from typing import Annotated, Any, Final, Generic, Literal, TypeVar, cast, get_args, get_origin

from casemate.verifier.checks import Trail
from casemate.verifier.rules import Rule
from casemate.wire.encodings.json_object import JsonObject
from casemate.wire.errors import CasemateError, WireError

T = TypeVar("T")

REQUIRED: Final = MISSING
"""The default of a member that every policy must have."""


class PolicyError(CasemateError):
    """This policy says nothing, or contradicts itself."""


def _any_value(_name: str, _value: object) -> None:
    """Every value of the right type will do."""


@dataclass(frozen=True, slots=True)
class Kind(Generic[T]):
    """How the values of a member are written in a policy's text, and which of them make sense."""

    takes: str
    """Those values, for errors and documents; empty for a member that takes words alone."""
    read: Callable[[JsonObject, str], T]
    """The value of the member of that name; :class:`WireError` for anything else."""
    plain: Callable[[T], Any]
    """The value as JSON and TOML have it."""
    check: Callable[[str, T], None] = _any_value
    """Given the member's name and a value: :class:`PolicyError` for one that makes no sense."""


@dataclass(frozen=True, slots=True)
class Comparison:
    """Judges a demand by one field of a report or of a certificate."""

    field: str
    """The field's name, with dots for nested fields."""
    holds: Callable[[Any, Any], bool]
    """Given what was found and the policy's value."""
    want: Callable[[Any], object]
    """The policy's value as errors show it."""
    got: Callable[[Any], object] = lambda found: found
    """The evidence's value as errors show it."""
    strict: str = ""
    """The word that is a demand itself, of a member that takes words alone."""
    subject: Literal["report", "platform"] = "report"
    """The owner of the field: the report, or the platform as described in the certificate of its key."""
    requires: str = ""
    """A property of the subject without which the field counts for nothing."""

    def find(self, subject: object) -> Any:
        """The field; None where the subject lacks it."""
        for name in self.field.split("."):
            subject = getattr(subject, name) if subject is not None else None
        return subject


@dataclass(frozen=True, slots=True)
class Demand:
    """The demand of one member of a policy."""

    kind: Kind[Any]
    rule: Rule
    """That judges it."""
    note: str = ""
    """A note for the documentation, beside the permitted values."""
    comparison: Comparison | None = None
    """None for a demand that is checked by a function."""


@dataclass(frozen=True, slots=True)
class Member:
    """One field of a policy class, with its demand."""

    name: str
    demand: Demand
    types: tuple[type, ...]
    words: tuple[str, ...]
    """Words that stand in place of a value."""
    literals: tuple[object, ...]
    """The words, and single values of other types."""
    default: Any
    """The value of a policy without this member; :data:`REQUIRED` if every policy must have it."""

    @property
    def is_required(self) -> bool:
        """Whether every policy's text must have it."""
        return self.default is REQUIRED

    def check(self, value: object) -> None:
        """Refuses a value of the wrong type or size, also where no type checker has looked."""
        if any(type(value) is type(literal) and value == literal for literal in self.literals):
            return
        if type(value) not in self.types:
            wanted = [*(kind.__name__ for kind in self.types), *map(str, self.literals)]
            raise PolicyError(f"{self.name} is {shown_member(value)}, want {' or '.join(wanted)}")
        self.demand.kind.check(self.name, value)


def members_of(policy: type) -> tuple[Member, ...]:
    """The members of a policy class, in the order of its fields."""
    return _members_of(cast("Hashable", policy))  # of which mypy doubts that a class is one


@lru_cache(maxsize=8)
def _members_of(policy: Any) -> tuple[Member, ...]:
    return tuple(_member(field.name, field.type, field.default) for field in fields(policy))


def _member(name: str, annotation: object, default: object) -> Member:
    if get_origin(annotation) is not Annotated:
        raise TypeError(f"{name} carries no Demand")
    union, demand = get_args(annotation)
    parts = (union,) if get_origin(union) in (Literal, frozenset, tuple) or isinstance(union, type) else get_args(union)
    literals = tuple(value for part in parts if get_origin(part) is Literal for value in get_args(part))
    types = tuple(dict.fromkeys(get_origin(part) or part for part in parts if get_origin(part) is not Literal))
    words = tuple(literal for literal in literals if isinstance(literal, str))
    return Member(name, demand, types, words, literals, default)


def check_members(policy: Any) -> None:
    """Refuses a policy in which a member has a value that it cannot take. None never means "do not check"."""
    for member in members_of(type(policy)):
        member.check(getattr(policy, member.name))


def words_given(policy: Any) -> tuple[str, ...]:
    """The words that a policy has in place of values."""
    values = ((member, getattr(policy, member.name)) for member in members_of(type(policy)))
    return tuple(value for member, value in values if isinstance(value, str) and value in member.words)


@lru_cache(maxsize=8)
def compared(policy: type, subject: str = "report") -> dict[Rule, Member]:
    """The members that a comparison with a field of this subject judges, in the order of their rules."""
    found = {
        member.demand.rule: member
        for member in members_of(policy)
        if member.demand.comparison is not None and member.demand.comparison.subject == subject
    }
    return {rule: found[rule] for rule in Rule if rule in found}


def judge(trail: Trail, member: Member, policy: object, subject: object, *, within: str | None = "") -> None:
    """Holds one field of a report or certificate against the policy.

    Args:
        trail: where the check is made.
        member: one of :func:`compared`.
        policy: whose member it is.
        subject: what has the field.
        within: what stands before the field's name in the evidence; None where the field is not in the evidence.
    """
    comparison = member.demand.comparison
    if comparison is None:
        raise TypeError(f"{member.name} is judged by a function")
    value = getattr(policy, member.name)
    waived = isinstance(value, str) and value in member.words and value != comparison.strict
    if waived and not trail.thorough:  # most members of most policies: the field is not even looked up
        return
    found = comparison.find(subject)
    holds = waived or (
        comparison.holds(found, value) and (not comparison.requires or getattr(subject, comparison.requires))
    )
    if holds and not trail.thorough:  # passed, and not explained: make no texts
        return
    at = () if within is None else (f"{within}{comparison.field}",)
    if waived:
        trail.waive(member.demand.rule, got=comparison.got(found), by=value, at=at)
    else:
        trail.expect(member.demand.rule, holds, got=comparison.got(found), want=comparison.want(value), at=at)


def one_of(field: str, *, subject: Literal["report", "platform"] = "report", requires: str = "") -> Comparison:
    """The field is one of the values that the policy names."""
    return Comparison(
        field,
        lambda found, values: found in values,
        lambda values: values,
        lambda found: "not told" if found is None else found,
        subject=subject,
        requires=requires,
    )


def equal(field: str) -> Comparison:
    """The field is the value that the policy names."""
    return Comparison(field, lambda found, value: found == value, lambda value: value)


def at_least(field: str) -> Comparison:
    """The field is the value that the policy names, or a higher one."""
    return Comparison(field, lambda found, value: found >= value, lambda value: f"{value} or above")


def masked(field: str, digits: int) -> Comparison:
    """Those bits of the field that the policy's mask has are those of its value."""
    return Comparison(
        field,
        lambda found, bits: int(found) & bits.mask == bits.value,
        lambda bits: f"{bits.value:#0{digits + 2}x} under the mask {bits.mask:#0{digits + 2}x}",
        lambda found: f"{int(found):#0{digits + 2}x}",
    )


def bit(field: str, at: int, *, strict: str, wanted: bool, shown: tuple[str, str]) -> Comparison:
    """One bit of the field is as the word ``strict`` demands; ``shown`` names the bit clear, and set."""
    return Comparison(
        field,
        lambda found, _word: bool(found & at) is wanted,
        lambda word: word,
        lambda found: shown[bool(found & at)],
        strict,
    )


def off_if_told(field: str) -> Comparison:
    """A property of the platform is off, where its certificate tells."""
    return Comparison(
        field,
        lambda found, _word: not found,
        lambda word: word,
        lambda found: "not told" if found is None else "on" if found else "off",
        "MUST_BE_OFF",
        "platform",
    )


def words_alone() -> Kind[str]:
    """A kind for members that take only words."""

    def read(body: JsonObject, name: str) -> str:
        raise WireError(f"policy.{name}", got=ascii(body.value(name))[:80], want="one of its words")

    return Kind("", read, lambda word: word)


def shown_member(value: object) -> str:
    """A value that a member cannot take, for an error: a word or number as it is written, else what kind it is of."""
    if value is None or isinstance(value, str | int | float):
        return str(value) if _is_word(value) else ascii(value)[:80]
    return f"a value of type {type(value).__name__}"


def check_sizes(name: str, values: frozenset[bytes], size: int) -> None:
    """Refuses an empty set, and values of another size."""
    if not values:
        raise PolicyError(f"{name} is an empty set, which accepts nothing: name a value, or write its word")
    for value in values:
        if type(value) is not bytes or len(value) != size:
            got = f"{len(value)} bytes" if type(value) is bytes else f"type {type(value).__name__}"
            raise PolicyError(f"{name} has a value of {got}, want {size} bytes")


def _is_word(value: object) -> bool:
    return isinstance(value, str) and value.isascii() and value.replace("_", "").isupper()
