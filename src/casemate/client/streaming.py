"""A stream without a socket: which step comes next, and what its answer means.

Each step is a sealed call of the session, so nobody but the enclave can change, repeat, drop or reorder one unnoticed:
what is out of its place does not open. A step whose answer is lost ends the stream, since its number is used and nobody
can say whether it was taken. :mod:`casemate.client.sync` and :mod:`casemate.client.aio` read the chunks and carry the
steps.
"""

import hashlib
from collections.abc import Iterable, Iterator
from typing import Any, Protocol, cast

from casemate.client.caller_keys import CallerKey
from casemate.client.core import AttestedEnclave, CallSecrets, PendingCall, Result, said_text
from casemate.client.errors import FunctionRefusedError, ResponseRefusedError, StreamBrokenError
from casemate.link.errors import PeerGoneError
from casemate.process.memory import keep_memory_of_pieces
from casemate.wire.protocol.call import (
    MAX_CHUNK,
    CallRefused,
    CallResult,
    StepKind,
    StepTaken,
    StreamEnded,
    StreamStep,
    streamed_text,
)
from casemate.wire.protocol.faults import FaultError
from casemate.wire.protocol.inner_receipts import InnerReceipt

CANCEL_TIMEOUT = 5.0
"""Longest wait while a stream is given up (seconds): the enclave gives up idle ones by itself."""


class Readable(Protocol):
    """A binary file, or what reads like one."""

    def read(self, size: int, /) -> Any:
        """Up to ``size`` bytes; none at the end."""
        ...


Piece = bytes | bytearray | memoryview
Chunks = Piece | Iterable[Piece] | Readable
"""The input of a stream: all of it, its pieces as they come, or a binary file."""


class Flow:
    """The bytes of one direction: running SHA-256 and size."""

    __slots__ = ("_hash", "size")

    def __init__(self) -> None:
        self._hash = hashlib.sha256()
        self.size = 0

    def pass_on(self, piece: bytes) -> None:
        """Adds a piece."""
        self._hash.update(piece)
        self.size += len(piece)

    def text(self, json_text: bytes) -> bytes:
        """The text that the receipt's commitment must be over."""
        return streamed_text(json_text, self._hash.digest(), self.size)


class StreamCore:
    """A stream. In a loop until :attr:`is_over`: make a :meth:`step`, have it carried, and :meth:`open_output`."""

    def __init__(self, attested: AttestedEnclave, entry: str, arguments: bytes, caller: CallerKey | None) -> None:
        keep_memory_of_pieces()
        self._attested = attested
        self._entry = entry
        self._arguments = arguments
        self._caller = caller
        self._number = 0
        self._is_hungry = False
        self._has_ended_input = False
        self._is_kept = True
        self._pending: PendingCall | None = None
        self._broken: BaseException | None = None
        self._result: Result | None = None
        self.sent = Flow()
        self.received = Flow()

    @property
    def is_over(self) -> bool:
        """Whether the function has returned."""
        return self._result is not None

    @property
    def wants_input(self) -> bool:
        """Whether the next step takes a piece of the input."""
        return self._is_hungry

    @property
    def is_open(self) -> bool:
        """Whether the enclave may keep it, as far as can be known here."""
        return self._number != 0 and self._is_kept

    @property
    def result(self) -> Result:
        """What the function returned.

        Raises:
            FunctionRefusedError: the function refused.
            StreamBrokenError: the stream ended without.
            RuntimeError: it has not ended: read its output to the end first.
        """
        if isinstance(self._broken, FunctionRefusedError):
            raise self._broken
        if self._broken is not None:
            raise self._broke()
        if self._result is None:
            raise RuntimeError("the stream has not ended: read its output to the end first")
        return self._result

    def step(self, piece: bytes | None) -> PendingCall:
        """The next step, sealed.

        Args:
            piece: of the input, where :attr:`wants_input`: up to ``MAX_CHUNK`` bytes; empty where the input is over.

        Raises:
            StreamBrokenError: the stream was given up, or a step of it was lost.
        """
        if self._broken is not None:
            raise self._broke()
        if self._number == 0:
            return self._seal(StepKind.OPEN, self._arguments)
        if not self._is_hungry:
            return self._seal(StepKind.PULL)
        if piece:
            self.sent.pass_on(piece)
            return self._seal(StepKind.CHUNK, piece)
        self._has_ended_input = True
        return self._seal(StepKind.END)

    def open_output(self, sealed: bytes) -> bytes:
        """The function's output in the answer to the last step.

        Raises:
            EnclaveRefusedError: the enclave refuses the step, or the function failed.
            FunctionRefusedError: the function refuses, which ends the stream; its receipt is over what passed.
            ResponseRefusedError: this is no answer of the enclave's to that step.
            ReceiptRefusedError: the stream has ended, with a receipt that does not hold.
        """
        if self._pending is None:
            raise RuntimeError("no step waits for an answer")
        pending, self._pending = self._pending, None
        heard, inner = pending.heard_with_inner(sealed, StepTaken, StreamEnded, CallRefused)
        said = cast("StepTaken | StreamEnded | CallRefused", heard)
        if isinstance(said, CallRefused):
            self._end(pending, said, inner)
            return b""
        self.received.pass_on(said.data)
        if isinstance(said, StreamEnded):
            self._end(pending, said.result, inner)
        else:
            self._check(said)
            self._number, self._is_hungry = said.stream, said.is_hungry
        return said.data

    def _end(self, pending: PendingCall, said: CallResult | CallRefused, inner: tuple[InnerReceipt, ...]) -> None:
        """Notes the stream's result; raises a refusal, and whatever does not hold."""
        self._is_kept = False
        self._result = pending.result(
            said,
            committed_input=self.sent.text(self._arguments),
            committed_output=self.received.text(said_text(said)),
            inner=inner,
        )

    def breaks(self, error: BaseException) -> None:
        """Notes that a step failed, which ends the stream.

        A fault is the end of the stream in the enclave, too. After anything else it may wait for more, and is told.
        """
        if self._result is None and self._broken is None:
            self._broken = error
            self._is_kept = self._is_kept and not isinstance(error, FaultError | PeerGoneError)

    def cancel(self) -> PendingCall | None:
        """The step that gives the stream up; None where the enclave does not keep it. It is over here already."""
        if not self.is_open:
            self.breaks(_GIVEN_UP)
            return None
        step = self._seal(StepKind.CANCEL)
        self.breaks(_GIVEN_UP)
        self._is_kept = False
        return step

    def _check(self, said: StepTaken) -> None:
        """Refuses an answer out of order: an enclave with such a defect could keep this client in a loop for ever."""
        if said.stream == 0 or self._number not in (0, said.stream):
            raise ResponseRefusedError(f"the enclave speaks of stream {said.stream}, want {self._number or 'a number'}")
        if said.is_hungry and self._has_ended_input:
            raise ResponseRefusedError("the enclave wants more input after its end")

    def _seal(self, kind: StepKind, arguments: bytes = b"") -> PendingCall:
        self._pending = self._attested.seal_call(
            self._entry,
            arguments,
            caller=self._caller,
            secrets=CallSecrets.fresh(),
            step=StreamStep(kind, self._number),
        )
        return self._pending

    def _broke(self) -> StreamBrokenError:
        return StreamBrokenError(f"the stream is over without a result: {self._broken}")


_GIVEN_UP = StreamBrokenError("it was given up")


def pieces(chunks: Chunks) -> Iterator[bytes]:
    """The input in pieces of 1 to ``MAX_CHUNK`` bytes; of a file as long as can be, else as they come.

    Raises:
        TypeError: it holds something else than bytes.
    """
    for piece in _as_they_come(chunks):
        yield from cut(piece)


def cut(piece: object) -> Iterator[bytes]:
    """One piece of the caller's, cut to 1 to ``MAX_CHUNK`` bytes each."""
    if not isinstance(piece, Piece):
        raise TypeError(f"a chunk of the input is {type(piece).__name__}, want bytes")
    if isinstance(piece, bytes) and 0 < len(piece) <= MAX_CHUNK:
        yield piece
        return
    view = memoryview(piece).cast("B")
    for begin in range(0, len(view), MAX_CHUNK):
        yield bytes(view[begin : begin + MAX_CHUNK])


def _as_they_come(chunks: Chunks) -> Iterable[object]:
    if isinstance(chunks, Piece):
        return (chunks,)
    if isinstance(chunks, Iterable) and not hasattr(chunks, "read"):
        return chunks
    read = chunks.read  # type: ignore[union-attr] # what is left is Readable
    return iter(lambda: read(MAX_CHUNK), b"")
