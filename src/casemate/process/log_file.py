"""Log files that do not grow without end, and fail nobody: what cannot be written is dropped and counted."""

import logging
import os
from contextlib import suppress
from io import FileIO
from pathlib import Path

from casemate.process.plain_file import open_plain


class RotatingFile:
    """Lines for a file that does not grow without end: a full one is kept beside it, and the one before that is gone.

    Written at once, in one call each: ``logging``'s own takes five times as long, which a request would wait for, and
    once it could not let go of a full file, it never writes again. A line that cannot be written, on a full disk or
    for whatever reason, is dropped: nothing fails for its log's sake.
    """

    def __init__(self, path: Path, most: int) -> None:
        self._path = path
        self._most = most
        self._file = _opened(path)
        self._size = self._file.tell()
        self._torn = False
        """The last line was written in part."""

    def write(self, line: bytes) -> bool:
        """Writes one line; whether it is written."""
        text = b"\n%b\n" % line if self._torn else line + b"\n"
        try:
            if self._size > self._most:
                self._begin_anew()
            written = self._file.write(text) or 0
        except OSError:
            written = 0
        self._size += written
        if written == len(text):
            self._torn = False
            return True
        self._torn = self._torn or written > 0
        return False

    def close(self) -> None:
        """Lets go of the file."""
        self._file.close()

    def _begin_anew(self) -> None:
        """The full file is let go of once the new one is there."""
        with suppress(FileNotFoundError):  # it was renamed, and the new one could not be opened
            self._path.replace(self._path.with_name(f"{self._path.name}.1"))
        full, self._file = self._file, _opened(self._path)
        full.close()
        self._size = 0


def _opened(path: Path) -> FileIO:
    return FileIO(open_plain(path, os.O_WRONLY | os.O_CREAT | os.O_APPEND), "ab")


class LogFileHandler(logging.Handler):
    """Writes records to a :class:`RotatingFile`; after some that it could not write, how many they were."""

    def __init__(self, file: RotatingFile) -> None:
        super().__init__()
        self._file = file
        self._dropped = 0

    def emit(self, record: logging.LogRecord) -> None:
        """Writes one record."""
        try:
            line = self.format(record).encode("utf-8", "backslashreplace")
        except Exception:  # a record that cannot be formatted is a defect: logging itself says so
            self.handleError(record)
            return
        if self._dropped and self._file.write(b"(%d lines before this one could not be written)" % self._dropped):
            self._dropped = 0
        if not self._file.write(line):
            self._dropped += 1

    def close(self) -> None:
        """Lets go of the file."""
        self._file.close()
        super().close()
