"""Questions that a guest asks the enclave itself in the middle of a call: about its sealed state, and to seal.

Each has a head (JSON) that says what to do, and bytes where a value belongs to it. Values are JSON of the guest's,
unparsed. The bootstrap refuses what is too long or misshapen by an exception in the program. So a guest that sends it
all the same has got past the bootstrap, and is ended.
"""

from collections.abc import Callable
from dataclasses import dataclass

from casemate.wire.errors import WireError
from casemate.wire.protocol.seal_binding import SealBinding
from casemate.wire.protocol.state_changes import MAX_KEY, MAX_VALUE

MAX_LISTED = 10_000
"""Most keys in one answer."""

MAX_SEALED_TEXT = 2 * MAX_VALUE
"""Longest sealed text that is looked at (bytes)."""

MAX_QUESTION = 2 * MAX_VALUE
"""Longest bytes beside a head: the two values of a comparison, or a sealed text."""


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


@dataclass(frozen=True, slots=True)
class Seal:
    """Seals a value. Answered with the sealed text."""

    binding: SealBinding
    value: bytes


@dataclass(frozen=True, slots=True)
class Unseal:
    """Opens a sealed text. Answered with the JSON in it."""

    text: str


StateQuestion = GetState | PutState | DeleteState | ListState | CompareAndSetState
InsideQuestion = StateQuestion | Seal | Unseal

Head = dict[str, object]


def parse_question(head: Head, text: bytes) -> InsideQuestion:
    """The question in a head and the bytes behind it; :class:`WireError` if it is malformed."""
    do = head.get("do")
    parse = _PARSERS.get(do) if isinstance(do, str) else None
    if parse is None:
        raise WireError("guest's question.do", got=repr(do)[:64], want=" or ".join(_PARSERS))
    return parse(head, text)


def _get(head: Head, text: bytes) -> GetState:
    _no_text(text)
    return GetState(_key(head, "key", least=1))


def _put(head: Head, text: bytes) -> PutState:
    return PutState(_key(head, "key", least=1), _value(text))


def _delete(head: Head, text: bytes) -> DeleteState:
    _no_text(text)
    return DeleteState(_key(head, "key", least=1))


def _list(head: Head, text: bytes) -> ListState:
    _no_text(text)
    limit = head.get("limit")
    if type(limit) is not int or not 1 <= limit <= MAX_LISTED:
        raise WireError("guest's question.limit", got=repr(limit)[:64], want=f"1 to {MAX_LISTED}")
    after = None if head.get("after") is None else _key(head, "after", least=0)
    return ListState(_key(head, "prefix", least=0), after, limit)


def _compare_and_set(head: Head, text: bytes) -> CompareAndSetState:
    expected, rest = _sized(head, "expected", text)
    value, rest = _sized(head, "value", rest)
    _no_text(rest)
    return CompareAndSetState(_key(head, "key", least=1), expected, value)


def _seal(head: Head, text: bytes) -> Seal:
    binding = head.get("policy")  # the name in manifests and in functions
    for known in SealBinding:
        if binding == known:
            return Seal(known, _value(text))
    raise WireError("guest's question.policy", got=repr(binding)[:64], want=" or ".join(SealBinding))


def _unseal(_head: Head, text: bytes) -> Unseal:
    if len(text) > MAX_SEALED_TEXT:
        raise WireError("guest's sealed text", got=f"{len(text)} bytes", want=f"at most {MAX_SEALED_TEXT}")
    try:
        return Unseal(text.decode("ascii"))
    except UnicodeDecodeError:
        raise WireError("guest's sealed text", got="bytes that are not ASCII", want="base64") from None


def _key(head: Head, member: str, *, least: int) -> str:
    key = head.get(member)
    if not isinstance(key, str) or not least <= len(key.encode(errors="replace")) <= MAX_KEY:
        raise WireError(f"guest's question.{member}", got=repr(key)[:64], want=f"{least} to {MAX_KEY} bytes of UTF-8")
    return key


def _value(text: bytes) -> bytes:
    if len(text) > MAX_VALUE:
        raise WireError("guest's value", got=f"{len(text)} bytes", want=f"at most {MAX_VALUE}")
    return text


def _sized(head: Head, member: str, text: bytes) -> tuple[bytes | None, bytes]:
    """A value whose size the head tells, None where it tells none; and the bytes behind it."""
    size = head.get(member)
    if size is None:
        return None, text
    if type(size) is not int or not 0 <= size <= len(text):
        raise WireError(f"guest's question.{member}", got=repr(size)[:64], want=f"0 to {len(text)}")
    return _value(text[:size]), text[size:]


def _no_text(text: bytes) -> None:
    if text:
        raise WireError("guest's question", got=f"{len(text)} bytes behind what it holds", want="none")


_PARSERS: dict[str, Callable[[Head, bytes], InsideQuestion]] = {
    "get": _get,
    "put": _put,
    "delete": _delete,
    "list": _list,
    "compare-and-set": _compare_and_set,
    "seal": _seal,
    "unseal": _unseal,
}
