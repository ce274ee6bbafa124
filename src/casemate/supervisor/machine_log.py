"""machine.log: what the machine's processes write to standard error, and the supervisor's own messages. Bounded."""

import asyncio
import contextlib
import os
import sys
from datetime import UTC, datetime
from pathlib import Path

from casemate.process.log_file import RotatingFile, one_line
from casemate.process.ownership import open_own_file

LOG_SIZE = 4 * 1024 * 1024
"""Longest machine.log (bytes); one older file is kept beside it, as machine.log.1."""

_CHUNK = 65_536
_LONGEST_LINE = 4096
"""Bytes of a line that has no end yet, after which it is written as it is."""
_LAST_WORDS = 512
"""Characters of a process's last line that are remembered."""


class MachineLog:
    """Appends to ``path``. On a full disk lines are lost, and nothing fails.

    Raises:
        PlaceError: something else has its name, or it is not this user's alone.
    """

    def __init__(self, path: Path) -> None:
        self._file = RotatingFile(path, LOG_SIZE, open_own_file)

    def say(self, text: str, *, aloud: bool = True) -> None:
        """A line of the supervisor's; ``aloud`` on its standard error, too."""
        text = one_line(text)
        line = f"{datetime.now(UTC):%Y-%m-%dT%H:%M:%SZ} supervisor: {text}"
        if aloud:
            with contextlib.suppress(OSError):
                sys.stderr.write(f"casemate: {text}\n")
        self.write(line.encode("utf-8", "replace"))

    def write(self, lines: bytes) -> None:
        """Appends whole lines, of which the last has no end yet."""
        self._file.write(lines)

    def close(self) -> None:
        """Closes the file."""
        self._file.close()


class ProcessOutput:
    """One process's standard output and error: a pipe whose other end goes to the log.

    Each of its lines is logged after its name, with what is not printable escaped. So no text that a stranger has a
    process write can look like another process's line, or like the supervisor's.
    """

    def __init__(self, log: MachineLog, name: str) -> None:
        self._log = log
        self._name = name
        self._reading, self.writing = os.pipe()
        self._begun = b""
        self._last = ""
        os.set_blocking(self._reading, False)
        asyncio.get_running_loop().add_reader(self._reading, self._read)

    @property
    def last(self) -> str:
        """The end of the last line that came, to say why a process died; empty if none did."""
        begun = _shown(self._begun).strip()
        return begun[-_LAST_WORDS:] if begun else self._last

    def given(self) -> None:
        """Closes this end's copy of the pipe, once the process has inherited it."""
        os.close(self.writing)

    def take_rest(self) -> None:
        """Reads what a dead process has left in the pipe."""
        if self._reading >= 0:
            self._read()

    def _read(self) -> None:
        try:
            content = os.read(self._reading, _CHUNK)
        except BlockingIOError:
            return
        except OSError:
            content = b""
        if content:
            *whole, self._begun = (self._begun + content).split(b"\n")
            if len(self._begun) > _LONGEST_LINE:
                whole.append(self._begun)
                self._begun = b""
            self._write(whole)
            return
        asyncio.get_running_loop().remove_reader(self._reading)
        os.close(self._reading)
        self._reading = -1
        if self._begun:
            self._write([self._begun])
            self._begun = b""

    def _write(self, lines: list[bytes]) -> None:
        shown = [text for line in lines if (text := _shown(line)).strip()]
        if shown:
            self._last = shown[-1].strip()[-_LAST_WORDS:]
            self._log.write("\n".join(f"{self._name}| {text}" for text in shown).encode("utf-8", "replace"))


def _shown(line: bytes) -> str:
    return one_line(line.decode("utf-8", "replace"))
