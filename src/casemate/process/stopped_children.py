"""Ends children that stay stopped (SIGSTOP): they are not dead, hold their sockets open, and answer nobody.

The kernel says which child is stopped, so a busy computer is never mistaken for it, and reports each change by SIGCHLD,
so nothing polls. A child that a debugger has stopped is left alone: the kernel tells the debugger only. macOS cannot be
asked without also reaping the child, so nothing is done there.
"""

import contextlib
import os
import signal
import time
from collections.abc import Callable

STOPPED_TIME = 10.0
"""How long a child may be stopped before it counts as dead, and is killed (seconds)."""

NEVER = float("inf")


class StoppedChildren:
    """Tracks this process's stopped children, and kills those stopped for too long.

    It looks at one child at a time. Where several are stopped, the time of the next one counts from when the last one
    was killed or went on.
    """

    def __init__(self) -> None:
        self._pid = 0
        self._since = NEVER

    @property
    def due(self) -> float:
        """When to look again, though no child's state changes; :data:`NEVER` if none is stopped."""
        return self._since + STOPPED_TIME

    def look(self, now: float) -> int:
        """Kills the child that has been stopped for too long; its process id, 0 if there is none.

        Args:
            now: on a clock that only rises (seconds).
        """
        pid = _stopped_child()
        if pid != self._pid:
            self._pid, self._since = pid, now if pid else NEVER
        if not pid or now < self.due:
            return 0
        os.kill(pid, signal.SIGKILL)  # not reaped yet, so the number is still its own
        self._pid, self._since = 0, NEVER
        return pid


async def end_stopped_children(on_killed: Callable[[int], None]) -> None:
    """Kills each child of an asyncio process that stays stopped, and says which it was, until cancelled."""
    import asyncio  # not above: the spawner uses the class alone, and does without asyncio's memory

    changed, children = asyncio.Event(), StoppedChildren()
    loop = asyncio.get_running_loop()
    loop.add_signal_handler(signal.SIGCHLD, changed.set)
    try:
        while True:
            wait = children.due - time.monotonic()
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(None if wait == NEVER else max(0.0, wait)):
                    await changed.wait()
            changed.clear()
            killed = children.look(time.monotonic())
            if killed:
                on_killed(killed)
    finally:
        # A loop closes the pipe that signals are written to before it forgets the signals.
        loop.remove_signal_handler(signal.SIGCHLD)


def _stopped_child() -> int:
    if not hasattr(os, "waitid"):
        return 0
    try:
        found = os.waitid(os.P_ALL, 0, os.WSTOPPED | os.WNOHANG | os.WNOWAIT)
    except ChildProcessError:
        return 0
    return 0 if found is None else found.si_pid
