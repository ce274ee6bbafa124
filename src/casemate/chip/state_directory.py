"""The chip's folder of the state directory: private, and used by one chip at a time."""

import fcntl
import os
import stat
from pathlib import Path

from casemate.chip.errors import ChipBusyError, StateError
from casemate.wire.errors import os_error_text

FOLDER = "chip"
LOCK_NAME = "lock"
_PRIVATE_FOLDER = 0o700
_OTHERS = 0o077


def open_state_directory(state: Path) -> tuple[Path, int]:
    """The chip's folder below ``state``, made if missing, and the descriptor that holds its lock while it is open.

    Raises:
        ChipBusyError: another chip has it; names the process.
        StateError: it is not a folder of this user's alone.
    """
    folder = state / FOLDER
    try:
        folder.mkdir(mode=_PRIVATE_FOLDER, parents=True, exist_ok=True)
        status = folder.lstat()
    except OSError as error:
        raise StateError(
            f"{folder} cannot be made ({os_error_text(error)}): name a state directory you can write"
        ) from None
    if not stat.S_ISDIR(status.st_mode) or status.st_uid != os.geteuid():
        raise StateError(f"{folder} must be a folder of user {os.geteuid()}: remove it, or chown it")
    if status.st_mode & _OTHERS:
        raise StateError(f"{folder} has mode {stat.S_IMODE(status.st_mode):04o}, others can look in: `chmod 700` it")
    return folder, _lock(folder / LOCK_NAME)


def _lock(path: Path) -> int:
    try:
        descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_NOFOLLOW | os.O_CLOEXEC, 0o600)
    except OSError as error:
        raise StateError(f"{path} cannot be opened: {os_error_text(error)}") from None
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError:
        holder = os.pread(descriptor, 32, 0).decode("ascii", "replace").strip() or "unknown"
        os.close(descriptor)
        raise ChipBusyError(
            f"{path.parent} is in use by the chip with process id {holder}: stop that machine, or name another state "
            "directory"
        ) from None
    os.ftruncate(descriptor, 0)
    os.pwrite(descriptor, f"{os.getpid()}\n".encode(), 0)
    return descriptor
