"""A guest: a stranger's code in a process of its own, from the request for it to its end.

Whatever the guest does, a call ends by its deadline with a result or a typed refusal:

* it sends a frame that it may not send now, or too many: it is ended, ``guest-crashed``;
* it works for too long, or stops reading or writing: it is ended, ``time-limit``;
* it dies, or grows too large: the spawner says which.

A guest that failed is never called again, and the streams that it had begun are gone with it.
:mod:`casemate.enclave.guest.guests` has another one made.
"""

import os
import time
from collections.abc import Awaitable, Callable, Mapping
from enum import StrEnum
from types import MappingProxyType
from typing import Final

from casemate.enclave.guest.failure_words import place_words, words_of, words_of_refused
from casemate.enclave.guest.gauge import UNKNOWN, Gauge
from casemate.enclave.guest.lease import Lease
from casemate.enclave.guest.pipe_protocol import GuestLine
from casemate.enclave.guest.spawner_link import SpawnerLink
from casemate.enclave.io.loop import Loop, Pending, Signal, Timer, let_others
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
    Refused,
    Returned,
    Said,
    Wanted,
)
from casemate.engines.registry import Engine
from casemate.link.errors import PeerGoneError, TimedOutError
from casemate.wire.encodings.json_text import Json
from casemate.wire.messages.spawner import Interrupt, Watch
from casemate.wire.protocol.faults import Code, Fault, FaultError, fault
from casemate.wire.protocol.sandbox_layers import Layer

LOAD_TIME = 10.0
"""Longest start of a guest with its code (seconds), the bodies of its modules included."""

CAUSE_TIME = 2.0
"""Longest wait (seconds) for the spawner to say why a guest died, once the guest's pipe has closed. The spawner kills
the guest when it is asked, so it answers as soon as it gets to run: within some tenths of a second on a busy machine. A
guest cannot make the wait longer."""

WHERE_TIME = 0.4
"""Longest wait (seconds) for a guest of a debug enclave to say where it is, once its time is up. The spawner, which
ends guests of enclaves that hang, comes later."""

Ask = Callable[[Asked | Wanted], Awaitable[bytes]]
"""Answers what the guest asks: JSON, or nothing where there is no value; or :class:`FaultError`."""


_NOTHING: Final[Mapping[str, Json]] = MappingProxyType({})

Outcome = Returned | Paused | Ended | Refused
"""The last word of a guest on a call or a step, where it does not fail."""


class GuestState(StrEnum):
    """The states of a guest."""

    AWAITED = "awaited"  # asked of the spawner
    LOADING = "loading"
    READY = "ready"  # it waits for a call
    WORKING = "working"  # on a call, or on a step of a stream
    ENDED = "ended"  # its pipe has closed; the spawner has been asked to end it, and will say why it died
    GONE = "gone"


class _Event(StrEnum):
    """What happens to a guest."""

    GIVEN = "given"  # the spawner has sent its pipes
    LOADED = "loaded"  # it has loaded the program
    CALLED = "called"  # a call, or a step of a stream, has been sent
    ANSWERED = "answered"
    CLOSED = "closed"  # it has closed the pipe that it writes to
    FAILED = "failed"  # by its own fault, by the spawner's word, or by what the enclave decides


_NEXT: Mapping[GuestState, Mapping[_Event, GuestState]] = {
    GuestState.AWAITED: {_Event.GIVEN: GuestState.LOADING, _Event.FAILED: GuestState.GONE},
    GuestState.LOADING: {
        _Event.LOADED: GuestState.READY,
        _Event.CLOSED: GuestState.ENDED,
        _Event.FAILED: GuestState.GONE,
    },
    GuestState.READY: {
        _Event.CALLED: GuestState.WORKING,
        _Event.CLOSED: GuestState.ENDED,
        _Event.FAILED: GuestState.GONE,
    },
    GuestState.WORKING: {
        _Event.ANSWERED: GuestState.READY,
        _Event.CLOSED: GuestState.ENDED,
        _Event.FAILED: GuestState.GONE,
    },
    GuestState.ENDED: {_Event.FAILED: GuestState.GONE},
    GuestState.GONE: {},
}
"""All changes of state. What is not in here does not happen: a ``KeyError`` is a defect of this module."""


class Guest:
    """One guest process. The spawner is asked for it when this object is made; for a copy, once its template is loaded.

    Args:
        loop: serves its pipes.
        spawner: gives it, and says when and why it is gone.
        engine: its engine.
        memory_mib: its limit.
        program: loaded into it.
        on_print: told each line of its console.
        admit: told its layers before it gets the program; false where it must not be used.
        tell_errors: whether the words of its own exceptions may be told to callers. They can hold anything that the
            guest has seen, past all schemas, so only a debug enclave does that.
        template: the guest that it is to be a copy of; None for one that loads the program itself.
    """

    def __init__(
        self,
        loop: Loop,
        spawner: SpawnerLink,
        *,
        engine: Engine,
        memory_mib: int,
        program: GuestProgram,
        on_print: Callable[[str], None],
        admit: Callable[[tuple[Layer, ...]], bool],
        tell_errors: bool,
        template: "Guest | None" = None,
    ) -> None:
        self._loop = loop
        self._spawner = spawner
        self._engine = engine
        self._program = program
        self._on_print = on_print
        self._admit = admit
        self._tell_errors = tell_errors
        self._state = GuestState.AWAITED
        self._changed = Signal()
        """Set when the state has changed, a frame has come, or a question of the guest's is answered."""
        self._line: GuestLine | None = None
        self._limit: Timer | None = None
        self._to_drop: list[bytes] = []
        """Streams to be forgotten when it rests."""
        self._was_at_rest = False
        """Whether a guest that has ended did so between two calls."""
        self.layers: tuple[Layer, ...] = ()
        """The layers around it, once it is given."""
        self.gauge = UNKNOWN
        """What it has used, once it is given."""
        self.loaded_kib: int | None = None
        """Its largest memory when its program was loaded (KiB); None where nobody can tell."""
        self.has_served = False
        """Whether it has taken a call, or a step of a stream."""
        self.failure = _UNEXPLAINED
        """Why it is gone, once it is."""
        self.died = False
        """Whether the failure is this process's own (it died, or never came to be), so that another may do better."""
        self._memory_mib = memory_mib
        self._template = template
        self._waiting: list[Callable[[], None]] = []
        """Called once it is ready or gone."""
        self.number = 0
        """The number that the spawner knows it by; 0 while it has not been asked for it."""
        self._lease = Lease(0)
        self._lease_timer: Timer | None = None
        if template is None:
            self._ask_for_it()
        else:
            template.once_settled(self._ask_for_it)

    @property
    def state(self) -> GuestState:
        """The state now."""
        return self._state

    @property
    def is_gone(self) -> bool:
        """Whether it can never be called again."""
        return self._state is GuestState.GONE

    @property
    def is_starting(self) -> bool:
        """Whether it will be ready for a call, or gone, without anything more being asked of it."""
        return self._state in (GuestState.AWAITED, GuestState.LOADING)

    async def settled(self, deadline: float) -> bool:
        """Waits until it can be called or is gone; false if neither was so by the ``deadline`` (monotonic clock)."""
        return await self._changed.until(lambda: self._state in (GuestState.READY, GuestState.GONE), deadline)

    async def given_by(self, deadline: float) -> bool:
        """Waits until its process is there, or never will be; false if neither was so by then (monotonic clock)."""
        return await self._changed.until(lambda: self._state is not GuestState.AWAITED, deadline)

    def attend(self) -> None:
        """Takes what it has said at rest: nothing of that may pass for a word of the next call."""
        if self._line is not None and self._state is GuestState.READY:
            self._line.look()

    def end(self) -> None:
        """Has it ended, whatever it does."""
        if not self.is_gone:
            self._lose(_UNEXPLAINED)

    def close(self) -> None:
        """Closes its pipes, and says nothing to the spawner."""
        self._drop(_UNEXPLAINED)

    @property
    def loader(self) -> "Guest":
        """The guest that loads the program: this one, or the one that it is a copy of."""
        return self._template or self

    def once_settled(self, then: Callable[[], None]) -> None:
        """Calls ``then`` as soon as it can be called, or is gone: now, or later."""
        if self._is_settled:
            then()
        else:
            self._waiting.append(then)

    @property
    def _is_settled(self) -> bool:
        """Whether it can be called, or is gone; one whose pipe has closed is about to be, with a cause."""
        return not self.is_starting and self._state is not GuestState.ENDED

    def _ask_for_it(self) -> None:
        template = self._template
        if self.is_gone:
            return
        if template is not None and template.is_gone:
            self._drop(template.failure, died=template.died)
            return
        copy_of = 0 if template is None else template.number
        self.number = self._spawner.need(self, self._engine.name, self._memory_mib, copy_of=copy_of)
        self._lease = Lease(self.number)

    # --- calls ------------------------------------------------------------------------------------------------------

    async def call(
        self,
        entry: str,
        arguments: bytes,
        caller: Json,
        *,
        ask: Ask,
        deadline: float,
        about: Mapping[str, Json] = _NOTHING,
    ) -> bytes | Refused:
        """What a function of the guest returns, as JSON, or its refusal, both unchecked. The guest must be ready.

        Args:
            entry: the function's name.
            arguments: JSON, checked.
            caller: for ``context.caller``.
            ask: answers the guest's questions.
            deadline: on the monotonic clock; the guest gets no more time than that, its questions included.
            about: what else ``context`` tells: see :meth:`Conversation.call`.

        Raises:
            FaultError: with every other outcome.
        """
        line = self._work(deadline)
        payload = line.talk.call(entry, arguments, caller, number=new_number(), about=about)
        said = await self._hear_out(line, payload, ask, deadline)
        match said:
            case Returned(text):
                return text
            case Refused():
                return said
        raise _OutOfTurnError

    async def open(
        self,
        stream: bytes,
        entry: str,
        arguments: bytes,
        caller: Json,
        *,
        ask: Ask,
        deadline: float,
        about: Mapping[str, Json] = _NOTHING,
    ) -> Paused | Ended | Refused:
        """Calls a stream, up to its first pause. The guest must be ready.

        Args:
            stream: a :func:`new_number` for it.
            entry: as the other arguments, and errors: those of :meth:`call`.
            arguments: JSON, checked.
            caller: for ``context.caller``.
            ask: answers the guest's questions.
            deadline: of this step alone.
            about: as there.
        """
        line = self._work(deadline)
        payload = line.talk.open(entry, arguments, caller, number=stream, about=about)
        return _step_of(await self._hear_out(line, payload, ask, deadline))

    async def step(
        self, stream: bytes, kind: FrameKind, piece: bytes, *, ask: Ask, deadline: float
    ) -> Paused | Ended | Refused:
        """Has the guest go on with a stream up to its next pause. The guest must be ready.

        Args:
            stream: its number in this guest.
            kind: CHUNK with a piece of input; END or PULL with none.
            piece: bytes.
            ask: as for :meth:`call`.
            deadline: of this step alone.

        Raises:
            FaultError: with every other outcome; the stream is over then.
        """
        line = self._work(deadline)
        return _step_of(await self._hear_out(line, line.talk.step(kind, piece, number=stream), ask, deadline))

    def drop(self, stream: bytes) -> None:
        """Has the guest forget a stream, as soon as it is at rest."""
        self._to_drop.append(stream)
        self._drop_streams()

    def _drop_streams(self) -> None:
        line = self._line
        while self._to_drop and line is not None and self._state is GuestState.READY:
            line.say(line.talk.drop(number=self._to_drop.pop()))

    def _work(self, deadline: float) -> GuestLine:
        """The line to the guest, which now works on a call."""
        line = self._line
        if line is None:
            raise FaultError(self.failure)
        self._change(_Event.CALLED)
        self._watch(deadline)
        self.has_served = True
        return line

    async def _hear_out(self, line: GuestLine, payload: bytes, ask: Ask, deadline: float) -> Outcome:
        try:
            line.say(payload)
            return await self._converse(line, ask, deadline)
        except BaseException:
            if self._state is GuestState.WORKING:  # a defect in here: who knows what the guest waits for
                self._lose(_UNEXPLAINED)
            raise

    async def _converse(self, line: GuestLine, ask: Ask, deadline: float) -> Outcome:
        """Answers a working guest until it has done its call or step."""
        refused: Fault | None = None
        while True:
            said_more = line.spoke
            match await self._next(line, deadline):
                case Printed(text):
                    self._on_print(text)
                case Asked() | Wanted() as asked:
                    refused = await self._answer(line, ask, asked, deadline) or refused
                case Returned() | Paused() | Ended() | Refused() as said:
                    self._rest(_Event.ANSWERED)
                    return said
                case Failed() as failed:
                    self._rest(_Event.ANSWERED)
                    raise FaultError(self._failed(failed) if refused is None else self._refused(refused, failed))
            if said_more:  # it waits for no answers: a pipe full of questions would take up the enclave's one thread
                await let_others()

    async def _answer(self, line: GuestLine, ask: Ask, asked: Asked | Wanted, deadline: float) -> Fault | None:
        """Answers a question, or refuses it. The refusal is returned, so that a call which fails over it can say so.

        The question is a task of its own: a guest that dies while it waits for the host ends its call at once.
        """
        answer: Pending[bytes] = Pending()

        async def find() -> None:
            try:
                answer.set(await ask(asked))
            except (PeerGoneError, TimedOutError):
                raise  # chip or spawner are gone: the enclave's end
            except Exception as error:  # a refusal, or a defect, which is this call's alone
                answer.fail(error)
            self._changed.set()

        self._loop.start(find())
        if not answer.is_done:
            await self._changed.until(lambda: answer.is_done or self._is_lost(line), deadline)
        if not answer.is_done or self._is_lost(line):
            return None  # whoever waits for the guest's next frame finds out why
        try:
            line.say(line.talk.answer(answer.result()))
        except FaultError as error:
            line.say(line.talk.refuse(error.fault.code, error.fault.reason))
            # What the function says wrongly is its own mistake, told as any other of its exceptions.
            return None if error.fault.code is Code.GUEST_ERROR else error.fault
        return None

    async def _next(self, line: GuestLine, deadline: float) -> Said:
        """The next frame of the working guest, if it comes before the deadline."""
        in_time = await self._changed.until(lambda: line.spoke or self._is_lost(line), deadline)
        if self._state is GuestState.WORKING and (not in_time or time.monotonic() >= deadline):
            where = await self._where(line)
            late = fault(Code.TIME_LIMIT, f"the function did not return within the manifest's time limit{where}")
            if self._state is GuestState.WORKING:
                self._lose(late)
            raise FaultError(late)  # also where it has ended over the question, and the spawner was faster to say so
        if self._state is GuestState.WORKING and line.spoke:
            return self._hear(line)
        if self._state is GuestState.WORKING:  # its pipe is closed
            # Not for the rest of the call's time alone: a guest that dies just before its deadline would then have no
            # cause but that, though the spawner can tell one.
            self._ask_why()
            await self.settled(time.monotonic() + CAUSE_TIME + 1)
        raise FaultError(self.failure)

    async def _where(self, line: GuestLine) -> str:
        """In a debug enclave: where a guest is that has worked for too long. Empty where it does not say so at once."""
        if not (self._tell_errors and self._engine.tells_where):
            return ""
        self._spawner.tell(Interrupt(self.number))
        until = time.monotonic() + WHERE_TIME
        while await self._changed.until(lambda: line.spoke or self._is_lost(line), until) and line.spoke:
            try:
                said = line.hear()
            except GuestMisbehavedError:  # it was about to say something else
                return ""
            if isinstance(said, Failed):
                words = place_words(said.place, self._program.modules)
                return f"; it was{words}" if words else ""
            if not isinstance(said, Printed) or time.monotonic() >= until:
                return ""
            self._on_print(said.text)
        return ""

    def _is_lost(self, line: GuestLine) -> bool:
        return self._state is not GuestState.WORKING or line.ended

    # --- what spawner and guest say ---------------------------------------------------------------------------------

    def given(self, layers: tuple[Layer, ...], pipes: tuple[int, int], gauge: Gauge) -> None:
        """The spawner has sent its pipes: to write to, and to read from; and what measures it."""
        self.gauge = gauge
        if not self._admit(layers):  # REPORTDATA names the first guest's
            for descriptor in pipes:
                os.close(descriptor)
            self._lose(fault(Code.UNAVAILABLE, "the new guest is not confined as the first one was"))
            return
        self._change(_Event.GIVEN)
        self.layers = layers
        self._watch(time.monotonic() + LOAD_TIME)
        self._limit = self._loop.at(time.monotonic() + LOAD_TIME, self._load_too_late)
        is_copy = self._template is not None
        self._line = GuestLine(self._loop, pipes, self._engine, self._program, self._on_news, is_copy=is_copy)

    def gone(self, failure: Fault) -> None:
        """The spawner says that it has ended, and why."""
        if self._line is not None and self._state is GuestState.LOADING:
            self._line.look()  # what it has said before counts: it alone knows why its code cannot be loaded
        at_rest = self._state is GuestState.ENDED and self._was_at_rest
        self._drop(failure, died=at_rest or failure.code is Code.GUEST_CRASHED)

    def refused(self, refusal: Fault) -> None:
        """The spawner has none to give."""
        template = self._template
        if template is not None and template.is_gone:
            self._drop(template.failure, died=template.died)
        else:
            self._drop(refusal, died=True)

    def _on_news(self) -> None:
        """The guest has said something, or its pipe has closed."""
        line = self._line
        if line is None:
            return
        while line.spoke and self._state in (GuestState.LOADING, GuestState.READY):
            self._hear_of_loading(line)
        if line.ended and self._state in (GuestState.LOADING, GuestState.READY):
            self._ask_why()
        self._changed.set()

    def _hear_of_loading(self, line: GuestLine) -> None:
        try:
            said = self._hear(line)
        except FaultError:  # kept as the failure
            return
        match said:
            case Loaded():
                self.loaded_kib = self.gauge.peak_kib()
                self._rest(_Event.LOADED)
            case Printed(text):
                self._on_print(text)
            case Failed() as failed:
                words = words_of(failed, self._program.modules)
                self._lose(fault(Code.GUEST_ERROR, f"the code cannot be loaded: {words}"))

    def _hear(self, line: GuestLine) -> Said:
        try:
            return line.hear()
        except GuestMisbehavedError as error:
            words = f": {error}" if self._tell_errors else ""  # they quote the guest
            self._lose(fault(Code.GUEST_CRASHED, f"the guest broke its protocol and was ended{words}"))
            raise FaultError(self.failure) from None

    def _load_too_late(self) -> None:
        if self._state is GuestState.LOADING:
            self._lose(fault(Code.TIME_LIMIT, "the code was not loaded in time"))

    def _ask_why(self) -> None:
        """Has the spawner end a guest whose pipe has closed, and say why it died.

        Most have died by then, for a reason that the spawner alone can know, such as too much memory. One that has
        closed the pipe itself and lives on is ended all the same. So the spawner's word comes soon in either case.
        """
        self._was_at_rest = self._state is GuestState.READY
        self._change(_Event.CLOSED)
        self._stop_limit()
        self._limit = self._loop.at(time.monotonic() + CAUSE_TIME, lambda: self._drop(_UNEXPLAINED, died=True))
        self._spawner.tell(Watch(self.number, 0))

    def _rest(self, event: _Event) -> None:
        self._stop_limit()
        self._change(event)
        self._lease.rest(time.monotonic())
        if self._lease_timer is None:
            self._attend_to_lease()
        self._drop_streams()

    def _watch(self, deadline: float) -> None:
        """Sees to it that the spawner lets the guest work until then, and not much longer."""
        message = self._lease.work(deadline, time.monotonic())
        if message is not None:
            self._spawner.tell(message)

    def _attend_to_lease(self) -> None:
        """Tells the spawner that the guest rests, if it has rested for long enough; else looks again when it may have.

        One timer does for many calls: it is not moved with each of them.
        """
        self._lease_timer = None
        message = self._lease.attend(time.monotonic())
        if message is not None:
            self._spawner.tell(message)
        elif self._lease.due is not None:
            self._lease_timer = self._loop.at(self._lease.due, self._attend_to_lease)

    def _lose(self, failure: Fault) -> None:
        """Gives up a guest that may be alive: the spawner ends it now."""
        if self.number:
            self._spawner.tell(Watch(self.number, 0))
        self._drop(failure)

    def _drop(self, failure: Fault, *, died: bool = False) -> None:
        """The end of this guest."""
        if self.is_gone:
            return
        self._stop_limit()
        if self._lease_timer is not None:
            self._lease_timer.cancel()
        self._spawner.forget(self.number)
        if self._line is not None:
            self._line.close()
            self._line = None
        self.gauge.close()
        self.gauge = UNKNOWN
        self.failure, self.died = failure, died
        self._change(_Event.FAILED)

    def _change(self, event: _Event) -> None:
        self._state = _NEXT[self._state][event]
        self._changed.set()
        if self._is_settled:
            waiting, self._waiting = self._waiting, []
            for then in waiting:
                then()

    def _stop_limit(self) -> None:
        if self._limit is not None:
            self._limit.cancel()
            self._limit = None

    def _failed(self, failed: Failed) -> Fault:
        if self._tell_errors:
            return fault(failed.code, words_of(failed, self._program.modules))
        return fault(failed.code, _FAILURES.get(failed.code, "it failed"))

    def _refused(self, refused: Fault, failed: Failed) -> Fault:
        if self._tell_errors:
            return fault(refused.code, words_of_refused(refused, failed, self._program.modules))
        return refused


_FAILURES = {
    Code.GUEST_ERROR: "the function threw an exception; a debug enclave would tell which",
    Code.OUTPUT_LIMIT: "the result is longer than the manifest allows",
    Code.RESULT_REFUSED: "the result is not JSON",
}
"""Messages sent to callers in place of the guest's own."""

_UNEXPLAINED = fault(Code.GUEST_CRASHED, "the guest's process ended")


class _OutOfTurnError(Exception):
    """A defect: the conversation let through what does not belong to this kind of call."""


def _step_of(said: Outcome) -> Paused | Ended | Refused:
    if isinstance(said, Returned):
        raise _OutOfTurnError
    return said


def new_number() -> bytes:
    """A number for a call, or for a stream, that no guest can guess."""
    return os.urandom(CALL_SIZE)
