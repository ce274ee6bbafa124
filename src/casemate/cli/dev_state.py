"""State directories in memory, for `casemate up --dev`: made anew for each machine, and gone with it."""

import os
import shutil
import tempfile
import time
from pathlib import Path

MEMORY = Path("/dev/shm")  # noqa: S108 - a file system in memory; what is made there is this user's alone
"""Where there is none, the folder for temporary files has to do."""

_FRESH = 60.0
"""Seconds within which a machine that has no lock yet may still be starting."""


def make_dev_state() -> Path:
    """A new one; those of machines that were killed are removed on the occasion."""
    parent = MEMORY if os.access(MEMORY, os.W_OK) else Path(tempfile.gettempdir())
    prefix = f"casemate-dev-{os.getuid()}-"
    for left in parent.glob(f"{prefix}*"):
        _tidy(left)
    return Path(tempfile.mkdtemp(prefix=prefix, dir=parent))


def _tidy(left: Path) -> None:
    from casemate.client.local import wait_for_end

    try:
        status = left.lstat()
    except OSError:
        return
    is_old = time.time() - status.st_mtime > _FRESH
    if status.st_uid == os.getuid() and is_old and wait_for_end(left, 0):
        shutil.rmtree(left, ignore_errors=True)
