"""Baseline of a durable write: a process that inserts each frame into SQLite and answers when it is on the disk.

``python -m bench.bare_sqlite DATABASE DESCRIPTOR`` serves one connected socket. Journal and durability are those of the
host's store: write-ahead log, one fsync for each transaction.
"""

import socket
import sqlite3
import subprocess
import sys
from pathlib import Path
from types import TracebackType
from typing import Self

from casemate.link.channel import Channel
from casemate.link.errors import PeerGoneError

PATIENCE = 30.0


class BareSqlite:
    """The process; a context manager starts and ends it."""

    def __init__(self, database: Path) -> None:
        self._database = database

    def __enter__(self) -> Self:
        ours, theirs = socket.socketpair()
        with theirs:
            command = [sys.executable, "-m", "bench.bare_sqlite", str(self._database), str(theirs.fileno())]
            self._process = subprocess.Popen(command, pass_fds=(theirs.fileno(),), stdin=subprocess.DEVNULL)
        self._channel = Channel(ours)
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._channel.close()
        self._process.wait()

    def put(self, record: bytes) -> None:
        """Returns when the record is on the disk."""
        self._channel.send(record, timeout=PATIENCE)
        self._channel.receive(timeout=PATIENCE)


def main() -> None:
    database = sqlite3.connect(sys.argv[1], isolation_level=None)
    database.execute("PRAGMA journal_mode = WAL")
    database.execute("PRAGMA synchronous = FULL")
    database.execute("CREATE TABLE records (number INTEGER PRIMARY KEY, record BLOB NOT NULL)")
    channel = Channel(socket.socket(fileno=int(sys.argv[2])))
    try:
        while True:
            record = channel.receive().payload
            database.execute("INSERT INTO records (record) VALUES (?)", (record,))
            channel.send(b"stored", timeout=PATIENCE)
    except PeerGoneError:
        database.close()


if __name__ == "__main__":
    main()
