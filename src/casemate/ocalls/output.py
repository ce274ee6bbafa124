"""The log of the handlers' process: what they print, what goes wrong, and where."""

import io
import logging
import sys
import threading
from pathlib import Path

from casemate.process.log_file import LogFileHandler, OneLineFormatter, RotatingFile
from casemate.process.ownership import open_own_file

LOG_SIZE = 4 * 1024 * 1024
"""Longest log (bytes): handlers may print without end. One older file is kept."""

_LONGEST_LINE = 4096
"""Characters of a line without end after which it is logged as it is."""


def log_to(path: Path) -> None:
    """Has this process log to ``path``, and everything that is printed, too.

    What does not go through Python's own streams goes where the supervisor has led it, to the machine's log.

    Raises:
        PlaceError: something else has its name, or it is not this user's alone.
    """
    handler = LogFileHandler(RotatingFile(path, LOG_SIZE, open_own_file))
    handler.setFormatter(OneLineFormatter("%(asctime)s %(name)s %(levelname)s %(message)s"))
    logging.basicConfig(level=logging.INFO, handlers=[handler])
    sys.stdout = _Printed("stdout")
    sys.stderr = _Printed("stderr")


class _Printed(io.TextIOBase):
    """A text stream whose lines are logged; any thread may write to it."""

    def __init__(self, name: str) -> None:
        self._logger = logging.getLogger(f"handlers.{name}")
        self._lock = threading.RLock()
        self._begun = ""

    def writable(self) -> bool:
        return True

    def write(self, text: str) -> int:
        with self._lock:
            *lines, self._begun = (self._begun + text).split("\n")
            if len(self._begun) > _LONGEST_LINE:
                lines.append(self._begun)
                self._begun = ""
        for line in lines:
            self._logger.info("%s", line)
        return len(text)
