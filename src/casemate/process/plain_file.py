"""Opens files that should be plain ones, and refuses everything else at once.

A pipe (FIFO) in a file's place would block the process that opens it until another process opens it too, and a link
could lead out of the state directory. Who owns the file is not checked here: see :mod:`casemate.process.ownership`.
"""

import errno
import os
import stat
from pathlib import Path

_MODE = 0o600
_LOOK_FIRST = os.O_NOFOLLOW | os.O_NONBLOCK | os.O_NOCTTY | os.O_CLOEXEC
"""Flags for a file of which it is not yet known what it is: follow no link, wait for no writer (open(2))."""


class NoPlainFileError(OSError):
    """Something else has the file's name: a pipe, a link, a folder, a device."""

    def __init__(self, path: Path, what: str = "no plain file, want one") -> None:
        super().__init__(errno.EINVAL, f"it is {what}", str(path))
        self._what = what

    def __str__(self) -> str:
        """The sentence alone, without errno."""
        return f"{self.filename} is {self._what}"


def open_plain(path: Path, flags: int = os.O_RDONLY) -> int:
    """A descriptor of a plain file; made with mode 0600 where ``flags`` say so.

    With ``O_TRUNC`` it is truncated only once it is known to be a plain file.

    Raises:
        NoPlainFileError: it is something else.
        OSError: it cannot be opened.
    """
    try:
        descriptor = os.open(path, (flags & ~os.O_TRUNC) | _LOOK_FIRST, _MODE)
    except OSError as error:
        if error.errno in {errno.ELOOP, errno.EMLINK}:  # the latter on BSD
            raise NoPlainFileError(path, "a link, want a plain file") from None
        if error.errno in {errno.ENXIO, errno.EOPNOTSUPP, errno.EISDIR}:  # a pipe nobody reads, a socket, a folder
            raise NoPlainFileError(path) from None
        raise
    try:
        if not stat.S_ISREG(os.fstat(descriptor).st_mode):
            raise NoPlainFileError(path)
        if flags & os.O_TRUNC:
            os.ftruncate(descriptor, 0)
    except BaseException:
        os.close(descriptor)
        raise
    return descriptor


def read_plain(path: Path, limit: int = -1) -> bytes:
    """Up to ``limit`` bytes of a plain file, or all of them.

    Raises:
        NoPlainFileError: it is something else.
        OSError: it cannot be read.
    """
    with os.fdopen(open_plain(path), "rb") as file:
        return file.read(limit)


def check_database(path: Path) -> None:
    """Refuses an SQLite database if one of its files is not a plain file; files may be missing.

    Raises:
        NoPlainFileError: one is.
    """
    check_plain(path, *(path.with_name(f"{path.name}{suffix}") for suffix in ("-journal", "-wal", "-shm")))


def check_plain(*paths: Path) -> None:
    """Refuses paths that exist and are not plain files: for libraries that open files by themselves.

    Raises:
        NoPlainFileError: one is something else.
    """
    for path in paths:
        if os.path.lexists(path) and not stat.S_ISREG(path.lstat().st_mode):
            raise NoPlainFileError(path)
