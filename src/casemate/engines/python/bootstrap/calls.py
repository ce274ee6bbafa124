"""Calls of the program's functions, one at a time."""

import gc
from collections.abc import Awaitable
from typing import Any

from casemate.engines.frames import FrameKind
from casemate.engines.python.bootstrap.context import context_of, refusal_of
from casemate.engines.python.bootstrap.errors import UNTELLABLE, place_of, told
from casemate.engines.python.bootstrap.event_loop import GuestLoop
from casemate.engines.python.bootstrap.json_text import UntellableError, decode, text_of
from casemate.engines.python.bootstrap.line import Frame
from casemate.engines.python.bootstrap.program import Program
from casemate.guest import Refusal
from casemate.wire.protocol.faults import Code


class Calls:
    """Serves calls, whose coroutines share an event loop as long as they leave nothing in it."""

    def __init__(self, program: Program) -> None:
        self._program = program
        self._loop: GuestLoop | None = None

    def serve(self, frame: Frame) -> None:
        """Calls the function, and tells what it returned or raised."""
        program = self._program
        program.enclave.begin(frame.call)
        program.console.begin()
        try:
            text = self._returned(frame)
        except BaseException as thrown:  # also SystemExit and the like: the guest goes on
            self._rest()
            tell_failure(program, frame.call, thrown)
        else:
            self._rest()
            program.enclave.line.send(FrameKind.RETURNED, frame.call, text)

    def _returned(self, frame: Frame) -> bytes:
        program = self._program
        head, rest = frame.opened()
        context = context_of(program.enclave, frame.call, head, program.limits, program.grants)
        returned = program.functions[context.entry](decode(rest), context)
        if isinstance(returned, Awaitable):
            returned = self._awaited(returned)
        return text_of(returned, program.limits.output, "the result")

    def _awaited(self, awaitable: Awaitable[Any]) -> object:
        if self._loop is None:
            self._loop = GuestLoop(self._program.report)
        return self._loop.outcome(awaitable)

    def _rest(self) -> None:
        """The call is over; what it has left in the event loop ends with it, and does not go on in a later call."""
        loop = self._loop
        if loop is not None and self._program.debug:
            gc.collect()  # so that tasks which failed unheard are reported by this call
        end_turn(self._program)
        if loop is not None and loop.has_more():
            loop.abandon()
            self._loop = None


def end_turn(program: Program) -> None:
    """A call or step is over: its last line is printed, and it is heard no more."""
    program.console.end()
    program.enclave.over()


def tell_failure(program: Program, call: bytes, thrown: BaseException) -> None:
    """Tells why a call or stream has no result."""
    try:
        kind, head, text = _failure(program, thrown)
    except BaseException:  # its class is the program's, whose attributes may raise, too
        kind, head, text = FrameKind.FAILED, {"code": Code.GUEST_ERROR, **UNTELLABLE._asdict(), "place": None}, b""
    program.enclave.line.send_head(kind, call, head, text)


def _failure(program: Program, thrown: BaseException) -> tuple[FrameKind, dict[str, object], bytes]:
    """The frame's kind and its two parts."""
    if isinstance(thrown, Refusal):
        try:
            name, details = refusal_of(thrown, program.limits, program.grants)
        except (TypeError, ValueError) as mistake:
            thrown = mistake.with_traceback(thrown.__traceback__)
        else:
            return FrameKind.REFUSED, {"name": name}, details
    code, (name, message) = Code.GUEST_ERROR, told(thrown)
    if isinstance(thrown, UntellableError):
        code, name = thrown.code, "Error"
    place = place_of(thrown, program.files) if program.debug else None
    return FrameKind.FAILED, {"code": code, "name": name, "message": message, "place": place}, b""
