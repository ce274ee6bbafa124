"""Ends the children of an asyncio process that stay stopped; see :mod:`casemate.process.stopped`."""

import asyncio
import contextlib
import signal
import time
from collections.abc import Callable

from casemate.process.stopped import NEVER, StoppedChildren


async def end_stopped_children(on_killed: Callable[[int], None]) -> None:
    """Kills each child that stays stopped, and says which it was, until cancelled."""
    changed, children = asyncio.Event(), StoppedChildren()
    asyncio.get_running_loop().add_signal_handler(signal.SIGCHLD, changed.set)
    while True:
        wait = children.due - time.monotonic()
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(None if wait == NEVER else max(0.0, wait)):
                await changed.wait()
        changed.clear()
        killed = children.look(time.monotonic())
        if killed:
            on_killed(killed)
