"""Reads the log of a machine's OCALL handlers on from where it was read before."""

import os
import re
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import datetime
from io import FileIO
from pathlib import Path
from typing import ClassVar

from casemate.process.places import OCALLS_LOG
from casemate.process.plain_file import open_plain

SOURCE = "ocalls"
"""What tells such lines from the entries of the machine's log."""

MAX_READ = 4 * 1024 * 1024
"""Most bytes that are read at once, the last ones: as many as one file of the log has."""

_LINE = re.compile(r"(\d{4}-\d\d-\d\d \d\d:\d\d:\d\d),(\d{3}) (\S+) (\S+) (.*)")
_PRINTED = "handlers."
"""What the loggers' names begin with that have what the handlers print."""
_USUAL = "INFO"
"""The level of what they print, and of Casemate's own words where nothing went wrong."""


@dataclass(frozen=True, slots=True)
class HandlersLine:
    """One line of the log."""

    at: int
    """Milliseconds since 1970, by this computer's clock."""
    text: str
    """What a handler has printed, or what went wrong in it."""

    source: ClassVar[str] = SOURCE
    enclave: ClassVar[int] = 0
    """It is the whole machine's, as in :class:`casemate.wire.messages.machine_log.LogEntry`."""


class HandlersLog:
    """Where in the log its reader is. A machine without handlers, or that has gone, has an empty one."""

    def __init__(self, state: Path, *, from_end: bool = False) -> None:
        """Begins with the first line of the file, or with the next one that is written."""
        self._path = state / OCALLS_LOG
        self._file: FileIO | None = None
        self._begun = b""
        if from_end:
            self._file = self._opened()
            if self._file is not None:
                self._file.seek(0, os.SEEK_END)

    def new(self) -> Iterator[HandlersLine]:
        """What the handlers have printed, and what went wrong, in whole lines since the last one that this gave."""
        if self._file is None:
            self._file = self._opened()
        if self._file is None:
            return
        yield from self._rest(self._file)
        newer = self._opened()
        if newer is None or os.path.sameopenfile(newer.fileno(), self._file.fileno()):
            if newer is not None:
                newer.close()
            return
        yield from self._rest(self._file)  # what was written to it until it was put aside
        self._file.close()
        self._file, self._begun = newer, b""
        yield from self._rest(newer)

    def close(self) -> None:
        """Lets go of the file."""
        if self._file is not None:
            self._file.close()
            self._file = None

    def _opened(self) -> FileIO | None:
        try:
            return FileIO(open_plain(self._path), "rb")
        except OSError:
            return None

    def _rest(self, file: FileIO) -> Iterator[HandlersLine]:
        """What has been added to a file since it was read."""
        size = os.fstat(file.fileno()).st_size
        if size - file.tell() > MAX_READ:
            file.seek(size - MAX_READ)
            self._begun = b""
        *lines, self._begun = (self._begun + file.read(MAX_READ)).split(b"\n")
        for line in lines:
            found = _LINE.fullmatch(line.decode("utf-8", "replace"))
            if found is not None and (found[3].startswith(_PRINTED) or found[4] != _USUAL):
                yield HandlersLine(_time(found[1], found[2]), found[5])


def _time(seconds: str, milliseconds: str) -> int:
    return int(datetime.fromisoformat(seconds).astimezone().timestamp()) * 1000 + int(milliseconds)
