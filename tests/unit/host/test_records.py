import sqlite3
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest
from tests.rigs.host.records import ALICE, BOB, HEADER

from casemate.host import records as module
from casemate.host.records import RecordRefusedError, Records, RecordsError
from casemate.wire.messages.state import MAX_READ, StoredState
from casemate.wire.protocol.sealed_record import (
    MAX_RECORD,
    NO_RECORD,
    SealedKind,
    SealedRecord,
    record_digest,
)


class Shelf:
    """Records, and a hand that files them one after the other."""

    def __init__(self, path: Path) -> None:
        self.records = Records(path)

    def file(self, previous: bytes, epoch: int, *, text: bytes = b"", **changes: object) -> bytes:
        """The digest of a new record."""
        header = replace(HEADER, previous=previous, epoch=epoch, **changes)  # type: ignore[arg-type]
        record = SealedRecord(header, text.ljust(16, b"\x00"))
        self.records.append(record, record.encode())
        return record_digest(record.encode())

    def chain(self, count: int, *, namespace: bytes = ALICE) -> list[bytes]:
        """Digests of commits 1 to ``count``."""
        digests: list[bytes] = []
        for epoch in range(1, count + 1):
            digests.append(self.file(digests[-1] if digests else NO_RECORD, epoch, namespace=namespace))
        return digests

    def digests(self, head: bytes, namespace: bytes = ALICE) -> list[bytes]:
        return [record_digest(record) for record in self.records.read(namespace, head)]


@pytest.fixture
def shelf(tmp_path: Path) -> Iterator[Shelf]:
    made = Shelf(tmp_path / "records.db")
    yield made
    made.records.close()


def test_a_history_comes_back_newest_first(shelf: Shelf, tmp_path: Path) -> None:
    chain = shelf.chain(5)
    assert shelf.digests(chain[-1]) == chain[::-1]
    assert shelf.digests(chain[2]) == chain[2::-1]
    shelf.records.close()
    assert Shelf(tmp_path / "records.db").digests(chain[-1]) == chain[::-1]


def test_what_is_not_there_is_nothing(shelf: Shelf) -> None:
    chain = shelf.chain(2)
    assert shelf.records.read(ALICE, bytes(32)) == ()
    assert shelf.records.read(BOB, chain[-1]) == ()
    assert shelf.records.newest(BOB) is None


def test_database_is_its_owners_alone_and_made_when_needed(shelf: Shelf, tmp_path: Path) -> None:
    assert not list(tmp_path.iterdir())
    shelf.chain(1)
    assert {path.stat().st_mode & 0o777 for path in tmp_path.iterdir()} == {0o600}
    assert {path.name for path in tmp_path.iterdir()} == {"records.db", "records.db-wal", "records.db-shm"}


def test_writes_are_synchronous(shelf: Shelf) -> None:
    database = shelf.records._open()
    assert database.execute("PRAGMA journal_mode").fetchone() == ("wal",)
    assert database.execute("PRAGMA synchronous").fetchone() == (2,)  # FULL


def test_rivals_of_one_epoch_lie_side_by_side(shelf: Shelf) -> None:
    first = shelf.file(NO_RECORD, 1)
    one, other = (shelf.file(first, 2, text=text) for text in (b"one", b"other"))
    assert shelf.digests(one) == [one, first]
    assert shelf.digests(other) == [other, first]


def test_filing_twice_is_filing_once(shelf: Shelf) -> None:
    for _ in range(2):
        shelf.file(NO_RECORD, 1)
    assert shelf.records.states() == (StoredState(ALICE, 1, 1, 176),)


def test_one_answer_has_a_limit_and_the_next_goes_on(shelf: Shelf, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "MAX_READ", 400)
    chain = shelf.chain(5)
    assert shelf.digests(chain[-1]) == [chain[4], chain[3]]
    monkeypatch.setattr(module, "MAX_READ", 1)
    assert shelf.digests(chain[-1]) == [chain[4]]
    assert MAX_READ > MAX_RECORD


def test_reading_stops_at_a_checkpoint(shelf: Shelf) -> None:
    chain = shelf.chain(2)
    first = shelf.file(chain[-1], 3, kind=SealedKind.CHECKPOINT, part=0, parts=2)
    last = shelf.file(first, 3, kind=SealedKind.CHECKPOINT, part=1, parts=2)
    after = shelf.file(last, 4)
    assert shelf.digests(after) == [after, last, first]


class TestForget:
    def checkpoint(self, shelf: Shelf, previous: bytes, epoch: int) -> list[bytes]:
        first = shelf.file(previous, epoch, kind=SealedKind.CHECKPOINT, part=0, parts=2)
        return [first, shelf.file(first, epoch, kind=SealedKind.CHECKPOINT, part=1, parts=2)]

    def test_takes_what_came_before_and_rivals_alone(self, shelf: Shelf) -> None:
        chain = shelf.chain(3)
        theirs = shelf.chain(2, namespace=BOB)
        rival = shelf.file(chain[-1], 4, text=b"rival")
        first, last = self.checkpoint(shelf, chain[-1], 4)
        after, rival_after = shelf.file(last, 5), shelf.file(last, 5, text=b"rival")
        shelf.records.forget(ALICE, last)
        assert shelf.digests(after) == [after, last, first]
        assert shelf.digests(rival_after) == [rival_after, last, first]
        for gone in (*chain, rival):
            assert shelf.records.read(ALICE, gone) == ()
        assert shelf.digests(theirs[-1], BOB) == theirs[::-1]

    def test_takes_nothing_where_there_is_no_whole_checkpoint(self, shelf: Shelf) -> None:
        chain = shelf.chain(3)
        first, last = self.checkpoint(shelf, chain[-1], 4)
        torn = shelf.file(bytes([7]) * 32, 4, kind=SealedKind.CHECKPOINT, part=1, parts=2)
        for head in (chain[-1], bytes(32), first, torn):
            shelf.records.forget(ALICE, head)
        shelf.records.forget(BOB, last)
        assert shelf.digests(chain[-1]) == chain[::-1]

    def test_makes_room(self, shelf: Shelf, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(module, "MAX_STATE_SIZE", 176 * 5)
        chain = shelf.chain(3)
        _, last = self.checkpoint(shelf, chain[-1], 4)
        with pytest.raises(RecordRefusedError, match="bytes of records of one state"):
            shelf.file(last, 5)
        shelf.file(NO_RECORD, 1, namespace=BOB)
        shelf.records.forget(ALICE, last)
        shelf.file(last, 5)


class TestNewest:
    def test_is_the_last_commit_that_is_whole(self, shelf: Shelf) -> None:
        chain = shelf.chain(3)
        assert shelf.records.newest(ALICE) == chain[-1]
        shelf.file(chain[-1], 4, part=0, parts=2)  # its second part never came
        shelf.file(bytes([7]) * 32, 9)  # what came before it is not there
        assert shelf.records.newest(ALICE) == chain[-1]

    def test_begins_at_a_checkpoint(self, shelf: Shelf) -> None:
        checkpoint = shelf.file(bytes([7]) * 32, 8, kind=SealedKind.CHECKPOINT)
        after = shelf.file(checkpoint, 9)
        assert shelf.records.newest(ALICE) == after

    def test_passes_over_what_is_damaged(self, shelf: Shelf) -> None:
        chain = shelf.chain(4)
        database = shelf.records._open()
        database.execute("UPDATE records SET record = x'00' WHERE digest = ?", (chain[2],))
        database.commit()
        assert shelf.records.newest(ALICE) == chain[1]


class TestTrouble:
    def test_blobs_and_epochs_beyond_sqlite_are_refused(self, shelf: Shelf) -> None:
        with pytest.raises(RecordRefusedError):
            shelf.file(NO_RECORD, 2**63)
        with pytest.raises(RecordRefusedError):
            shelf.file(NO_RECORD, 0, kind=SealedKind.BLOB)

    def test_a_file_that_is_no_database_is_said_and_left_alone(self, tmp_path: Path) -> None:
        path = tmp_path / "records.db"
        path.write_bytes(b"no database" * 500)
        shelf = Shelf(path)
        for _ in range(2):
            with pytest.raises(RecordsError, match=r"records\.db: file is not a database"):
                shelf.chain(1)
            with pytest.raises(RecordsError):
                shelf.records.states()
        assert path.read_bytes() == b"no database" * 500

    def test_a_damaged_page_is_said(self, shelf: Shelf, tmp_path: Path) -> None:
        chain = shelf.chain(50)
        shelf.records.close()
        path = tmp_path / "records.db"
        content = path.read_bytes()
        path.write_bytes(content[:4096] + b"\xff" * (len(content) - 4096))
        broken = Shelf(path)
        with pytest.raises(RecordsError):
            broken.digests(chain[-1])

    def test_a_locked_database_is_said_and_works_again_later(
        self, shelf: Shelf, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr(module, "BUSY_TIME", 0.05)
        chain = shelf.chain(1)
        other = sqlite3.connect(tmp_path / "records.db")
        other.execute("BEGIN EXCLUSIVE")
        with pytest.raises(RecordsError, match="locked"):
            shelf.file(chain[-1], 2)
        other.close()
        assert shelf.digests(shelf.file(chain[-1], 2)) != []

    def test_a_full_disk_is_said_and_keeps_what_was_there(self, shelf: Shelf) -> None:
        chain = shelf.chain(1)
        database = shelf.records._open()
        pages = database.execute("PRAGMA page_count").fetchone()[0]
        database.execute(f"PRAGMA max_page_count = {pages}")
        with pytest.raises(RecordsError, match="full"):
            shelf.file(chain[-1], 2, text=bytes(100_000))
        assert shelf.digests(chain[-1]) == chain
        database.execute("PRAGMA max_page_count = 100000")
        shelf.file(chain[-1], 2, text=bytes(100_000))

    def test_a_folder_that_is_gone_is_said(self, tmp_path: Path) -> None:
        with pytest.raises(RecordsError):
            Shelf(tmp_path / "nowhere" / "records.db").chain(1)
