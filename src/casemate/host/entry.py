"""One enclave's entry socket: carries several entries at a time, and gives the enclave up if one of them hangs.

``wire.messages.entry`` has the rules for both ends.
"""

import asyncio
import contextlib
import contextvars
import logging
import socket
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Generic, TypeVar

from casemate.host.entry_queue import CALLER, EntryQueue
from casemate.host.ocalls import Ask
from casemate.host.questions import KeepState, Questions, Relay
from casemate.host.state_keeper import STATE_QUESTIONS
from casemate.host.usage import EnclaveUsage
from casemate.link.async_channel import AsyncChannel
from casemate.link.errors import PeerGoneError
from casemate.link.numbered_frames import MAX_NUMBER, NEWS, NUMBER_SIZE, number_of, numbered
from casemate.wire.encodings.message import parse_message
from casemate.wire.errors import WireError
from casemate.wire.messages.entry import MAX_CALLS, MAX_OTHERS, Enter, Log, Noticed, Ocall, PlainEnter, Ready, Used
from casemate.wire.messages.peers import PEER_QUESTIONS, PeerAnswer, PeerCall, PeerOpen, PeerProve, PeerQuestion
from casemate.wire.messages.state import StateAppend, StateForget, StateRead
from casemate.wire.messages.tls import TlsBytes
from casemate.wire.protocol.faults import Code, Fault, FaultError, refuse

if TYPE_CHECKING:
    from casemate.wire.protocol.capabilities.service import Hook

ENTRY_TIMEOUT = 180.0
"""Longest entry (seconds): above the longest wait for a guest and a turn, the longest time limit that a manifest may
name, and the time in which a large state is loaded and written, so it only ends what hangs. An enclave has as long for
getting ready."""

NOTICE_INTERVAL = 50.0
"""Seconds between two notices of an enclave's monitor about one subject: a hostile one could fill all events."""

FRAMES_IN_A_ROW = 16
"""So many frames of an enclave are read before other tasks get their turn, however fast it sends."""

_log = logging.getLogger(__name__)
T = TypeVar("T")


def _nothing() -> None:
    """For those who need not know."""


@dataclass(slots=True, eq=False)
class _Entry(Generic[T]):
    """An entry that waits for its turn, or is under way."""

    message: object
    """None once it is sent."""
    wanted: type[T]
    left: asyncio.Future[T]
    window: "_Window"
    number: int = 0
    """Its frames' number; 0 until it is sent."""
    sent_at: float = 0.0
    """By the event loop's clock."""

    def fail(self, error: BaseException) -> None:
        """Has its caller get ``error``, if it is still there."""
        if not self.left.done():
            self.left.set_exception(error)


@dataclass(slots=True, eq=False)
class _Window:
    """The entries of one kind, calls or others: how many more may be under way, and those that wait for that."""

    room: int = 0
    waiting: EntryQueue[_Entry[Any]] = field(default_factory=EntryQueue)


class EntryGate:
    """Enters one enclave, from the event loop that it is made in. :meth:`close` ends it.

    Calls are under way up to the number that the enclave is ready for, other entries up to :data:`MAX_OTHERS`. What
    goes beyond that waits in the turn of its :data:`CALLER` and its session. Nothing is sent before ``Ready`` has come.

    ``on_death`` is told once when the enclave can no longer be entered, and why; not of :meth:`close`. If the link ends
    while the enclave has no entry, that is the chip's to report, which knows why: ``on_death`` is told of it when
    somebody tries to enter all the same. ``on_print`` is told each line of a debug enclave's console.
    """

    def __init__(
        self,
        entry_socket: socket.socket,
        ask: Ask,
        keep: KeepState,
        on_death: Callable[[str], None],
        on_print: Callable[[str], None],
    ) -> None:
        self._channel = AsyncChannel(entry_socket, descriptors=False)
        self._questions = Questions(self._channel, ask, keep)
        self.on_notice: Callable[[Noticed], None] = lambda _: None
        """Told what the enclave's behaviour monitor has found."""
        self.relay: Relay = _no_relay
        """Answers what the enclave asks of others."""
        self._noticed: dict[str, float] = {}
        """When each subject of the monitor may be told of again, by the event loop's clock."""
        self.usage = EnclaveUsage()
        """What its calls have used, as the enclave says."""
        self.hooks: frozenset[Hook] = frozenset()
        """Those that the service has, once it is ready."""
        self.on_ready: Callable[[], None] = _nothing
        """Told once, when it is."""
        self._on_death = on_death
        self._on_print = on_print
        self._calls, self._others = _Window(), _Window()
        self._under_way: dict[int, _Entry[Any]] = {}
        """By their numbers, in the order in which they were sent."""
        self._last = 0
        self._is_ready = False
        self._end: str | None = None
        """Why nothing can be entered any more."""
        self._closed_with: Fault | None = None
        """What new entries are refused with, while those that are here already go on."""
        self._used_at = 0.0
        """When an entry came or ended last, by the event loop's clock."""
        self._rest = asyncio.Event()
        """Set while nothing waits or is under way."""
        self._rest.set()
        self._is_untold = False
        """``on_death`` has yet to be told of that."""
        self._loop = asyncio.get_running_loop()
        # Not in the context of whoever starts the enclave: what this logs and asks is about every caller's entries.
        self._reading = self._loop.create_task(self._read(), context=contextvars.Context())
        self._timer: asyncio.TimerHandle | None = None
        self._look_again_at(self._loop.time() + ENTRY_TIMEOUT)

    def close(self) -> None:
        """Hangs up; entries under way and those that wait are refused as ``lost``."""
        self._is_untold = False
        self._stop("the link is closed")

    async def drain(self, refusal: FaultError, *, quiet: float, most: float, last: float) -> None:
        """Goes on until nothing has been entered for some time; lets nobody in any more; waits for what is under way.

        If the current task is cancelled, everybody is let in again.

        Args:
            refusal: what is told to those who come too late.
            quiet: seconds without an entry after which the enclave's sessions count as over.
            most: seconds for which it goes on at most.
            last: seconds within which what is under way should end then.
        """
        end = self._loop.time() + most
        try:
            while self._end is None:
                rested = self._used_at + quiet if self._rest.is_set() else end
                left = min(rested, end) - self._loop.time()
                if left <= 0:
                    break
                await asyncio.sleep(min(left, quiet))
            self._closed_with = refusal.fault
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(last):
                    await self._rest.wait()
        except asyncio.CancelledError:
            self._closed_with = None
            raise

    def let_in(self) -> None:
        """Undoes what :meth:`drain` has done: a replaced enclave is to go on."""
        self._closed_with = None

    async def enter(self, message: object, wanted: type[T]) -> T:
        """The enclave's reply to one entry, made in the turn of the current task's :data:`CALLER`.

        If the current task is cancelled while the entry waits, it leaves the queue and is never made. Later, the entry
        goes on, and its reply is dropped.

        Raises:
            FaultError: the enclave refused, is busy beyond reason, died, or was silent too long.
            WireError: ``message`` cannot be encoded.
        """
        if self._closed_with is not None:  # first: one that was let end is not lost
            raise FaultError(self._closed_with)
        if self._end is not None:
            if self._is_untold:
                self._loop.call_soon(self._tell, context=contextvars.Context())
            raise refuse(Code.LOST, self._end)
        self._used_at = self._loop.time()
        self._rest.clear()
        window = self._calls if isinstance(message, Enter | PlainEnter) else self._others
        left: asyncio.Future[T] = self._loop.create_future()
        entry = _Entry(message, wanted, left, window)
        if window.room:  # then nobody waits: whoever makes room sends for those who do
            self._send(entry)
            return await left
        caller, session = CALLER.get(), _session_of(message)
        window.waiting.add(entry, caller, session)
        try:
            return await left
        finally:
            if not entry.number:
                window.waiting.withdraw(entry, caller, session)
                self._look_for_rest()

    def _send(self, entry: _Entry[Any]) -> None:
        """Begins an entry; there must be room for it.

        What the socket does not take at once is sent in the background. The window bounds how much that is.
        """
        number = self._next_number()
        try:
            payload = numbered(number, entry.message)
        except Exception as error:  # nothing was sent: a bad message is its caller's business alone
            entry.fail(error)
            self._look_for_rest()
            return
        entry.number, entry.sent_at = number, self._loop.time()
        entry.message = None  # up to 17 MiB: not kept for a caller that has left
        entry.window.room -= 1
        self._under_way[number] = entry
        if self._timer is None:
            self._look_again_at(entry.sent_at + ENTRY_TIMEOUT)
        try:
            self._channel.post(payload)
        except PeerGoneError as error:
            reason = f"the enclave is gone: {error}"
            self._loop.call_soon(self._die, reason, context=contextvars.Context())

    def _next_number(self) -> int:
        while True:
            self._last = self._last % MAX_NUMBER + 1
            if self._last not in self._under_way:
                return self._last

    def _send_waiting(self, window: _Window) -> None:
        while window.room and (entry := window.waiting.next()) is not None:
            if not entry.left.done():  # its caller may have been cancelled, and have had no turn yet
                self._send(entry)

    async def _read(self) -> None:
        try:
            while not self._is_ready:
                self._open(*await self._next_frame())
                await asyncio.sleep(0)
            while True:
                for _ in range(FRAMES_IN_A_ROW):
                    await self._hear(*await self._next_frame())
                await asyncio.sleep(0)
        except PeerGoneError as error:
            reason = f"the enclave is gone: {error}"
            if self._under_way or self._calls.waiting or self._others.waiting:
                self._die(reason)
            else:
                self._stop(reason)
                self._is_untold = True
        except WireError as error:
            self._die(f"the enclave sent something malformed: {error}")
        except Exception:  # callers must not wait for a reply that nobody reads
            _log.exception("a defect while reading from an enclave")
            self._die("a defect of the host's; its log has the trace")

    async def _next_frame(self) -> tuple[int, bytes]:
        """The number and the message of the next frame."""
        frame = await self._channel.receive(prefix=NUMBER_SIZE)
        return number_of(frame.prefix), frame.payload

    def _open(self, number: int, message: bytes) -> None:
        """Takes a frame before the enclave is ready; with ``Ready``, enters for those who have waited for it."""
        if number != NEWS:
            raise WireError("first frame's number", got=str(number), want=str(NEWS))
        ready: object = parse_message(message, Ready, Log)
        if isinstance(ready, Log):
            self._on_print(ready.text)
            return
        if not isinstance(ready, Ready):
            raise TypeError(type(ready))
        if not 1 <= ready.calls <= MAX_CALLS:
            raise WireError("Ready.calls", got=str(ready.calls), want=f"1 to {MAX_CALLS}")
        self._is_ready = True
        self.hooks = frozenset(ready.hooks)
        self._calls.room, self._others.room = ready.calls, MAX_OTHERS
        self._send_waiting(self._calls)
        self._send_waiting(self._others)
        self.on_ready()

    async def _hear(self, number: int, message: bytes) -> None:
        if number != NEWS:
            self._hear_reply(number, message)
            return
        news: object = parse_message(message, Ocall, Log, Used, Noticed, Fault, *STATE_QUESTIONS, *PEER_QUESTIONS)
        match news:
            case Ocall() | StateRead() | StateAppend() | StateForget():
                await self._questions.take(news, len(message))
            case PeerOpen() | PeerProve() | PeerCall():
                await self._questions.relay(news, len(message), self.relay)
            case Used():
                self.usage.add(news)
            case Noticed():
                self._hear_monitor(news)
            case Log(text):
                self._on_print(text)
            case Fault():
                _log.warning("an enclave refuses a frame of which it cannot tell the entry: %s", FaultError(news))

    def _hear_monitor(self, noticed: Noticed) -> None:
        """Passes on what the enclave's monitor found; of one subject at most once a minute, as an honest one does."""
        now = self._loop.time()
        if now >= self._noticed.get(noticed.subject, now):
            self._noticed[noticed.subject] = now + NOTICE_INTERVAL
            self.on_notice(noticed)

    def _hear_reply(self, number: int, message: bytes | memoryview) -> None:
        entry = self._under_way.get(number)
        if entry is None:
            raise WireError("reply's number", got=str(number), want="that of an entry under way")
        reply: object = parse_message(message, Fault, entry.wanted)
        del self._under_way[number]
        entry.window.room += 1
        self._send_waiting(entry.window)
        self._look_for_rest()
        if isinstance(reply, Fault):
            entry.fail(FaultError(reply))
        elif not entry.left.done():
            entry.left.set_result(reply)

    def _look_for_rest(self) -> None:
        """Takes note of the moment, where nothing waits or is under way any more."""
        if not (self._under_way or self._calls.waiting or self._others.waiting):
            self._used_at = self._loop.time()
            self._rest.set()

    def _look_again_at(self, moment: float) -> None:
        self._timer = self._loop.call_at(moment, self._look_for_silence, context=contextvars.Context())

    def _look_for_silence(self) -> None:
        """Gives the enclave up if it is silent for too long about an entry, or has not become ready in time.

        One timer watches over the oldest entry, since most entries are over long before a timer of their own were due.
        """
        self._timer = None
        now = self._loop.time()
        if not self._is_ready:
            self._die(f"the enclave was not ready within {ENTRY_TIMEOUT:g} s")
            return
        oldest = next(iter(self._under_way.values()), None)
        if oldest is None:
            return
        if oldest.sent_at + ENTRY_TIMEOUT > now:
            self._look_again_at(oldest.sent_at + ENTRY_TIMEOUT)
            return
        reason = f"the enclave was silent for {ENTRY_TIMEOUT:g} s"
        for entry in self._under_way.values():
            if entry.sent_at + ENTRY_TIMEOUT <= now:
                entry.fail(refuse(Code.TIMED_OUT, reason))
        self._die(reason)

    def _die(self, reason: str) -> None:
        if self._end is None:
            self._stop(reason)
            self._is_untold = True
            self._tell()

    def _tell(self) -> None:
        """Tells ``on_death`` of the end, unless it knows, or the gate was closed meanwhile."""
        if self._is_untold and self._end is not None:
            self._is_untold = False
            self._on_death(self._end)

    def _stop(self, reason: str) -> None:
        if self._end is not None:
            return
        self._end = reason
        if self._timer is not None:
            self._timer.cancel()
        self._reading.cancel()
        self._questions.close()
        self._channel.close()
        under_way, self._under_way = self._under_way, {}
        for entry in under_way.values():
            entry.fail(refuse(Code.LOST, reason))
        for window in (self._calls, self._others):
            while (waiting := window.waiting.next()) is not None:
                waiting.fail(refuse(Code.LOST, reason))
        self._rest.set()


async def _no_relay(_question: PeerQuestion) -> PeerAnswer:
    raise refuse(Code.UNAVAILABLE, "this host relays nothing between enclaves")


def _session_of(message: object) -> int | None:
    """The session or connection that an entry belongs to; None for calls in the clear and challenges."""
    match message:
        case Enter(envelope):
            return envelope.binding.session
        case TlsBytes(connection):
            return connection
    return None
