"""Questions about the sealed state."""

from collections.abc import Mapping
from dataclasses import dataclass

from casemate.engines.questions.reading import Head, Parser, no_text, value_of
from casemate.wire.errors import WireError
from casemate.wire.protocol.state_changes import MAX_KEY

MAX_LISTED = 10_000
"""Most keys in one answer."""


@dataclass(frozen=True, slots=True)
class GetState:
    """Asks for the value of a key. Answered with JSON, or with nothing where there is none."""

    key: str


@dataclass(frozen=True, slots=True)
class PutState:
    """Sets a value. Answered with null."""

    key: str
    value: bytes


@dataclass(frozen=True, slots=True)
class DeleteState:
    """Removes a key. Answered with whether it was there."""

    key: str


@dataclass(frozen=True, slots=True)
class ListState:
    """Asks for the keys with this prefix that follow ``after``, in order. Answered with a list."""

    prefix: str
    after: str | None
    limit: int


@dataclass(frozen=True, slots=True)
class CompareAndSetState:
    """Sets a value (None removes it) if it is what is expected (None: absent). Answered with whether it was."""

    key: str
    expected: bytes | None
    value: bytes | None


StateQuestion = GetState | PutState | DeleteState | ListState | CompareAndSetState


def _get(head: Head, text: bytes) -> GetState:
    no_text(text)
    return GetState(_key(head, "key", least=1))


def _put(head: Head, text: bytes) -> PutState:
    return PutState(_key(head, "key", least=1), value_of(text))


def _delete(head: Head, text: bytes) -> DeleteState:
    no_text(text)
    return DeleteState(_key(head, "key", least=1))


def _list(head: Head, text: bytes) -> ListState:
    no_text(text)
    limit = head.get("limit")
    if type(limit) is not int or not 1 <= limit <= MAX_LISTED:
        raise WireError("guest's question.limit", got=repr(limit)[:64], want=f"1 to {MAX_LISTED}")
    after = None if head.get("after") is None else _key(head, "after", least=0)
    return ListState(_key(head, "prefix", least=0), after, limit)


def _compare_and_set(head: Head, text: bytes) -> CompareAndSetState:
    expected, rest = _sized(head, "expected", text)
    value, rest = _sized(head, "value", rest)
    no_text(rest)
    return CompareAndSetState(_key(head, "key", least=1), expected, value)


def _key(head: Head, member: str, *, least: int) -> str:
    key = head.get(member)
    if not isinstance(key, str) or not least <= len(key.encode(errors="replace")) <= MAX_KEY:
        raise WireError(f"guest's question.{member}", got=repr(key)[:64], want=f"{least} to {MAX_KEY} bytes of UTF-8")
    return key


def _sized(head: Head, member: str, text: bytes) -> tuple[bytes | None, bytes]:
    """A value whose size the head tells, None where it tells none; and the bytes behind it."""
    size = head.get(member)
    if size is None:
        return None, text
    if type(size) is not int or not 0 <= size <= len(text):
        raise WireError(f"guest's question.{member}", got=repr(size)[:64], want=f"0 to {len(text)}")
    return value_of(text[:size]), text[size:]


PARSERS: Mapping[str, Parser[StateQuestion]] = {
    "get": _get,
    "put": _put,
    "delete": _delete,
    "list": _list,
    "compare-and-set": _compare_and_set,
}
"""By what a head says to do."""
