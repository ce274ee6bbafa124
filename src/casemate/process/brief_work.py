"""Runs work that waits for a disk: in the event loop while that is brief, and in a thread while it is not.

Handing work to a thread and being woken by it takes an event loop longer than a fast disk takes to write. A slow disk,
however, must not hold up all other tasks of the loop. Only the time that the work takes tells which disk it is.
"""

import asyncio
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import TypeVar

T = TypeVar("T")

BRIEF = 0.001
"""Work that takes longer than this goes to the thread (seconds); one call's ciphers take as long."""

FEWEST, MOST = 8, 1024
"""Pieces of work that go to the thread after one that took long in the loop: twice as many each time in a row."""


class BriefWork:
    """Runs work for one event loop, one piece at a time, in order of arrival."""

    def __init__(self, name: str, clock: Callable[[], float] = time.perf_counter) -> None:
        """``name`` is the thread's. The first few pieces of work go to it, since they open files."""
        self._thread = ThreadPoolExecutor(1, name)
        self._clock = clock
        self._penalty = FEWEST
        self._apart = FEWEST
        self._under_way = 0

    async def run(self, work: Callable[[], T]) -> T:
        """Runs ``work`` and returns its result, in the loop itself if the last work was brief and none is under way."""
        if self._under_way or self._apart:
            # The time that work takes in the thread is not judged: the thread also waits for the interpreter's lock.
            self._apart = max(0, self._apart - 1)
            return await self.run_apart(work)
        began = self._clock()
        try:
            return work()
        finally:
            self._judge(self._clock() - began)

    async def run_apart(self, work: Callable[[], T]) -> T:
        """Like :meth:`run`, but always in the thread, for long work. It is finished even if its caller is cancelled."""
        self._under_way += 1
        done = asyncio.get_running_loop().run_in_executor(self._thread, work)
        done.add_done_callback(self._ended)
        return await asyncio.shield(done)

    def close(self) -> None:
        """Ends the thread once its work is done."""
        self._thread.shutdown()

    def _ended(self, done: "asyncio.Future[T]") -> None:
        self._under_way -= 1
        done.exception()  # retrieved, so that asyncio does not report it: the caller may have been cancelled

    def _judge(self, seconds: float) -> None:
        if seconds > BRIEF:
            self._apart, self._penalty = self._penalty, min(MOST, 2 * self._penalty)
        else:
            self._penalty = FEWEST
