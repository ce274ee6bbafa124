"""Work that waits for a disk: done on the spot while that is brief, in a thread of its own while it is not.

To hand work to a thread and to be woken by it takes an event loop longer than a fast disk takes to write. A slow disk
must not keep everybody else waiting. Which of them there is shows in nothing but how long it takes.
"""

import asyncio
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import TypeVar

T = TypeVar("T")

BRIEF = 0.001
"""Work that takes longer than this is not for the spot (seconds): others wait as long for one call's ciphers."""

FEWEST, MOST = 8, 1024
"""How many pieces of work go to the thread after one that took long on the spot: twice as many each time in a row."""


class BriefWork:
    """For one event loop. One piece of work is done at a time, in the order in which they come."""

    def __init__(self, name: str, clock: Callable[[], float] = time.perf_counter) -> None:
        """``name`` is the thread's. It does the first few pieces, which open things."""
        self._thread = ThreadPoolExecutor(1, name)
        self._clock = clock
        self._penalty = FEWEST
        self._apart = FEWEST
        self._under_way = 0

    async def run(self, work: Callable[[], T]) -> T:
        """What ``work`` gives or raises; on the spot, if that was brief last time and nothing is under way."""
        if self._under_way or self._apart:
            # How long it takes there says little: a thread waits for its turns with the interpreter, too.
            self._apart = max(0, self._apart - 1)
            return await self.run_apart(work)
        began = self._clock()
        try:
            return work()
        finally:
            self._judge(self._clock() - began)

    async def run_apart(self, work: Callable[[], T]) -> T:
        """The same in the thread, for work that is known to take long; done to its end, though nobody waits for it."""
        self._under_way += 1
        done = asyncio.get_running_loop().run_in_executor(self._thread, work)
        done.add_done_callback(self._ended)
        return await asyncio.shield(done)

    def close(self) -> None:
        """Ends the thread once its work is done."""
        self._thread.shutdown()

    def _ended(self, done: "asyncio.Future[T]") -> None:
        self._under_way -= 1
        done.exception()  # seen: whoever asked may have had enough

    def _judge(self, seconds: float) -> None:
        if seconds > BRIEF:
            self._apart, self._penalty = self._penalty, min(MOST, 2 * self._penalty)
        else:
            self._penalty = FEWEST
