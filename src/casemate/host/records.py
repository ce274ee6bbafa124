"""The sealed records of all states on this host, in one SQLite database: files them, finds them, reads none of them.

Records are filed under their own digest, so rivals of one epoch lie side by side until a checkpoint settles which of
them counts; only the enclave can tell. Durable when a function returns (WAL, synchronous=FULL).
"""

import contextlib
import sqlite3
from collections.abc import Iterator
from pathlib import Path

from casemate.process.plain_file import check_database
from casemate.wire.errors import CasemateError
from casemate.wire.messages.state import MAX_READ, StoredState
from casemate.wire.protocol.sealed_record import NO_RECORD, SealedKind, SealedRecord, record_digest

MAX_STATE_SIZE = 512 * 1024 * 1024
"""Most bytes of records of one state: some checkpoints of the largest one. Enclaves can make the host write."""

BUSY_TIME = 2.0
"""How long to wait for another program that has locked the database (seconds)."""

LOG_PAGES = 256
"""So long does SQLite's write-ahead log become (pages of 4 KiB). Then it is written over from its beginning, which is
quicker to synchronise than a file that grows: the sooner that begins, the better."""

MAX_EPOCH = 2**63 - 1
"""SQLite's largest integer."""

_SCHEMA = """
CREATE TABLE IF NOT EXISTS records (
    namespace BLOB NOT NULL,
    digest BLOB NOT NULL,
    epoch INTEGER NOT NULL,
    kind INTEGER NOT NULL,
    part INTEGER NOT NULL,
    parts INTEGER NOT NULL,
    previous BLOB NOT NULL,
    size INTEGER NOT NULL,
    record BLOB NOT NULL
) STRICT;
CREATE UNIQUE INDEX IF NOT EXISTS by_digest ON records (namespace, digest);
"""


class RecordsError(CasemateError):
    """The database cannot be used now: its disk is full, another program has locked it, or it is damaged."""


class RecordRefusedError(CasemateError):
    """The bytes are not a record that can be stored."""


class Records:
    """The database at ``path``, opened at its first use. For one thread at a time.

    Every method raises :class:`RecordsError` where the database fails; what it was to write is then not there.
    """

    def __init__(self, path: Path) -> None:
        self._path = path
        self._database: sqlite3.Connection | None = None
        self._sizes: dict[bytes, int] = {}

    def close(self) -> None:
        """Closes the database."""
        if self._database is not None:
            self._database.close()
            self._database = None

    def append(self, record: SealedRecord, encoded: bytes) -> None:
        """Files a record; one that is there already stays.

        Raises:
            RecordRefusedError: it is of no state, or the state has too many records.
        """
        header = record.header
        if header.kind is SealedKind.BLOB or header.epoch > MAX_EPOCH:
            raise RecordRefusedError("no record of a state that this host could file")
        with _failing(self._path), self._open() as database:
            size = self._sizes.get(header.namespace, 0) + len(encoded)
            if size > MAX_STATE_SIZE:
                raise RecordRefusedError(f"{size} bytes of records of one state, at most {MAX_STATE_SIZE} are kept")
            added = database.execute(
                "INSERT OR IGNORE INTO records VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?)",
                (
                    header.namespace,
                    record_digest(encoded),
                    header.epoch,
                    int(header.kind),
                    header.part,
                    header.parts,
                    header.previous,
                    len(encoded),
                    encoded,
                ),
            ).rowcount
        if added:
            self._sizes[header.namespace] = size

    def read(self, namespace: bytes, head: bytes) -> tuple[bytes, ...]:
        """The record with that digest and those before it, newest first, as many as one answer carries."""
        with _failing(self._path), self._open() as database:
            return tuple(self._back_from(database, namespace, head))

    def newest(self, namespace: bytes) -> bytes | None:
        """The digest at which the newest whole history ends; records that are damaged or have no beginning count not.

        It reads all records of the state: for recoveries.
        """
        whole: set[bytes] = {NO_RECORD}
        newest: bytes | None = None
        with _failing(self._path), self._open() as database:
            found = database.execute(
                "SELECT digest, kind, part, parts, previous, record FROM records WHERE namespace = ?"
                " ORDER BY epoch, part, rowid",
                (namespace,),
            )
            for digest, kind, part, parts, previous, encoded in found:
                begins = kind == SealedKind.CHECKPOINT and part == 0
                if record_digest(encoded) == digest and (begins or previous in whole):
                    whole.add(digest)
                    newest = digest if part + 1 == parts else newest
        return newest

    def forget(self, namespace: bytes, head: bytes) -> None:
        """Removes what a checkpoint makes superfluous: all before it, and its rivals of the same epoch.

        Nothing is removed where ``head`` is not the last record of a whole checkpoint.
        """
        with _failing(self._path), self._open() as database:
            kept: list[bytes] = []
            at, epoch = head, 0
            while True:
                row = database.execute(
                    "SELECT epoch, kind, part, parts, previous FROM records WHERE namespace = ? AND digest = ?",
                    (namespace, at),
                ).fetchone()
                if row is None or row[1] != SealedKind.CHECKPOINT or (not kept and row[2] + 1 != row[3]):
                    return
                kept.append(at)
                epoch, at = row[0], row[4]
                if row[2] == 0:
                    break
            marks = ", ".join("?" * len(kept))
            database.execute(
                "DELETE FROM records WHERE namespace = ? AND (epoch < ? OR (epoch = ? AND"  # noqa: S608 - marks alone
                f" digest NOT IN ({marks})))",
                (namespace, epoch, epoch, *kept),
            )
            self._sizes = _sizes(database)

    def states(self) -> tuple[StoredState, ...]:
        """All states that there are records of."""
        with _failing(self._path), self._open() as database:
            rows = database.execute(
                "SELECT namespace, max(epoch), count(*), sum(size) FROM records GROUP BY namespace ORDER BY namespace"
            )
            return tuple(StoredState(*row) for row in rows)

    def _back_from(self, database: sqlite3.Connection, namespace: bytes, head: bytes) -> Iterator[bytes]:
        sent = 0
        while head != NO_RECORD:
            row = database.execute(
                "SELECT kind, part, previous, size, record FROM records WHERE namespace = ? AND digest = ?",
                (namespace, head),
            ).fetchone()
            if row is None or (sent and sent + row[3] > MAX_READ):
                return
            yield row[4]
            sent += row[3]
            if row[0] == SealedKind.CHECKPOINT and row[1] == 0:
                return
            head = row[2]

    def _open(self) -> sqlite3.Connection:
        if self._database is None:
            check_database(self._path)
            self._path.touch(0o600)  # SQLite gives its other files the same mode
            database = sqlite3.connect(self._path, timeout=BUSY_TIME, check_same_thread=False)
            try:
                database.executescript(
                    "PRAGMA journal_mode = WAL; PRAGMA synchronous = FULL; PRAGMA cache_size = -1024;"
                    f"PRAGMA wal_autocheckpoint = {LOG_PAGES};" + _SCHEMA
                )
                self._sizes = _sizes(database)
            except sqlite3.Error:
                database.close()
                raise
            self._database = database
        return self._database


def _sizes(database: sqlite3.Connection) -> dict[bytes, int]:
    return dict(database.execute("SELECT namespace, sum(size) FROM records GROUP BY namespace"))


@contextlib.contextmanager
def _failing(path: Path) -> Iterator[None]:
    """Turns SQLite's exceptions into :class:`RecordsError`."""
    try:
        yield
    except (sqlite3.Error, OSError) as error:
        raise RecordsError(f"{path.name}: {error}") from None
