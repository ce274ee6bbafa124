import errno
import logging
from pathlib import Path
from typing import Any

import pytest

from casemate.process import log_file
from casemate.process.log_file import LogFileHandler, RotatingFile


class Disk:
    """A raw file on a disk that has room for so many bytes more."""

    def __init__(self, file: Any, room: int) -> None:
        self._file = file
        self.room = room

    def write(self, data: bytes) -> int:
        if not self.room:
            raise OSError(errno.ENOSPC, "No space left on device")
        written = self._file.write(data[: self.room])
        self.room -= written
        return int(written)

    def close(self) -> None:
        self._file.close()


def on(disk_of: RotatingFile, room: int) -> Disk:
    disk_of._file = disk = Disk(disk_of._file, room)  # type: ignore[assignment]
    return disk


def test_a_line_that_cannot_be_written_is_dropped_and_one_that_was_torn_ends(tmp_path: Path) -> None:
    file = RotatingFile(tmp_path / "log", 10_000)
    disk = on(file, 8)
    assert file.write(b"first")
    assert not file.write(b"second")  # two bytes of it
    assert not file.write(b"third")
    disk.room = 100
    assert file.write(b"fourth")
    assert (tmp_path / "log").read_bytes() == b"first\nse\nfourth\n"
    file.close()


def test_a_full_file_is_changed_for_a_new_one_once_there_can_be_one(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    file = RotatingFile(tmp_path / "log", 10)
    assert file.write(b"a" * 20)

    def no_room(*_: object, **__: object) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    with monkeypatch.context() as patched:
        patched.setattr(log_file, "open_plain", no_room)
        assert not file.write(b"b")
        assert not file.write(b"b")
    assert file.write(b"c")
    assert (tmp_path / "log").read_bytes() == b"c\n"
    assert (tmp_path / "log.1").read_bytes() == b"a" * 20 + b"\n"
    file.close()


def test_a_handler_says_how_many_records_it_could_not_write(tmp_path: Path) -> None:
    file = RotatingFile(tmp_path / "log", 10_000)
    handler = LogFileHandler(file)
    log = logging.getLogger("casemate.test_log_file")
    log.propagate = False
    log.addHandler(handler)
    log.warning("first")
    disk = on(file, 0)
    for number in range(3):
        log.warning("lost %d", number)
    disk.room = 1000
    log.warning("next \ud800")
    log.warning("last")
    log.removeHandler(handler)
    handler.close()
    assert (tmp_path / "log").read_text().splitlines() == [
        "first",
        "(3 lines before this one could not be written)",
        "next \\ud800",
        "last",
    ]
