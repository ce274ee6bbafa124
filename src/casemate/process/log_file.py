"""The logs of a machine's processes: bounded files of lines which nobody's words can forge, and which fail nobody."""

import logging
import os
from collections.abc import Callable
from contextlib import suppress
from io import FileIO
from pathlib import Path

from casemate.process.ownership import PlaceError
from casemate.process.plain_file import open_plain


class RotatingFile:
    """Lines for a file that does not grow without end: a full one is kept beside it, and the one before that is gone.

    Each line is written at once, in one call. ``logging``'s own rotating file takes five times as long, which a
    request would wait for, and never writes again once it could not close a full file. A line that cannot be written,
    on a full disk or for another reason, is dropped: nothing fails because its log does.

    Args:
        path: the file.
        most: its greatest length (bytes); a line that would make it longer begins a new one.
        opened: opens it, given its path and the flags of :func:`os.open`.
    """

    def __init__(self, path: Path, most: int, opened: Callable[[Path, int], int] = open_plain) -> None:
        self._path = path
        self._most = most
        self._opened = opened
        self._file = self._open()
        self._size = self._file.tell()
        self._torn = False
        """The last line was written in part."""

    def write(self, line: bytes) -> bool:
        """Writes one line; returns whether it was written."""
        text = b"\n%b\n" % line if self._torn else line + b"\n"
        try:
            if self._size and self._size + len(text) > self._most:
                self._begin_anew()
            written = self._file.write(text) or 0
        except (OSError, PlaceError):
            written = 0
        self._size += written
        if written == len(text):
            self._torn = False
            return True
        self._torn = self._torn or written > 0
        return False

    def close(self) -> None:
        """Closes the file."""
        self._file.close()

    def _begin_anew(self) -> None:
        """Closes the full file only once the new one is open: a disk without room for a new one costs no log."""
        with suppress(FileNotFoundError):  # it was renamed, and the new one could not be opened
            self._path.replace(self._path.with_name(f"{self._path.name}.1"))
        full, self._file = self._file, self._open()
        full.close()
        self._size = 0

    def _open(self) -> FileIO:
        return FileIO(self._opened(self._path, os.O_WRONLY | os.O_CREAT | os.O_APPEND), "ab")


class LogFileHandler(logging.Handler):
    """Writes records to a :class:`RotatingFile`, and how many it could not write, once it can write again."""

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


class OneLineFormatter(logging.Formatter):
    """Formats a record as one line; the lines of a trace follow it, each indented, so none looks like an event."""

    def formatMessage(self, record: logging.LogRecord) -> str:  # noqa: N802 - logging's name
        """The line itself."""
        record.message = one_line(record.message)
        return super().formatMessage(record)

    def formatException(self, ei: object) -> str:  # noqa: N802 - logging's name
        """A trace, whose last line may quote a stranger."""
        trace = super().formatException(ei)  # type: ignore[arg-type] # typed with a private alias there
        return "\n".join(f"    {one_line(line)}" for line in trace.split("\n"))


def one_line(text: str) -> str:
    """``text`` with all that is not printable as an escape: line ends, terminal controls, directional marks.

    So nobody whose words are logged can make them look like another event.
    """
    if text.isprintable():
        return text
    return "".join(each if each.isprintable() else each.encode("unicode_escape").decode() for each in text)
