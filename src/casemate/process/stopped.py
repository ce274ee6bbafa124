"""Children that are stopped (SIGSTOP) and not dead: they hold their sockets open and answer nobody.

The kernel says which child is stopped, so a busy computer is never mistaken for it, and tells of each change by
SIGCHLD, so nobody polls. A child that a debugger has stopped is not meant: the kernel tells the debugger alone. macOS
cannot be asked without also taking note of the child's end, so nothing is done there.
"""

import os
import signal

STOPPED_TIME = 10.0
"""How long a child may be stopped before it counts as dead, and is killed (seconds)."""

NEVER = float("inf")


class StoppedChildren:
    """One child at a time: where several are stopped, the next one counts from when the last one was dealt with."""

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


def _stopped_child() -> int:
    if not hasattr(os, "waitid"):
        return 0
    try:
        found = os.waitid(os.P_ALL, 0, os.WSTOPPED | os.WNOHANG | os.WNOWAIT)
    except ChildProcessError:
        return 0
    return 0 if found is None else found.si_pid
