"""What may be said when between an enclave and its guest; frames go in and out as bytes, and nothing here waits.

The guest is hostile. A frame that is malformed, out of turn, or of another call ends the conversation: whoever holds
the pipes then ends the guest. Each call has a random number, so no frame of an earlier call passes for one of a later.
The bootstrap keeps the numbers from the program, but shares a realm with it: a program that has changed itself in one
call answers the next as it pleases, for its results are its own.
"""

from enum import StrEnum

from casemate.engines.command import GuestProgram
from casemate.engines.engine import Engine
from casemate.engines.errors import GuestMisbehavedError, NotNowError
from casemate.engines.frames import (
    CALL_SIZE,
    NO_CALL,
    OVERHEAD,
    Asked,
    Failed,
    Kind,
    Loaded,
    Printed,
    Returned,
    Said,
    frame,
    head_and_text,
    parse_said,
)
from casemate.wire.errors import WireError
from casemate.wire.faults import Code

MAX_PRINTED = 256
"""Most console frames of one call that are listened to; the bootstrap stops sooner, if it is still in charge."""


class Turn(StrEnum):
    """Whose turn it is, and for what."""

    EMPTY = "empty"  # the guest waits for its program
    LOADING = "loading"
    IDLE = "idle"  # the guest waits for a call
    CALLED = "called"  # the guest works
    ASKING = "asking"  # the guest waits for an answer
    OVER = "over"


class Conversation:
    """With one guest, from when it has said that it is warm."""

    def __init__(self, engine: Engine) -> None:
        self._engine = engine
        self._turn = Turn.EMPTY
        self._call = NO_CALL
        self._longest = 0
        self._printed = 0

    @property
    def turn(self) -> Turn:
        """Whose turn it is."""
        return self._turn

    @property
    def frame_limit(self) -> int:
        """The longest frame that this guest may send (bytes)."""
        return OVERHEAD + self._longest

    def load(self, program: GuestProgram) -> bytes:
        """The frame that gives the guest its program."""
        self._step(Turn.EMPTY, Turn.LOADING)
        self._longest = max(program.output_limit, program.ocall_limit)
        return frame(Kind.LOAD, NO_CALL, self._engine.program(program))

    def call(self, entry: str, arguments: bytes, caller: object, *, number: bytes) -> bytes:
        """The frame that calls a function.

        Args:
            entry: its name.
            arguments: JSON, already checked; the guest gets these very bytes.
            caller: what the guest sees as ``context.caller``, as a JSON value.
            number: eight random bytes.
        """
        if len(number) != CALL_SIZE or number == NO_CALL:
            raise NotNowError("a call's number is eight random bytes")
        self._step(Turn.IDLE, Turn.CALLED)
        self._call, self._printed = number, 0
        return frame(Kind.CALL, number, head_and_text({"entry": entry, "caller": caller}, arguments))

    def answer(self, text: bytes) -> bytes:
        """The frame that answers an OCALL with JSON, already checked."""
        self._step(Turn.ASKING, Turn.CALLED)
        return frame(Kind.ANSWER, self._call, text)

    def refuse(self, code: Code, reason: str) -> bytes:
        """The frame that refuses an OCALL; the guest's code gets it as an exception with that name and message."""
        self._step(Turn.ASKING, Turn.CALLED)
        return frame(Kind.REFUSAL, self._call, head_and_text({"name": code, "message": reason}, b""))

    def heard(self, payload: bytes | None) -> Said:
        """What a frame from the guest means now.

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
            case ((Turn.LOADING | Turn.CALLED), Printed()):
                self._printed += 1
                if self._printed > MAX_PRINTED:
                    raise GuestMisbehavedError(f"the guest printed more than {MAX_PRINTED} lines")
            case (Turn.LOADING, Loaded()) | (Turn.CALLED, Returned()):
                self._turn = Turn.IDLE
            case Turn.LOADING, Failed():
                self._turn = Turn.OVER
            case Turn.CALLED, Failed():
                self._turn = Turn.IDLE
            case Turn.CALLED, Asked():
                self._turn = Turn.ASKING
            case _:
                raise GuestMisbehavedError(f"the guest said {type(said).__name__} when it was {self._turn}")
        if call != self._call:
            raise GuestMisbehavedError(f"the guest said {type(said).__name__} of another call")
        if self._turn is Turn.IDLE:
            self._call = NO_CALL

    def _step(self, at: Turn, to: Turn) -> None:
        if self._turn is not at:
            raise NotNowError(f"the guest is {self._turn}, it must be {at} for this")
        self._turn = to
