"""Files that are there whole or not at all, also after a power cut."""

import fcntl
import os
import secrets
from pathlib import Path

from casemate.chip.errors import StateError
from casemate.process.plain_file import read_plain
from casemate.wire.errors import os_error_text

_PRIVATE = 0o600


def read_whole(path: Path) -> bytes:
    """What is in a file.

    Raises:
        FileNotFoundError: there is none.
        StateError: it is no plain file, or cannot be read.
    """
    try:
        return read_plain(path)
    except FileNotFoundError:
        raise
    except OSError as error:
        raise StateError(f"{path} cannot be read: {os_error_text(error)}") from None


def write_once(path: Path, content: bytes) -> None:
    """Creates a file of mode 0600; :class:`StateError` where there is one already, or none can be made."""
    try:
        temporary = _written(path, content)
        try:
            os.link(temporary, path)
        finally:
            temporary.unlink()
        sync_directory(path.parent)
    except OSError as error:
        raise StateError(f"{path} cannot be made: {os_error_text(error)}") from None


def write_whole(path: Path, content: bytes) -> None:
    """Replaces the file, mode 0600: readers see the old bytes or the new ones. Else :class:`StateError`."""
    try:
        temporary = _written(path, content)
        try:
            temporary.replace(path)
        except OSError:
            temporary.unlink()
            raise
        sync_directory(path.parent)
    except OSError as error:
        raise StateError(f"{path} cannot be written: {os_error_text(error)}") from None


def sync(descriptor: int) -> None:
    """Returns when what was written is on the disk itself."""
    if hasattr(fcntl, "F_FULLFSYNC"):  # macOS: fsync stops at the drive's cache
        fcntl.fcntl(descriptor, fcntl.F_FULLFSYNC)
    else:
        os.fsync(descriptor)


def sync_content(descriptor: int) -> None:
    """As :func:`sync`, for a file whose length and place have not changed: it may spare the file system's journal."""
    if hasattr(os, "fdatasync"):
        os.fdatasync(descriptor)
    else:
        sync(descriptor)


def _written(path: Path, content: bytes) -> Path:
    temporary = path.with_name(f".{path.name}.{secrets.token_hex(8)}")
    descriptor = os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, _PRIVATE)
    try:
        with os.fdopen(descriptor, "wb") as file:
            file.write(content)
            file.flush()
            sync(descriptor)
    except OSError:
        temporary.unlink()
        raise
    return temporary


def sync_directory(directory: Path) -> None:
    """Returns when the names in a folder are on the disk itself."""
    descriptor = os.open(directory, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        sync(descriptor)
    finally:
        os.close(descriptor)
