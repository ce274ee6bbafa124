"""State directories in memory, for `casemate up --dev`: made anew for each machine, and gone with it."""

import contextlib
import os
import shutil
import tempfile
import time
from pathlib import Path

_FRESH = 60.0
"""Seconds within which a machine that has no lock yet may still be starting."""

_LOCKING = 1.0
"""Seconds within which a lock that was just made is taken."""


def make_dev_state() -> Path:
    """A new directory. Also removes those that killed machines have left."""
    from casemate.process import places

    parent = places.MEMORY if os.access(places.MEMORY, os.W_OK) else Path(tempfile.gettempdir())
    for left in parent.glob(f"{places.dev_state_prefix()}*"):
        _tidy(left)
    return Path(tempfile.mkdtemp(prefix=places.dev_state_prefix(), dir=parent))


def _tidy(left: Path) -> None:
    from casemate.client.local import wait_for_end
    from casemate.process.places import machine_lock

    try:
        status = left.lstat()
        made, settled = status.st_mtime, _FRESH
        with contextlib.suppress(FileNotFoundError):
            made, settled = machine_lock(left).lstat().st_mtime, _LOCKING
    except OSError:
        return
    if status.st_uid == os.getuid() and time.time() - made > settled and wait_for_end(left, 0):
        shutil.rmtree(left, ignore_errors=True)
