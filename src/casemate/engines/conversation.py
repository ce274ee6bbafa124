"""The order in which an enclave and its guest may speak; frames go in and out as bytes, and nothing here waits.

The guest is hostile. A frame that is malformed, out of turn, or of another call ends the conversation, and the enclave
then ends the guest. Each call has a random number, so no frame of an earlier call passes for one of a later call.
The bootstrap keeps the numbers from the program, but shares a realm with it: a program that has changed itself in one
call answers the next as it pleases, for its results are its own.

A stream is a call in steps. Between them the guest is idle: other calls, and steps of other streams, may come first.
All steps have the number of the call that opened the stream.
"""

from collections.abc import Mapping
from enum import StrEnum
from types import MappingProxyType
from typing import Final

from casemate.engines.command import GuestProgram
from casemate.engines.errors import GuestMisbehavedError, NotNowError
from casemate.engines.frames import (
    CALL_SIZE,
    NO_CALL,
    OVERHEAD,
    Asked,
    Ended,
    Failed,
    FrameKind,
    Loaded,
    Paused,
    Printed,
    Refused,
    Returned,
    Said,
    Wanted,
    frame,
    head_and_text,
    parse_said,
)
from casemate.engines.questions import MAX_QUESTION
from casemate.engines.registry import Engine
from casemate.wire.errors import WireError
from casemate.wire.protocol.call import MAX_CHUNK
from casemate.wire.protocol.faults import Code

MAX_PRINTED = 256
"""Most console frames of one call. The bootstrap stops sooner; a program that has taken it over may not."""

_NOTHING: Final[Mapping[str, object]] = MappingProxyType({})

_STREAMED = 4 + MAX_CHUNK
"""Most bytes before a stream's result in a frame: the rest of its output."""


class Turn(StrEnum):
    """Phases of a conversation: the side that sends the next frame, and why."""

    EMPTY = "empty"  # the guest waits for its program
    LOADING = "loading"
    IDLE = "idle"  # the guest waits for a call
    CALLED = "called"  # the guest works
    STEPPING = "stepping"  # the guest works on a step of a stream
    ASKING = "asking"  # the guest waits for an answer
    OVER = "over"


class Conversation:
    """The conversation with one guest, from the moment that it is warm."""

    def __init__(self, engine: Engine) -> None:
        self._engine = engine
        self._turn = Turn.EMPTY
        self._call = NO_CALL
        self._asked_from = Turn.CALLED
        self._longest = 0
        self._printed = 0

    @property
    def turn(self) -> Turn:
        """The side that sends the next frame."""
        return self._turn

    @property
    def frame_limit(self) -> int:
        """The longest frame that this guest may send (bytes)."""
        return OVERHEAD + self._longest

    def load(self, program: GuestProgram) -> bytes:
        """The frame that gives the guest its program."""
        self._expect(program)
        return frame(FrameKind.LOAD, NO_CALL, self._engine.program(program))

    def inherit(self, program: GuestProgram) -> None:
        """The guest is a copy of one that has loaded this program: it says that it is loaded, and is given nothing."""
        self._expect(program)

    def _expect(self, program: GuestProgram) -> None:
        self._step(Turn.EMPTY, Turn.LOADING)
        longest_end = program.output_limit + (_STREAMED if program.streams else 0)
        self._longest = max(longest_end, program.ocall_limit, MAX_QUESTION)

    def call(
        self, entry: str, arguments: bytes, caller: object, *, number: bytes, about: Mapping[str, object] = _NOTHING
    ) -> bytes:
        """The frame that calls a function.

        Args:
            entry: its name.
            arguments: JSON, already checked; the guest gets these very bytes.
            caller: what the guest sees as ``context.caller``, as a JSON value.
            number: eight random bytes.
            about: what else ``context`` tells of the call, by the names that the bootstraps know.
        """
        self._begin(number, Turn.CALLED)
        return frame(FrameKind.CALL, number, head_and_text({"entry": entry, "caller": caller, **about}, arguments))

    def open(
        self, entry: str, arguments: bytes, caller: object, *, number: bytes, about: Mapping[str, object] = _NOTHING
    ) -> bytes:
        """The frame that calls a stream, and has it work until it waits for input or has something to say.

        Args: as for :meth:`call`; the number is the stream's from now on.
        """
        self._begin(number, Turn.STEPPING)
        return frame(FrameKind.OPEN, number, head_and_text({"entry": entry, "caller": caller, **about}, arguments))

    def step(self, kind: FrameKind, piece: bytes, *, number: bytes) -> bytes:
        """The frame of a stream's further step: CHUNK with a piece of input, END or PULL with none."""
        self._begin(number, Turn.STEPPING)
        return frame(kind, number, piece)

    def drop(self, *, number: bytes) -> bytes:
        """The frame that has the guest forget a stream; it says nothing to that."""
        self._step(Turn.IDLE, Turn.IDLE)
        return frame(FrameKind.DROP, number)

    def answer(self, text: bytes) -> bytes:
        """The frame that answers a question with JSON, already checked; or with nothing, where there is no value."""
        self._step(Turn.ASKING, self._asked_from)
        return frame(FrameKind.ANSWER, self._call, text)

    def refuse(self, code: Code, reason: str) -> bytes:
        """The frame that refuses a question; the guest's code gets it as an exception with that name and message."""
        self._step(Turn.ASKING, self._asked_from)
        return frame(FrameKind.REFUSAL, self._call, head_and_text({"name": code, "message": reason}, b""))

    def heard(self, payload: bytes | None) -> Said:
        """The meaning of a frame from the guest in the present phase.

        Args:
            payload: the frame; None for one beyond :attr:`frame_limit`.

        Raises:
            GuestMisbehavedError: it means nothing; the guest must be ended.
        """
        try:
            if payload is None or len(payload) > self.frame_limit:
                raise GuestMisbehavedError(f"the guest sent a frame of more than {self.frame_limit} bytes")
            call, said = parse_said(payload)
            self._take(call, said)
        except WireError as error:
            self._turn = Turn.OVER
            raise GuestMisbehavedError(str(error)) from None
        except GuestMisbehavedError:
            self._turn = Turn.OVER
            raise
        return said

    def _take(self, call: bytes, said: Said) -> None:
        match self._turn, said:
            case ((Turn.LOADING | Turn.CALLED | Turn.STEPPING), Printed()):
                self._printed += 1
                if self._printed > MAX_PRINTED:
                    raise GuestMisbehavedError(f"the guest printed more than {MAX_PRINTED} lines")
            case (Turn.LOADING, Loaded()) | (Turn.CALLED, Returned()) | (Turn.STEPPING, (Paused() | Ended())):
                self._turn = Turn.IDLE
            case Turn.LOADING, Failed():
                self._turn = Turn.OVER
            case ((Turn.CALLED | Turn.STEPPING), (Failed() | Refused())):
                self._turn = Turn.IDLE
            case ((Turn.CALLED | Turn.STEPPING), (Asked() | Wanted())):
                self._asked_from, self._turn = self._turn, Turn.ASKING
            case _:
                raise GuestMisbehavedError(f"the guest said {type(said).__name__} when it was {self._turn}")
        if call != self._call:
            raise GuestMisbehavedError(f"the guest said {type(said).__name__} of another call")
        if self._turn is Turn.IDLE:
            self._call = NO_CALL

    def _begin(self, number: bytes, to: Turn) -> None:
        if len(number) != CALL_SIZE or number == NO_CALL:
            raise NotNowError("a call's number is eight random bytes")
        self._step(Turn.IDLE, to)
        self._call, self._printed = number, 0

    def _step(self, at: Turn, to: Turn) -> None:
        if self._turn is not at:
            raise NotNowError(f"the guest is {self._turn}, it must be {at} for this")
        self._turn = to
