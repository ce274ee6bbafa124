"""One machine at a time on a state directory."""

import fcntl
import os
import time
from dataclasses import dataclass
from pathlib import Path

from casemate.process.ownership import open_own_file
from casemate.process.places import machine_lock
from casemate.supervisor.errors import StateInUseError

_TRIES = 5
_PAUSE = 0.1
"""Seconds between them: a process that looks whether a machine runs holds the lock for a moment."""


@dataclass(frozen=True, slots=True)
class StateLock:
    """The lock, held as long as this process lives."""

    descriptor: int
    was_left: bool
    """Whether the last holder ended without giving it back: it was killed, or the power failed."""

    def give_back(self) -> None:
        """An orderly end."""
        os.ftruncate(self.descriptor, 0)
        os.close(self.descriptor)


def lock_state(state: Path) -> StateLock:
    """Locks it; :class:`StateInUseError` if somebody else has."""
    descriptor = open_own_file(machine_lock(state), os.O_RDWR | os.O_CREAT)
    for _ in range(_TRIES):
        if _locked(descriptor):
            was_left = os.fstat(descriptor).st_size > 0
            os.ftruncate(descriptor, 0)
            os.pwrite(descriptor, f"{os.getpid()}\n".encode(), 0)
            return StateLock(descriptor, was_left)
        time.sleep(_PAUSE)
    holder = os.pread(descriptor, 32, 0).decode("ascii", "replace").strip() or "unknown"
    os.close(descriptor)
    raise StateInUseError(
        f"a machine runs on {state} already: its supervisor is process {holder}; `casemate down` ends it"
    )


def _locked(descriptor: int) -> bool:
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True
