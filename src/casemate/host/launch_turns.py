"""Limits launches under way: a few for each caller, so that slow launches of one caller do not delay another's."""

import asyncio
from collections import Counter
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from casemate.host.entry_queue import CALLER
from casemate.wire.protocol.faults import Code, refuse

TOGETHER = 8
"""Launches under way at a time: half of the questions that the chip answers at once. A module that never ends loading
takes ten seconds of its place."""

EACH = 3
"""Launches under way of one caller: less than half, so that another finds a place."""

MAX_WAITING = 32
"""Most launches of one caller that wait."""


class LaunchTurns:
    """Admits launches by the current task's :data:`CALLER`."""

    def __init__(self) -> None:
        self._together = asyncio.Semaphore(TOGETHER)
        self._each: dict[str, asyncio.Semaphore] = {}
        self._asked: Counter[str] = Counter()

    @asynccontextmanager
    async def turn(self) -> AsyncIterator[None]:
        """Waits for a place, and holds it.

        Raises:
            FaultError: ``busy``; too many launches of this caller wait already.
        """
        caller = CALLER.get()
        if self._asked[caller] >= EACH + MAX_WAITING:
            raise refuse(
                Code.BUSY,
                f"{self._asked[caller]} of your launches are under way or wait already: wait for some",
            )
        self._asked[caller] += 1
        each = self._each.setdefault(caller, asyncio.Semaphore(EACH))
        try:
            async with each, self._together:
                yield
        finally:
            self._asked[caller] -= 1
            if not self._asked[caller]:
                del self._asked[caller], self._each[caller]
