"""Reads and writes a folder's casemate.lock; and the tag of the platform that runs this."""

import os
import sys
from pathlib import Path

from casemate.images.errors import FolderError
from casemate.wire.errors import os_error_text
from casemate.wire.protocol.image_index import LOCK_PATH
from casemate.wire.protocol.runtime_lock import MAX_LOCK, RuntimeLock, platform_tag


def this_platform() -> str:
    """The platform tag of the running interpreter."""
    return platform_tag(sys.platform, os.uname().machine, sys.version_info[:2])


def read_lock(folder: Path) -> RuntimeLock:
    """The folder's lock; an empty one where there is none yet.

    Raises:
        RuntimeLockError: the file is not a lock of this version.
        FolderError: the file cannot be read.
    """
    try:
        with (folder / LOCK_PATH).open("rb") as file:
            return RuntimeLock.parse(file.read(MAX_LOCK + 1))
    except FileNotFoundError:
        return RuntimeLock()
    except OSError as error:
        raise FolderError(f"{LOCK_PATH} cannot be read: {os_error_text(error)}") from None


def write_lock(folder: Path, lock: RuntimeLock) -> None:
    """Writes the lock into the folder, completely or not at all."""
    temporary = folder / f".{LOCK_PATH}.{os.getpid()}"
    try:
        temporary.write_bytes(lock.encode())
        temporary.replace(folder / LOCK_PATH)
    except OSError as error:
        raise FolderError(f"{LOCK_PATH} cannot be written: {os_error_text(error)}") from None
    finally:
        temporary.unlink(missing_ok=True)
