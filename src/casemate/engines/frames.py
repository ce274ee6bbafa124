"""What enclave and guest say to each other: one byte that names the kind, eight that name the call, and a body.

On the pipe each stands behind a u32 with its length (little-endian). Where a body has a head and a text, the head is
JSON behind a u32 with its length, and the text is the rest, as it is: results and arguments are not parsed here.
"""

from dataclasses import dataclass
from enum import IntEnum

from casemate.wire.errors import WireError
from casemate.wire.faults import Code
from casemate.wire.fields import Reader
from casemate.wire.json_text import encode_json, parse_json

PREFIX_SIZE = 4
CALL_SIZE = 8
NO_CALL = bytes(CALL_SIZE)
"""Stands for the call in frames that belong to none."""

MAX_HEAD = 64 * 1024
"""Longest head (bytes)."""
MAX_TEXT = 4096
"""Longest name, message or printed text that is believed (bytes); longer ones are cut."""
OVERHEAD = 1 + CALL_SIZE + 4 + MAX_HEAD
"""Bytes of a frame beside its text; a frame limit is this plus the longest text."""

WARM_FRAME_SIZE = PREFIX_SIZE + 1 + CALL_SIZE
"""Bytes of the first frame of every guest, with its length."""


class Kind(IntEnum):
    """What a frame is."""

    LOAD = 1  # to the guest
    CALL = 2
    ANSWER = 3  # to an OCALL
    REFUSAL = 4  # of an OCALL
    WARM = 16  # from the guest
    LOADED = 17
    FAILED = 18  # the program could not be loaded, or a call threw
    RETURNED = 19
    ASKED = 20  # an OCALL
    PRINTED = 21


@dataclass(frozen=True, slots=True)
class Warm:
    """The engine is up and waits for its program."""


@dataclass(frozen=True, slots=True)
class Loaded:
    """The program is loaded, and its entry points are there."""


@dataclass(frozen=True, slots=True)
class Returned:
    """A call's result: JSON as the guest says, unparsed."""

    text: bytes


@dataclass(frozen=True, slots=True)
class Failed:
    """The program could not be loaded, or the function threw, or its result cannot be told; in the guest's words."""

    code: Code
    """GUEST_ERROR, OUTPUT_LIMIT or RESULT_REFUSED."""
    name: str
    message: str


@dataclass(frozen=True, slots=True)
class Asked:
    """The guest asks for an OCALL and waits for the answer."""

    name: str
    arguments: bytes
    """JSON as the guest says, unparsed."""


@dataclass(frozen=True, slots=True)
class Printed:
    """A line of the guest's console."""

    text: str


Said = Warm | Loaded | Returned | Failed | Asked | Printed

_FAILURES = (Code.GUEST_ERROR, Code.OUTPUT_LIMIT, Code.RESULT_REFUSED)


def frame(kind: Kind, call: bytes, body: bytes = b"") -> bytes:
    """A frame's payload."""
    return bytes((kind,)) + call + body


def head_and_text(head: object, text: bytes) -> bytes:
    """A body of two parts."""
    encoded = encode_json(head)
    return len(encoded).to_bytes(4, "little") + encoded + text


def parse_said(payload: bytes) -> tuple[bytes, Said]:
    """The call that a guest's frame names, and what it says.

    Raises:
        WireError: it is no frame that a guest sends.
    """
    reader = Reader("guest's frame", payload)
    kind = reader.uint("kind", 1)
    call = reader.take("call", CALL_SIZE)
    body = reader.take("body", reader.remaining)
    match kind:
        case Kind.WARM | Kind.LOADED:
            if body:
                raise WireError("guest's frame", got=f"a body of {len(body)} bytes", want="none")
            return call, Warm() if kind == Kind.WARM else Loaded()
        case Kind.RETURNED:
            return call, Returned(body)
        case Kind.FAILED:
            return call, _failed(body)
        case Kind.ASKED:
            head, arguments = _split(body)
            return call, Asked(_text(head, "name"), arguments)
        case Kind.PRINTED:
            return call, Printed(body[:MAX_TEXT].decode(errors="replace"))
    raise WireError("guest's frame.kind", got=kind, want="a kind that guests send")


def _failed(body: bytes) -> Failed:
    head, rest = _split(body)
    if rest:
        raise WireError("guest's failure", got=f"{len(rest)} bytes after its head", want="none")
    said = _text(head, "code")
    for code in _FAILURES:
        if code == said:
            return Failed(code, _text(head, "name"), _text(head, "message"))
    raise WireError("guest's failure.code", got=repr(said[:64]), want=" or ".join(_FAILURES))


def _split(body: bytes) -> tuple[dict[str, object], bytes]:
    reader = Reader("guest's frame", body)
    size = reader.uint("head size", 4)
    if size > MAX_HEAD:
        raise WireError("guest's frame.head size", got=size, want=f"at most {MAX_HEAD}")
    head = parse_json("guest's head", reader.take("head", size), limit=MAX_HEAD)
    if not isinstance(head, dict):
        raise WireError("guest's head", got=type(head).__name__, want="an object")
    return head, reader.take("text", reader.remaining)


def _text(head: dict[str, object], member: str) -> str:
    value = head.get(member)
    if not isinstance(value, str):
        raise WireError(f"guest's head.{member}", got=type(value).__name__, want="a text")
    return value.encode(errors="replace")[:MAX_TEXT].decode(errors="ignore")
