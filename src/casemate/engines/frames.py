"""Frames between enclave and guest: one byte for the kind, eight for the number of the call, and a body.

On the pipe each frame follows a u32 with its length (little-endian). A body of two parts has a head, which is JSON
after a u32 with its length, and a text, which is the rest: results and arguments are not parsed here.

All frames of a stream have the number of the call that opened it. Pieces of a stream are bytes as they are.
"""

from collections.abc import Callable
from dataclasses import dataclass
from enum import IntEnum

from casemate.engines.questions import InsideQuestion, parse_question
from casemate.wire.encodings.fields import Reader
from casemate.wire.encodings.json_text import encode_json, parse_json
from casemate.wire.errors import WireError
from casemate.wire.protocol.call import MAX_CHUNK
from casemate.wire.protocol.faults import Code

PREFIX_SIZE = 4
CALL_SIZE = 8
NO_CALL = bytes(CALL_SIZE)
"""Stands for the call in frames that belong to none."""

MAX_HEAD = 64 * 1024
"""Longest head (bytes)."""
MAX_TEXT = 4096
"""Longest name, message or printed text (bytes of UTF-8); longer ones are cut."""
MAX_COUNT = 2**31 - 1
"""Highest line or column."""
OVERHEAD = 1 + CALL_SIZE + 4 + MAX_HEAD
"""Bytes of a frame beside its text; a frame limit is this plus the longest text."""

WARM_FRAME_SIZE = PREFIX_SIZE + 1 + CALL_SIZE
"""Bytes of the first frame of every guest, with its length."""


class FrameKind(IntEnum):
    """The kinds of frames."""

    LOAD = 1  # to the guest
    CALL = 2
    ANSWER = 3  # to an OCALL
    REFUSAL = 4  # of an OCALL
    OPEN = 5  # a call of a stream; these four end a step that the guest then works on
    CHUNK = 6
    END = 7
    PULL = 8
    DROP = 9  # of a stream: nobody wants the rest; no step, and no reply
    WARM = 16  # from the guest
    LOADED = 17
    FAILED = 18  # the program could not be loaded, or a call threw
    RETURNED = 19
    ASKED = 20  # an OCALL
    PRINTED = 21
    PAUSED = 22  # a step of a stream is done, and others follow
    ENDED = 23  # a stream's last step is done
    WANTED = 24  # a question to the enclave itself: its state, or to seal
    REFUSED = 25  # the function refuses a call with a declared error


@dataclass(frozen=True, slots=True)
class Warm:
    """The engine has started and waits for its program."""


@dataclass(frozen=True, slots=True)
class Loaded:
    """The program is loaded, and its entry points are there."""


@dataclass(frozen=True, slots=True)
class Returned:
    """A call's result: JSON as the guest says, unparsed."""

    text: bytes


@dataclass(frozen=True, slots=True)
class Place:
    """Where in the program an exception was thrown, as the guest says."""

    path: str
    """A module's path in the image; perhaps of none."""
    line: int
    """From 1."""
    column: int
    """From 1; 0 where the engine tells none."""


@dataclass(frozen=True, slots=True)
class Failed:
    """The program could not be loaded, or the function threw, or its result cannot be told; in the guest's words."""

    code: Code
    """GUEST_ERROR, OUTPUT_LIMIT or RESULT_REFUSED."""
    name: str
    message: str
    place: Place | None = None
    """None where the guest tells none: it does while it loads, and in a debug enclave."""


@dataclass(frozen=True, slots=True)
class Refused:
    """The function refuses the call, or the stream, with an error that the manifest declares."""

    name: str
    """As the guest says."""
    details: bytes
    """JSON as the guest says, unparsed; empty where it tells none."""


@dataclass(frozen=True, slots=True)
class Asked:
    """The guest asks for an OCALL and waits for the answer."""

    name: str
    arguments: bytes
    """JSON as the guest says, unparsed."""


@dataclass(frozen=True, slots=True)
class Wanted:
    """The guest asks the enclave itself, and waits for the answer."""

    question: InsideQuestion


@dataclass(frozen=True, slots=True)
class Paused:
    """A step of a stream is done, and the stream is not."""

    is_hungry: bool
    """It waits for input; otherwise it has more to say."""
    data: bytes
    """The stream's output since the last step; at most ``MAX_CHUNK`` bytes."""


@dataclass(frozen=True, slots=True)
class Ended:
    """A stream's last step is done: the rest of what it has put out, and its result."""

    data: bytes
    text: bytes
    """JSON as the guest says, unparsed."""


@dataclass(frozen=True, slots=True)
class Printed:
    """A line of the guest's console."""

    text: str


Said = Warm | Loaded | Returned | Failed | Refused | Asked | Wanted | Printed | Paused | Ended

_FAILURES = (Code.GUEST_ERROR, Code.OUTPUT_LIMIT, Code.RESULT_REFUSED)


def frame(kind: FrameKind, call: bytes, body: bytes = b"") -> bytes:
    """A frame's payload."""
    return bytes((kind,)) + call + body


def head_and_text(head: object, text: bytes) -> bytes:
    """A body of two parts."""
    encoded = encode_json(head)
    return len(encoded).to_bytes(4, "little") + encoded + text


def parse_said(payload: bytes) -> tuple[bytes, Said]:
    """The call that a guest's frame names, and what it says.

    Raises:
        WireError: guests send no such frame.
    """
    reader = Reader("guest's frame", payload)
    kind = reader.uint("kind", 1)
    call = reader.take("call", CALL_SIZE)
    if (parse_piece := _PIECE_PARSERS.get(kind)) is not None:
        return call, parse_piece(memoryview(payload)[reader.offset :])
    parse = _PARSERS.get(kind)
    if parse is None:
        raise WireError("guest's frame.kind", got=kind, want="a kind that guests send")
    return call, parse(reader.take("body", reader.remaining))


def _bare(said: Said) -> Callable[[bytes], Said]:
    def parse(body: bytes) -> Said:
        if body:
            raise WireError("guest's frame", got=f"a body of {len(body)} bytes", want="none")
        return said

    return parse


def _printed(body: bytes) -> Printed:
    return Printed(body[:MAX_TEXT].decode(errors="replace"))


def _asked(body: bytes) -> Asked:
    head, arguments = _split(body)
    return Asked(_text(head, "name"), arguments)


def _wanted(body: bytes) -> Wanted:
    return Wanted(parse_question(*_split(body)))


def _paused(body: memoryview) -> Paused:
    if bytes(body[:1]) not in (b"\0", b"\1"):
        raise WireError("guest's pause", got=body[:1].hex() or "nothing", want="00 or 01: whether it waits for input")
    return Paused(body[0] == 1, _piece(body, 1, len(body)))


def _ended(body: memoryview) -> Ended:
    reader = Reader("guest's end", body)
    size = reader.uint("data size", 4)
    if size > reader.remaining:
        raise WireError("guest's end.data size", got=size, want=f"at most the {reader.remaining} bytes that follow")
    return Ended(_piece(body, 4, 4 + size), bytes(body[4 + size :]))


def _piece(body: memoryview, start: int, end: int) -> bytes:
    if end - start > MAX_CHUNK:
        raise WireError("guest's piece", got=f"{end - start} bytes", want=f"at most {MAX_CHUNK}")
    return bytes(body[start:end])


def _failed(body: bytes) -> Failed:
    head, rest = _split(body)
    if rest:
        raise WireError("guest's failure", got=f"{len(rest)} bytes after its head", want="none")
    said = _text(head, "code")
    for code in _FAILURES:
        if code == said:
            return Failed(code, _text(head, "name"), _text(head, "message"), _place(head.get("place")))
    raise WireError("guest's failure.code", got=repr(said[:64]), want=" or ".join(_FAILURES))


def _place(place: object) -> Place | None:
    if place is None:
        return None
    if not isinstance(place, dict):
        raise WireError("guest's failure.place", got=type(place).__name__, want="an object, or null")
    return Place(_text(place, "path"), _count(place, "line"), _count(place, "column"))


def _refused(body: bytes) -> Refused:
    head, details = _split(body)
    return Refused(_text(head, "name"), details)


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


def _count(head: dict[str, object], member: str) -> int:
    value = head.get(member)
    if type(value) is not int or not 0 <= value <= MAX_COUNT:
        raise WireError(f"guest's head.{member}", got=repr(value)[:64], want=f"0 to {MAX_COUNT}")
    return value


_PARSERS: dict[int, Callable[[bytes], Said]] = {
    FrameKind.WARM: _bare(Warm()),
    FrameKind.LOADED: _bare(Loaded()),
    FrameKind.FAILED: _failed,
    FrameKind.RETURNED: Returned,
    FrameKind.ASKED: _asked,
    FrameKind.WANTED: _wanted,
    FrameKind.REFUSED: _refused,
    FrameKind.PRINTED: _printed,
}

_PIECE_PARSERS: dict[int, Callable[[memoryview], Said]] = {FrameKind.PAUSED: _paused, FrameKind.ENDED: _ended}
"""Of the frames with a piece of a stream, which is copied once."""
