"""Files that a user names: read up to a limit, written without surprise, and every complaint names the file."""

import os
import stat
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from casemate.process.durable_files import write_whole
from casemate.wire.errors import CasemateError, os_error_text

STANDARD_INPUT = Path("-")
STANDARD_INPUT_DESCRIPTOR = 0

_CHUNK = 1 << 20
_START = 1 << 16
"""How much of a file that is too long its error keeps (bytes), to tell what kind it is."""


class InputFileError(CasemateError):
    """A file that the user named cannot be read, or has the wrong content."""


class NoDocumentsError(CasemateError):
    """There is no such page of the documents, or they are not installed."""


class TooLongFileError(InputFileError):
    """A file is longer than any file of the wanted kind."""

    def __init__(self, message: str, start: bytes) -> None:
        super().__init__(message)
        self.start = start
        """The file's first bytes, which may show its kind."""


class OutputFileError(CasemateError):
    """A file cannot be written."""


def read_file(path: Path, *, what: str, limit: int) -> bytes:
    """The bytes of ``path``, or of standard input where it is ``-``.

    Args:
        path: any kind of file that can be read, pipes included.
        what: what the file should hold, for the error.
        limit: the longest content accepted (bytes); no more than that is ever read.

    Raises:
        InputFileError: it is missing, a directory, not readable, longer, or a pipe into which nobody writes.
    """
    if path == STANDARD_INPUT:
        return _up_to(STANDARD_INPUT_DESCRIPTOR, f"{what} on standard input", limit)
    try:
        descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC | os.O_NONBLOCK)
    except OSError as error:
        raise InputFileError(f"{what} {path}: {os_error_text(error)}") from None
    except ValueError:
        raise InputFileError(f"{what} {str(path)!r}: no file can have this name") from None
    try:
        status = os.fstat(descriptor)
        if stat.S_ISDIR(status.st_mode):
            raise InputFileError(f"{what} {path}: got a directory, want a file")
        begun = _begun_pipe(descriptor, f"{what} {path}", limit) if stat.S_ISFIFO(status.st_mode) else b""
        if status.st_size > limit:
            start = os.read(descriptor, _START) if stat.S_ISREG(status.st_mode) else b""
            raise _too_long(f"{what} {path}", status.st_size, limit, start)
        return _up_to(descriptor, f"{what} {path}", limit, begun)
    finally:
        os.close(descriptor)


class FileContent:
    """A file's bytes, of which each part is read when it is asked for."""

    def __init__(self, descriptor: int, name: str) -> None:
        """Reads an open file, which the caller closes; ``name`` is for errors."""
        self.descriptor = descriptor
        """For positional reads alone."""
        self._name = name
        self._size = os.fstat(descriptor).st_size

    def __len__(self) -> int:
        return self._size

    def __getitem__(self, places: slice, /) -> bytes:
        start, end, _ = places.indices(self._size)
        content = os.pread(self.descriptor, max(0, end - start), start)
        if len(content) < end - start:
            raise InputFileError(f"{self._name}: it became shorter while it was read")
        return content


@contextmanager
def opened_file(path: Path, *, what: str, limit: int) -> Iterator[FileContent | bytes]:
    """The bytes of a file as :func:`read_file` gives them, read on demand where the file can be read at any place."""
    try:
        descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC | os.O_NONBLOCK)
    except (OSError, ValueError):
        yield read_file(path, what=what, limit=limit)  # standard input; or the error that read_file raises
        return
    try:
        status = os.fstat(descriptor)
        if stat.S_ISREG(status.st_mode) and status.st_size <= limit:
            yield FileContent(descriptor, f"{what} {path}")
        else:
            yield read_file(path, what=what, limit=limit)
    finally:
        os.close(descriptor)


def check_place(path: Path, *, what: str) -> None:
    """Checks that a file can be written at ``path``. The disk may still be full later.

    Raises:
        OutputFileError: ``path`` is a directory, or its folder is missing or not writable.
    """
    if path.is_dir():
        raise OutputFileError(f"{what} {path}: cannot be written: it is a directory")
    is_device = path.exists() and not path.is_file()
    if not path.parent.is_dir() or not (is_device or os.access(path.parent, os.W_OK)):
        raise OutputFileError(f"{what} {path}: cannot be written: {path.parent} is no folder to write to")


def write_file(path: Path, content: bytes, *, what: str, private: bool = False) -> None:
    """Writes ``content`` to ``path`` in one step: a reader sees the old file or the new one, never a part.

    Args:
        path: an existing regular file is replaced; a device or pipe is written to.
        content: all of it.
        what: what the file holds, for the error.
        private: mode 0600 instead of what the umask leaves of 0666.

    Raises:
        OutputFileError: the folder is missing or not writable, or the disk is full.
    """
    try:
        if path.exists() and not path.is_file():
            with path.open("wb") as device:
                device.write(content)
            return
        write_whole(path, content, mode=0o600 if private else 0o666)
    except OSError as error:
        raise OutputFileError(f"{what} {path}: cannot be written: {os_error_text(error)}") from None


def _begun_pipe(descriptor: int, what: str, limit: int) -> bytes:
    """Checks that a pipe which was opened without waiting has a writer. From then on, reading waits.

    A shell's ``<(command)`` is a pipe as well, whose writer is there from the beginning.

    Returns:
        What was there to read at once.
    """
    try:
        begun = os.read(descriptor, min(_CHUNK, limit))
    except BlockingIOError:
        begun = b""  # somebody has it open, and has not written yet
    else:
        if not begun:
            raise InputFileError(f"{what}: a pipe into which nobody writes; want a file, or - for standard input")
    os.set_blocking(descriptor, True)
    return begun


def _up_to(descriptor: int, what: str, limit: int, begun: bytes = b"") -> bytes:
    """``begun`` and the rest of the file, if both together are no more than ``limit`` bytes."""
    parts: list[bytes] = [begun]
    size = len(begun)
    try:
        while part := os.read(descriptor, min(_CHUNK, limit + 1 - size)):
            parts.append(part)
            size += len(part)
            if size > limit:
                raise _too_long(what, f"more than {limit}", limit, parts[0][:_START])
    except OSError as error:
        raise InputFileError(f"{what}: {os_error_text(error)}") from None
    return b"".join(parts)


def _too_long(what: str, size: object, limit: int, start: bytes) -> TooLongFileError:
    return TooLongFileError(f"{what}: got {size} bytes, want at most {limit}", start)
