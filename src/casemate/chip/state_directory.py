"""The chip's folder of the state directory: private, used by one chip at a time, and its files read and written whole.

What goes wrong with a file is a :class:`StateError` here, as everything that keeps the chip from going on.
"""

import fcntl
import hashlib
import os
from pathlib import Path
from typing import TypeVar

from casemate.chip.errors import ChipBusyError, StateError
from casemate.process.durable_files import write_once, write_whole
from casemate.process.ownership import PlaceError, make_own_folder, open_own_file
from casemate.process.plain_file import read_plain
from casemate.wire.encodings.message import encode_fields, parse_fields
from casemate.wire.errors import WireError, os_error_text

FOLDER = "chip"
LOCK_NAME = "lock"

_DIGEST_SIZE = 32
T = TypeVar("T")


def open_state_directory(state: Path) -> tuple[Path, int]:
    """The chip's folder below ``state``, made if missing, and the descriptor that holds its lock while it is open.

    Raises:
        ChipBusyError: another chip has it; names the process.
        StateError: it is not a folder of this user's alone.
    """
    folder = state / FOLDER
    try:
        make_own_folder(state)
        if folder.is_symlink():
            raise StateError(f"{folder} is a link, want a folder: what the chip keeps would lie elsewhere")
        make_own_folder(folder, private=True)
    except PlaceError as error:
        raise StateError(str(error)) from None
    except OSError as error:
        raise StateError(
            f"{folder} cannot be made ({os_error_text(error)}): name a state directory you can write"
        ) from None
    return folder, _lock(folder / LOCK_NAME)


def read_state(path: Path) -> bytes:
    """What is in a file of the chip's.

    Raises:
        FileNotFoundError: there is none.
        StateError: it is not a plain file, or cannot be read.
    """
    try:
        return read_plain(path)
    except FileNotFoundError:
        raise
    except OSError as error:
        raise StateError(f"{path} cannot be read: {os_error_text(error)}") from None


def write_state(path: Path, content: bytes) -> None:
    """Replaces a file of the chip's; durable when it returns. :class:`StateError` where that fails."""
    try:
        write_whole(path, content)
    except OSError as error:
        raise StateError(f"{path} cannot be written: {os_error_text(error)}") from None


def make_state(path: Path, content: bytes) -> None:
    """Makes a file that is never replaced; :class:`StateError` where there is one, or none can be made."""
    try:
        write_once(path, content)
    except OSError as error:
        raise StateError(f"{path} cannot be made: {os_error_text(error)}") from None


def encode_checked(magic: bytes, fields: object) -> bytes:
    """A file's bytes: ``magic``, which names its format and version, the fields, and SHA-256 of both."""
    body = magic + encode_fields(fields)
    return body + hashlib.sha256(body).digest()


def parse_checked(kind: type[T], magic: bytes, content: bytes) -> T:
    """The way back; :class:`WireError` for anything but what :func:`encode_checked` writes."""
    body, digest = content[:-_DIGEST_SIZE], content[-_DIGEST_SIZE:]
    if hashlib.sha256(body).digest() != digest or not body.startswith(magic):
        raise WireError("file", got="another checksum or version", want="what this version wrote")
    return parse_fields(kind, body[len(magic) :])


def _lock(path: Path) -> int:
    try:
        descriptor = open_own_file(path, os.O_RDWR | os.O_CREAT, private=True)
    except PlaceError as error:
        raise StateError(str(error)) from None
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
