"""The guest: a stranger's code in a process of its own, which is replaced when it fails.

Whatever the guest does, a call ends by its deadline with a result or a typed refusal:

* it sends a frame that it may not send now, or too many: it is ended, ``guest-crashed``;
* it works for too long, or stops reading or writing: it is ended, ``time-limit``;
* it dies, or grows too large: the spawner says which.

A guest that failed is never called again, and the streams that it had begun are gone with it.
"""

import contextlib
import os
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from enum import StrEnum

from casemate.enclave.guest.lease import Lease
from casemate.enclave.guest.pipe_protocol import GuestLine
from casemate.enclave.io.pump import Pump
from casemate.enclave.io.socket_peer import SocketPeer
from casemate.engines.command import GuestProgram
from casemate.engines.errors import GuestMisbehavedError
from casemate.engines.frames import (
    CALL_SIZE,
    Asked,
    Ended,
    Failed,
    FrameKind,
    Loaded,
    Paused,
    Printed,
    Returned,
    Said,
    Wanted,
)
from casemate.engines.registry import engine_named
from casemate.wire.encodings.json_text import Json
from casemate.wire.encodings.message import encode_message, parse_message
from casemate.wire.messages.spawner import GuestGiven, GuestGone, GuestRefused, NeedGuest, Unwatch, Watch
from casemate.wire.protocol.faults import Code, Fault, FaultError, fault, refuse
from casemate.wire.protocol.sandbox_layers import Layer

LOAD_TIME = 10.0
"""Longest start of a guest with its code (seconds), the bodies of its modules included."""

CAUSE_TIME = 2.0
"""Longest wait (seconds) for the spawner to say why a guest died, once the guest's pipe has closed. The spawner kills
the guest when it is asked, so it answers as soon as it gets to run: within some tenths of a second on a busy machine. A
guest cannot make the wait longer."""

MOST_REPLACED = 3
"""Most guests in a row that may die before they have taken a call and be replaced; then the call fails."""

Ask = Callable[[Asked | Wanted], bytes]
"""Answers what the guest asks: JSON, or nothing for ``undefined``; or :class:`FaultError`."""


@dataclass(frozen=True, slots=True)
class GuestStream:
    """A stream that a guest has begun."""

    number: bytes
    """The number of the call that opened the stream."""
    process: int
    """The number of the guest that has it; guests are counted as they fail."""


class GuestState(StrEnum):
    """What there is of a guest."""

    ABSENT = "absent"  # none, or a failed one
    AWAITED = "awaited"  # asked of the spawner
    LOADING = "loading"
    READY = "ready"  # it waits for a call
    WORKING = "working"  # on a call
    ENDED = "ended"  # its pipe has closed; the spawner has been asked to end it, and will say why it died


class _Event(StrEnum):
    """What happens to a guest."""

    FETCHED = "fetched"  # the enclave has asked the spawner for one
    GIVEN = "given"  # the spawner has sent its pipes
    LOADED = "loaded"  # it has loaded the program
    CALLED = "called"  # a call, or a step of a stream, has been sent
    ANSWERED = "answered"
    CLOSED = "closed"  # it has closed the pipe that it writes to
    FAILED = "failed"  # by its own fault, by the spawner's word, or by what the enclave decides


_NEXT: Mapping[GuestState, Mapping[_Event, GuestState]] = {
    GuestState.ABSENT: {_Event.FETCHED: GuestState.AWAITED, _Event.FAILED: GuestState.ABSENT},
    GuestState.AWAITED: {_Event.GIVEN: GuestState.LOADING, _Event.FAILED: GuestState.ABSENT},
    GuestState.LOADING: {
        _Event.LOADED: GuestState.READY,
        _Event.CLOSED: GuestState.ENDED,
        _Event.FAILED: GuestState.ABSENT,
    },
    GuestState.READY: {
        _Event.CALLED: GuestState.WORKING,
        _Event.CLOSED: GuestState.ENDED,
        _Event.FAILED: GuestState.ABSENT,
    },
    GuestState.WORKING: {
        _Event.ANSWERED: GuestState.READY,
        _Event.CLOSED: GuestState.ENDED,
        _Event.FAILED: GuestState.ABSENT,
    },
    GuestState.ENDED: {_Event.FAILED: GuestState.ABSENT},
}
"""All changes of state. What is not in here does not happen: a ``KeyError`` is a defect of this module."""


class Guest:
    """The guest of an enclave: at any time one process at most.

    Args:
        pump: serves its pipes and the spawner.
        spawner: gives guests, and says when and why one is gone.
        engine: its name.
        memory_mib: the guest's limit.
        program: loaded into each guest.
        on_print: told each line of the guest's console.
        tell_errors: whether the words of the guest's own exceptions may be told to callers. They can hold anything that
            the guest has seen, past all schemas, so only a debug enclave does that.
    """

    def __init__(
        self,
        pump: Pump,
        spawner: SocketPeer,
        *,
        engine: str,
        memory_mib: int,
        program: GuestProgram,
        on_print: Callable[[str], None],
        tell_errors: bool,
    ) -> None:
        self._pump = pump
        self._spawner = spawner
        self._engine = engine_named(engine)
        self._memory_mib = memory_mib
        self._program = program
        self._on_print = on_print
        self._tell_errors = tell_errors
        self._state = GuestState.ABSENT
        self._failure = fault(Code.UNAVAILABLE, "there is no guest yet")
        self._died = False
        """Whether the failure is one process's own (it died, or never came to be), so that another may do better."""
        self._was_at_rest = False
        """Whether a guest that has ended did so between two calls."""
        self._line: GuestLine | None = None
        self._process = 0
        self._number = 0
        """The number under which the spawner knows the guest; 0 before the first."""
        self._lease = Lease(self._number)
        self._deadline: float | None = None
        self._layers: tuple[Layer, ...] | None = None

    @property
    def state(self) -> GuestState:
        """The state now."""
        return self._state

    @property
    def layers(self) -> tuple[Layer, ...]:
        """The layers around the first guest, and so around every one."""
        return self._layers or ()

    @property
    def deadline(self) -> float | None:
        """When :meth:`attend` must be called at the latest, on the monotonic clock."""
        due = [when for when in (self._deadline, self._lease.due) if when is not None]
        return min(due, default=None)

    def close(self) -> None:
        """Closes its pipes."""
        self._drop(_UNEXPLAINED)

    def fetch(self) -> None:
        """Asks the spawner for a guest, if there is none."""
        if self._state is GuestState.ABSENT:
            self._number += 1
            self._lease = Lease(self._number)
            self._tell_spawner(NeedGuest(self._number, self._engine.name, self._memory_mib))
            self._change(_Event.FETCHED)

    def await_ready(self, deadline: float) -> None:
        """Waits until the guest that was asked for can be called; one that dies before that is replaced.

        Raises:
            FaultError: it failed, as did those after it, or was not ready by the deadline.
        """
        self._await_settled(deadline)
        for _ in range(MOST_REPLACED):
            if self._state is not GuestState.ABSENT or not self._died:
                break
            self.fetch()
            self._await_settled(deadline)
        if self._state is GuestState.ABSENT:
            raise FaultError(self._failure)

    def _await_settled(self, deadline: float) -> None:
        """Waits until the guest can be called, or has failed."""
        while not self._is_settled():
            if time.monotonic() >= deadline:
                raise refuse(Code.TIME_LIMIT, f"the guest was still {self._state} when time was up")
            self._pump.turn(deadline if self._deadline is None else min(deadline, self._deadline))

    def attend(self) -> None:
        """Takes what spawner and guest have sent while no call is under way."""
        self._attend_to_spawner()
        self._tell_spawner(self._lease.attend(time.monotonic()))
        line = self._line
        if line is None or self._state is GuestState.WORKING:
            return
        while line.spoke and self._state is not GuestState.ABSENT:
            self._hear_of_loading(line)
        if line.ended and self._state in (GuestState.LOADING, GuestState.READY):
            self._ask_why()
        if self._deadline is not None and time.monotonic() >= self._deadline:
            late = fault(Code.TIME_LIMIT, "the code was not loaded in time")
            self._lose(_UNEXPLAINED if line.ended else late, died=line.ended)

    def call(self, entry: str, arguments: bytes, caller: Json, *, ask: Ask, deadline: float) -> bytes:
        """What a function of the guest returns, as JSON that nobody has checked yet.

        Args:
            entry: the function's name.
            arguments: JSON, checked.
            caller: for ``context.caller``.
            ask: answers the guest's questions.
            deadline: on the monotonic clock; the guest gets no more time than that, its questions and a fresh start
                included.

        Raises:
            FaultError: with every other outcome.
        """
        line = self._work(deadline)
        said = self._hear_out(line, line.talk.call(entry, arguments, caller, number=_number()), ask, deadline)
        if isinstance(said, Returned):
            return said.text
        raise _OutOfTurnError

    def open(
        self, entry: str, arguments: bytes, caller: Json, *, ask: Ask, deadline: float
    ) -> tuple[GuestStream, Paused | Ended]:
        """Calls a stream, up to its first pause. Arguments and errors are those of :meth:`call`."""
        line = self._work(deadline)
        stream = GuestStream(_number(), self._process)
        said = self._hear_out(line, line.talk.open(entry, arguments, caller, number=stream.number), ask, deadline)
        return stream, _step_of(said)

    def step(self, stream: GuestStream, kind: FrameKind, piece: bytes, *, ask: Ask, deadline: float) -> Paused | Ended:
        """Has the guest go on with a stream up to its next pause.

        Args:
            stream: one that :meth:`has`.
            kind: CHUNK with a piece of input; END or PULL with none.
            piece: bytes.
            ask: as for :meth:`call`.
            deadline: of this step alone.

        Raises:
            FaultError: with every other outcome; the stream is over then.
        """
        if not self.has(stream):
            raise refuse(Code.STREAM_UNKNOWN, "the guest that had this stream is gone")
        self.attend()
        if self._state is GuestState.ENDED:
            self._await_settled(deadline)
        if not self.has(stream):  # it died just now: another one knows nothing of the stream
            raise FaultError(self._failure)
        line = self._work(deadline)
        return _step_of(self._hear_out(line, line.talk.step(kind, piece, number=stream.number), ask, deadline))

    def has(self, stream: GuestStream) -> bool:
        """Whether the guest that began this stream is still there."""
        return stream.process == self._process

    def drop(self, stream: GuestStream) -> None:
        """Has the guest forget a stream, if it is still there."""
        if self.has(stream) and self._line is not None and self._state is GuestState.READY:
            self._line.say(self._line.talk.drop(number=stream.number))

    def _work(self, deadline: float) -> GuestLine:
        """The line to a guest that now works on a call."""
        self.fetch()
        self.await_ready(deadline)
        line = self._line
        if line is None:
            raise FaultError(self._failure)
        self._change(_Event.CALLED)
        self._watch(deadline)
        return line

    def _hear_out(self, line: GuestLine, payload: bytes, ask: Ask, deadline: float) -> Returned | Paused | Ended:
        try:
            line.say(payload)
            return self._converse(line, ask, deadline)
        except BaseException:
            if self._state is GuestState.WORKING:  # a defect in here: who knows what the guest waits for
                self._lose(_UNEXPLAINED)
            raise

    def is_gone(self) -> bool:
        """Whether the guest that works on a call has failed meanwhile."""
        self._attend_to_spawner()
        return self._state is not GuestState.WORKING or (self._line is not None and self._line.ended)

    def _converse(self, line: GuestLine, ask: Ask, deadline: float) -> Returned | Paused | Ended:
        """Answers a working guest until it has done its call or step."""
        refused: Fault | None = None
        while True:
            match self._next(line, deadline):
                case Printed(text):
                    self._on_print(text)
                case Asked() | Wanted() as asked:
                    refused = self._answer(line, ask, asked) or refused
                case Returned() | Paused() | Ended() as said:
                    self._rest(_Event.ANSWERED)
                    return said
                case Failed() as failed:
                    self._rest(_Event.ANSWERED)
                    raise FaultError(refused or self._failed(failed))

    def _answer(self, line: GuestLine, ask: Ask, asked: Asked | Wanted) -> Fault | None:
        """Answers a question, or refuses it. The refusal is returned, so that a call which fails over it can say so."""
        try:
            answer = ask(asked)
        except FaultError as error:
            line.say(line.talk.refuse(error.fault.code, error.fault.reason))
            # What the function says wrongly is its own mistake, told as any other of its exceptions.
            return None if error.fault.code is Code.GUEST_ERROR else error.fault
        line.say(line.talk.answer(answer))
        return None

    def _next(self, line: GuestLine, deadline: float) -> Said:
        """The next frame of the working guest, if it comes before the deadline."""

        def spoke_or_gone() -> bool:
            return line.spoke or self.is_gone()

        if time.monotonic() >= deadline or not self._pump.until(spoke_or_gone, deadline):
            self._lose(fault(Code.TIME_LIMIT, "the function did not return within the manifest's time limit"))
        elif line.spoke:
            return self._hear(line)
        elif self._state is GuestState.WORKING:  # its pipe is closed
            # Not for the rest of the call's time alone: a guest that dies just before its deadline would then have no
            # cause but that, though the spawner can tell one.
            self._ask_why()
            self._await_settled(time.monotonic() + CAUSE_TIME)
        raise FaultError(self._failure)

    def _hear_of_loading(self, line: GuestLine) -> None:
        with contextlib.suppress(FaultError):  # _hear() remembers the failure for the next call
            match self._hear(line):
                case Loaded():
                    self._rest(_Event.LOADED)
                case Printed(text):
                    self._on_print(text)
                case Failed() as failed:
                    self._lose(fault(Code.GUEST_ERROR, f"the code cannot be loaded: {failed.name}: {failed.message}"))

    def _hear(self, line: GuestLine) -> Said:
        try:
            return line.hear()
        except GuestMisbehavedError as error:
            words = f": {error}" if self._tell_errors else ""  # they quote the guest
            self._lose(fault(Code.GUEST_CRASHED, f"the guest broke its protocol and was ended{words}"))
            raise FaultError(self._failure) from None

    def _attend_to_spawner(self) -> None:
        while self._spawner.incoming:
            frame = self._spawner.incoming.popleft()
            said: object = parse_message(frame or b"", GuestGiven, GuestGone, GuestRefused)
            match said:
                case GuestGiven():
                    self._begin(said)
                case GuestGone(number, name, reason) if number == self._number and self._line is not None:
                    code = _code(name)  # else it speaks of a guest that was given up before
                    at_rest = self._state is GuestState.ENDED and self._was_at_rest
                    self._drop(fault(code, reason), died=at_rest or code is Code.GUEST_CRASHED)
                case GuestRefused(number, refusal) if number == self._number and self._state is GuestState.AWAITED:
                    self._drop(refusal, died=True)

    def _begin(self, given: GuestGiven) -> None:
        writing, reading = self._spawner.descriptors.popleft(), self._spawner.descriptors.popleft()
        if self._layers is None:
            self._layers = given.layers
        elif _outline(given.layers) != _outline(self._layers):  # REPORTDATA names the first guest's
            os.close(writing)
            os.close(reading)
            self._lose(fault(Code.UNAVAILABLE, "the new guest is not confined as the first one was"))
            return
        self._change(_Event.GIVEN)
        self._watch(time.monotonic() + LOAD_TIME)
        self._line = GuestLine(self._pump, (writing, reading), self._engine, self._program)

    def _watch(self, deadline: float) -> None:
        """Sets the deadline here, and in the spawner, which ends the guest a little later should nobody else do so."""
        self._deadline = deadline
        self._tell_spawner(self._lease.work(deadline, time.monotonic()))

    def _rest(self, event: _Event) -> None:
        self._change(event)
        self._deadline = None
        self._lease.rest(time.monotonic())

    def _tell_spawner(self, message: NeedGuest | Watch | Unwatch | None) -> None:
        if message is not None:
            self._spawner.send(encode_message(message))

    def _ask_why(self) -> None:
        """Has the spawner end a guest whose pipe has closed, and say why it died.

        Most have died by then, for a reason that the spawner alone can know, such as too much memory. One that has
        closed the pipe itself and lives on is ended all the same. So the spawner's word comes soon in either case.
        """
        self._was_at_rest = self._state is GuestState.READY
        self._change(_Event.CLOSED)
        self._deadline = time.monotonic() + CAUSE_TIME
        self._tell_spawner(Watch(self._number, 0))

    def _lose(self, failure: Fault, *, died: bool = False) -> None:
        """Gives up a guest that may be alive: the spawner ends it now."""
        self._tell_spawner(Watch(self._number, 0))
        self._drop(failure, died=died)

    def _change(self, event: _Event) -> None:
        self._state = _NEXT[self._state][event]

    def _drop(self, failure: Fault, *, died: bool = False) -> None:
        """Forgets a guest."""
        if self._line is not None:
            self._line.close()
        self._change(_Event.FAILED)
        self._line, self._failure, self._deadline = None, failure, None
        self._lease = Lease(self._number)  # nothing is due for a guest that is gone
        self._died = died
        self._process += 1

    def _is_settled(self) -> bool:
        self.attend()
        return self._state in (GuestState.READY, GuestState.ABSENT)

    def _failed(self, failed: Failed) -> Fault:
        words = f"{failed.name}: {failed.message}" if self._tell_errors else _FAILURES.get(failed.code, "it failed")
        return fault(failed.code, words)


_FAILURES = {
    Code.GUEST_ERROR: "the function threw an exception; a debug enclave would tell which",
    Code.OUTPUT_LIMIT: "the result is longer than the manifest allows",
    Code.RESULT_REFUSED: "the result is not JSON",
}
"""Messages sent to callers in place of the guest's own."""

_UNEXPLAINED = fault(Code.GUEST_CRASHED, "the guest's process ended")


class _OutOfTurnError(Exception):
    """A defect: the conversation let through what does not belong to this kind of call."""


def _step_of(said: Returned | Paused | Ended) -> Paused | Ended:
    if isinstance(said, Returned):
        raise _OutOfTurnError
    return said


def _number() -> bytes:
    return os.urandom(CALL_SIZE)


def _code(name: str) -> Code:
    try:
        return Code(name)
    except ValueError:
        return Code.GUEST_CRASHED


def _outline(layers: tuple[Layer, ...]) -> list[tuple[str, str]]:
    """Names and states of the layers; their details differ from process to process."""
    return [(layer.name, layer.state) for layer in layers]
