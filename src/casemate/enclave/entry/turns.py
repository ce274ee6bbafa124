"""How many calls an enclave serves at once, and who comes next where more are wanted."""

import math
import time
from collections.abc import Hashable

from casemate.enclave.fair_queue import FairQueue
from casemate.enclave.io.loop import Pending
from casemate.wire.protocol.faults import Code, refuse

WAIT_TIME = 10.0
"""Longest wait for a turn (seconds), for one that has a guest already; then the caller is told to come again."""


class Turns:
    """Up to ``limit`` turns at a time; who waits gets one in rounds, one for each caller.

    Args:
        limit: most turns at a time.
        what: what they are taken for, in the words of a refusal.
    """

    def __init__(self, limit: int, what: str = "calls") -> None:
        self._limit = limit
        self._what = what
        self._free = limit
        self._waiting: FairQueue[Pending[None]] = FairQueue()

    async def take(self, caller: Hashable, deadline: float = math.inf) -> None:
        """Waits for a turn, which is to be given back.

        Args:
            caller: who waits.
            deadline: how long at most, on the monotonic clock; never longer than ``WAIT_TIME``.

        Raises:
            FaultError: ``busy``: there was none.
        """
        if self._free:  # nobody waits then
            self._free -= 1
        else:
            await self._wait(caller, deadline)

    def give_back(self) -> None:
        """The turn is over."""
        self._free += 1
        self._waiting.serve(self._give)

    async def _wait(self, caller: Hashable, deadline: float) -> None:
        mine: Pending[None] = Pending()
        self._waiting.add(caller, mine)
        if not await mine.done_by(min(deadline, time.monotonic() + WAIT_TIME)):
            self._waiting.remove(caller, mine)
            raise refuse(
                Code.BUSY, f"{self._limit} {self._what} are under way, which is as many as this enclave takes at once"
            )

    def _give(self, _caller: Hashable, waiting: Pending[None]) -> bool:
        if not self._free:
            return False
        self._free -= 1
        waiting.set(None)
        return True
