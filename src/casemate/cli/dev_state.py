"""State directories in memory, for `casemate up --dev`: made anew for each machine, and gone with it."""

import contextlib
import os
import shutil
import tempfile
import time
from pathlib import Path

MEMORY = Path("/dev/shm")  # noqa: S108 - a file system in memory; what is made there is this user's alone
"""Where there is none, the folder for temporary files has to do."""

_FRESH = 60.0
"""Seconds within which a machine that has no lock yet may still be starting."""

_LOCKING = 1.0
"""Seconds within which a lock that was just made is taken."""


def was_dev_state(place: Path) -> bool:
    """Whether the path has the name of such a directory; it need not exist."""
    return place.name.startswith(_prefix()) and place.absolute().parent in {MEMORY, Path(tempfile.gettempdir())}


def _prefix() -> str:
    return f"casemate-dev-{os.getuid()}-"


def make_dev_state() -> Path:
    """A new directory. Also removes those that killed machines have left."""
    parent = MEMORY if os.access(MEMORY, os.W_OK) else Path(tempfile.gettempdir())
    for left in parent.glob(f"{_prefix()}*"):
        _tidy(left)
    return Path(tempfile.mkdtemp(prefix=_prefix(), dir=parent))


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
