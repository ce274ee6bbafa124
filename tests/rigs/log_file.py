"""A disk that can be full, under a log file."""

import errno
from typing import Any

from casemate.process.log_file import RotatingFile


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
