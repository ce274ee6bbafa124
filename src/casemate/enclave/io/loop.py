"""The enclave's event loop: one thread, many tasks, and the one place that waits.

A task is a coroutine. It waits for a :class:`Signal` or a :class:`Pending`, by itself or up to a deadline; while it
waits, others run and all peers are served. asyncio would do the same with ten times the code in every enclave's memory,
and opens descriptors of its own, which an enclave may not.

Example:
    loop = Loop()
    loop.watch(peer)                     # from now on served whenever the loop waits
    answer: Pending[bytes] = Pending()
    async def ask() -> None:
        peer.send(b"question")           # whoever hears the answer calls answer.set(...)
        if await answer.done_by(time.monotonic() + 2):
            print(answer.result())
    loop.start(ask())
    loop.run()                           # until an exception, such as PeerGoneError
"""

import contextlib
import heapq
import itertools
import select
import time
from collections import deque
from collections.abc import Callable, Coroutine, Generator
from typing import Any, Generic, Protocol, TypeVar

T = TypeVar("T")

_MOST_CANCELLED = 64
"""So many cancelled timers are left where they are."""


class Watched(Protocol):
    """A peer that :class:`Loop` polls."""

    def fileno(self) -> int:
        """The descriptor."""

    def wants(self) -> int:
        """The events of ``select.poll`` to wait for now; the peer's end is always among them."""

    def ready(self, events: int) -> None:
        """Receives what has come and sends what can go, without waiting."""


class Timer:
    """A call that is due at a time, unless it is cancelled before."""

    __slots__ = ("_timers", "callback")

    def __init__(self, timers: "_Timers", callback: Callable[[], None]) -> None:
        self._timers = timers
        self.callback: Callable[[], None] | None = callback

    def cancel(self) -> None:
        """Has it not called."""
        if self.callback is not None:
            self.callback = None
            self._timers.note_cancelled()


class _Timers:
    """The timers of a loop. Those that were cancelled go when they are in the majority: most waits end early."""

    __slots__ = ("_cancelled", "_heap", "_order")

    def __init__(self) -> None:
        self._heap: list[tuple[float, int, Timer]] = []
        self._order = itertools.count()
        self._cancelled = 0

    def add(self, moment: float, callback: Callable[[], None]) -> Timer:
        timer = Timer(self, callback)
        heapq.heappush(self._heap, (moment, next(self._order), timer))
        return timer

    def note_cancelled(self) -> None:
        self._cancelled += 1
        if self._cancelled > _MOST_CANCELLED and 2 * self._cancelled > len(self._heap):
            self._heap = [item for item in self._heap if item[2].callback is not None]
            heapq.heapify(self._heap)
            self._cancelled = 0

    def seconds_left(self) -> float | None:
        """Until the next is due; None where there is none."""
        while self._heap and self._heap[0][2].callback is None:
            heapq.heappop(self._heap)
            self._cancelled -= 1
        return max(0.0, self._heap[0][0] - time.monotonic()) if self._heap else None

    def call_due(self) -> None:
        now = time.monotonic()
        while self._heap and self._heap[0][0] <= now:
            timer = heapq.heappop(self._heap)[2]
            callback, timer.callback = timer.callback, None
            if callback is None:
                self._cancelled -= 1
            else:
                callback()


class _Task:
    """A coroutine, and how often it has waited, so that nothing wakes it from another wait than it was meant for."""

    __slots__ = ("coroutine", "loop", "timer", "waits")

    def __init__(self, loop: "Loop", coroutine: Coroutine[Any, Any, object]) -> None:
        self.loop = loop
        self.coroutine = coroutine
        self.waits = 0
        self.timer: Timer | None = None

    def wake(self, wait: int, *, signalled: bool) -> None:
        """Has it go on, if it is still in that wait."""
        if wait == self.waits:
            self.waits += 1
            if self.timer is not None:
                self.timer.cancel()
                self.timer = None
            self.loop.ready.append((self, signalled))


class _Wait:
    """What a task gives to the loop when it waits; what comes back is whether the signal came before the deadline."""

    __slots__ = ("deadline", "signal")

    def __init__(self, signal: "Signal", deadline: float | None) -> None:
        self.signal = signal
        self.deadline = deadline

    def __await__(self) -> Generator["_Wait", bool, bool]:
        return (yield self)


class Signal:
    """Wakes the tasks that wait for it. It keeps nothing: who comes later waits for the next time."""

    __slots__ = ("_waiting",)

    def __init__(self) -> None:
        self._waiting: list[tuple[_Task, int]] = []

    def set(self) -> None:
        """Wakes all that wait now."""
        waiting, self._waiting = self._waiting, []
        for task, wait in waiting:
            task.wake(wait, signalled=True)

    async def wait(self, deadline: float | None = None) -> bool:
        """Waits for the next :meth:`set`; false if the ``deadline`` (monotonic clock) came first."""
        return await _Wait(self, deadline)

    async def until(self, condition: Callable[[], bool], deadline: float | None = None) -> bool:
        """Waits until ``condition`` holds, which is looked at each time that this is set; false at the deadline."""
        while not condition():
            if not await _Wait(self, deadline):
                return condition()
        return True

    def add(self, task: _Task, wait: int) -> None:
        """For the loop: ``task`` waits for this."""
        if self._waiting:  # those that gave up at their deadlines
            self._waiting = [(other, its) for other, its in self._waiting if other.waits == its]
        self._waiting.append((task, wait))


async def let_others() -> None:
    """Waits for the loop's next turn: peers are served before, and all tasks that are ready."""
    await Signal().wait(time.monotonic())


class Pending(Generic[T]):
    """A value that is to come, or an error in its place. The first counts; later ones are dropped."""

    __slots__ = ("_error", "_signal", "_value", "is_done")

    def __init__(self) -> None:
        self._signal = Signal()
        self._value: T | None = None
        self._error: BaseException | None = None
        self.is_done = False

    def set(self, value: T) -> None:
        """It has come."""
        if not self.is_done:
            self._value, self.is_done = value, True
            self._signal.set()

    def fail(self, error: BaseException) -> None:
        """It will not come: :meth:`result` raises this."""
        if not self.is_done:
            self._error, self.is_done = error, True
            self._signal.set()

    async def done_by(self, deadline: float | None) -> bool:
        """Waits until it is done; false if the ``deadline`` (monotonic clock) came first."""
        while not self.is_done:
            if not await _Wait(self._signal, deadline):
                return self.is_done
        return True

    def result(self) -> T:
        """The value, once it is done; raises what it failed with."""
        if self._error is not None:
            raise self._error
        value: Any = self._value  # of type T, which may have None in it
        return value  # type: ignore[no-any-return]


class Loop:
    """Runs tasks, and polls peers while all of them wait. No other code in the enclave blocks on a hostile peer."""

    def __init__(self) -> None:
        self._poll = select.poll()
        self._watched: dict[int, tuple[Watched, int]] = {}
        self._timers = _Timers()
        self._tasks: set[_Task] = set()
        """All that wait, or are ready."""
        self.ready: deque[tuple[_Task, bool]] = deque()
        """Tasks that go on in the next turn, and whether their signal came."""

    def watch(self, peer: Watched) -> None:
        """Polls ``peer`` from now on."""
        wants = peer.wants()
        self._poll.register(peer.fileno(), wants)
        self._watched[peer.fileno()] = (peer, wants)

    def update(self, peer: Watched) -> None:
        """Looks again at what ``peer`` wants. Peers call it when that has changed."""
        descriptor = peer.fileno()
        known = self._watched.get(descriptor)
        if known is not None and known[1] != (wants := peer.wants()):
            self._poll.modify(descriptor, wants)
            self._watched[descriptor] = (peer, wants)

    def forget(self, descriptor: int) -> None:
        """Stops polling this descriptor. Call it before the descriptor is closed: its number may be given out again."""
        if self._watched.pop(descriptor, None) is not None:
            self._poll.unregister(descriptor)

    def at(self, moment: float, callback: Callable[[], None]) -> Timer:
        """Has ``callback`` called at a moment of the monotonic clock."""
        return self._timers.add(moment, callback)

    def start(self, coroutine: Coroutine[Any, Any, object]) -> None:
        """Begins a task: runs it until it waits or ends. An exception that it lets out ends the loop."""
        task = _Task(self, coroutine)
        self._tasks.add(task)
        self._step(task, signalled=True)

    def run(self) -> None:
        """Runs until a task or a peer raises, which is how an enclave ends."""
        while True:
            self.turn()

    def close(self) -> None:
        """Gives up all tasks where they wait. Call it before what they use is closed: they tidy up behind themselves.

        Else Python would do the same at a time of its choice, when descriptors may have become somebody else's.
        """
        for task in list(self._tasks):
            with contextlib.suppress(Exception):  # such as a peer that cannot be told any more
                task.coroutine.close()
        self._tasks.clear()
        self.ready.clear()

    def finish(self, coroutine: Coroutine[Any, Any, T]) -> T:
        """Runs until this one task has ended; what it returned."""
        result: Pending[T] = Pending()

        async def run() -> None:
            result.set(await coroutine)

        self.start(run())
        while not result.is_done:
            self.turn()
        return result.result()

    def turn(self) -> None:
        """Runs all tasks that are ready; where none is, waits for peers and timers."""
        self._serve_peers(wait=not self.ready)
        self._timers.call_due()
        for _ in range(len(self.ready)):  # not those that become ready meanwhile: peers get their turn first
            task, signalled = self.ready.popleft()
            self._step(task, signalled=signalled)

    def _step(self, task: _Task, *, signalled: bool) -> None:
        try:
            wait = task.coroutine.send(signalled if task.waits else None)
        except StopIteration:
            self._tasks.remove(task)
            return
        except BaseException:
            self._tasks.remove(task)
            raise
        number = task.waits
        wait.signal.add(task, number)
        if wait.deadline is not None:
            task.timer = self.at(wait.deadline, lambda: task.wake(number, signalled=False))

    def _serve_peers(self, *, wait: bool) -> None:
        seconds = self._timers.seconds_left() if wait else 0.0
        for descriptor, events in self._poll.poll(None if seconds is None else seconds * 1000):
            known = self._watched.get(descriptor)
            if known is not None:  # an earlier peer's turn may have ended this one
                known[0].ready(events)


def at_once(coroutine: Coroutine[Any, Any, T]) -> T:
    """What a coroutine comes to that waits for nothing.

    Raises:
        RuntimeError: it waits, and is given up.
    """
    try:
        coroutine.send(None)
    except StopIteration as ended:
        value: T = ended.value
        return value
    coroutine.close()
    raise RuntimeError("a coroutine that should have waited for nothing waits")
