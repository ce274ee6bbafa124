"""The streams that are open: whose they are, what has passed, and when they were last used."""

import time
from collections import OrderedDict
from collections.abc import Hashable
from dataclasses import dataclass, field

from casemate.enclave.entry.sessions import Session
from casemate.enclave.guest.call_services import CallServices
from casemate.enclave.guest.guests import IDLE_TIME, Place
from casemate.enclave.keys import Sha256
from casemate.wire.protocol.call import streamed_text
from casemate.wire.protocol.faults import Code, refuse
from casemate.wire.protocol.manifest import EntryPoint

MAX_STREAMS = 16
"""Most streams that are open at a time: each keeps a generator alive in the guest, and up to 1 MiB of arguments."""


class Flow:
    """The bytes that a stream has passed on in one direction: their running SHA-256 and their number."""

    __slots__ = ("_hash", "_size")

    def __init__(self) -> None:
        self._hash = Sha256()
        self._size = 0

    def pass_on(self, piece: bytes) -> None:
        """Adds the next piece."""
        self._hash.update(piece)
        self._size += len(piece)

    def text(self, json_text: bytes) -> bytes:
        """The text that a receipt commits to, with the arguments or the result of this direction."""
        return streamed_text(json_text, self._hash.digest(), self._size)


@dataclass(frozen=True, slots=True)
class StreamOwner:
    """The only caller who may go on with a stream."""

    session: Session
    public_key: bytes | None
    entry: str

    @property
    def party(self) -> Hashable:
        """Whose call it is, for what it may meet in a guest: the key that signed, or else the session's secret."""
        return self.session if self.public_key is None else self.public_key


@dataclass(slots=True)
class OpenStream:
    """A stream that has begun and not ended."""

    owner: StreamOwner
    entry: EntryPoint
    arguments: bytes
    """The arguments as the caller sent them."""
    place: Place
    """The guest that has begun it."""
    in_guest: bytes
    """Its number there."""
    services: CallServices
    used: float = field(default_factory=time.monotonic)
    """When its last step was done, on the monotonic clock."""
    is_hungry: bool = False
    is_stepping: bool = False
    """A step is under way."""
    input: Flow = field(default_factory=Flow)
    output: Flow = field(default_factory=Flow)


class Streams:
    """The open streams, at most :data:`MAX_STREAMS`, under numbers that are never used again."""

    __slots__ = ("_last", "_open")

    def __init__(self) -> None:
        self._last = 0
        self._open: OrderedDict[int, OpenStream] = OrderedDict()

    def make_room(self, now: float) -> int | None:
        """The number of the stream that is to be given up for one more; None where there is room.

        Raises:
            FaultError: all are in use.
        """
        if len(self._open) < MAX_STREAMS:
            return None
        for number, stream in self._open.items():
            if not stream.is_stepping and now - stream.used >= IDLE_TIME:
                return number
        raise refuse(Code.BUSY, f"{MAX_STREAMS} streams are open here, and none has rested for {IDLE_TIME:g} s")

    def add(self, stream: OpenStream) -> int:
        """The number of a new stream."""
        self._last += 1
        self._open[self._last] = stream
        return self._last

    def find(self, number: int, owner: StreamOwner) -> OpenStream:
        """The owner's stream of that number.

        Raises:
            FaultError: it has no such stream, whoever else has.
        """
        stream = self._open.get(number)
        if stream is None or stream.owner != owner:
            raise refuse(
                Code.STREAM_UNKNOWN,
                f"this session has no open stream {number} of this caller and entry point, or has it no more",
            )
        return stream

    def rest(self, number: int, now: float) -> None:
        """Notes that a step is done."""
        self._open[number].used = now
        self._open.move_to_end(number)

    def remove(self, number: int) -> OpenStream | None:
        """Forgets a stream; it, unless it was forgotten before."""
        return self._open.pop(number, None)

    def lost(self) -> list[int]:
        """The streams whose guest is gone."""
        return [number for number, stream in self._open.items() if stream.place.guest.is_gone]
