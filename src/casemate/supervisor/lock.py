"""One machine at a time on a state directory."""

import fcntl
import os
import time
from pathlib import Path

from casemate.link.places import machine_lock
from casemate.supervisor.errors import StateInUseError

_TRIES = 5
_PAUSE = 0.1
"""Seconds between them: whoever looks whether a machine runs holds the lock for a moment."""


def lock_state(state: Path) -> int:
    """The descriptor that holds the lock as long as it is open; :class:`StateInUseError` if somebody else has it."""
    descriptor = os.open(machine_lock(state), os.O_RDWR | os.O_CREAT | os.O_NOFOLLOW | os.O_CLOEXEC, 0o600)
    for _ in range(_TRIES):
        if _locked(descriptor):
            os.ftruncate(descriptor, 0)
            os.pwrite(descriptor, f"{os.getpid()}\n".encode(), 0)
            return descriptor
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
