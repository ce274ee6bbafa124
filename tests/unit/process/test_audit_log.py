import errno
import json
import os
from datetime import UTC, datetime
from pathlib import Path

import pytest

from casemate.process import audit_log
from casemate.process.audit_log import MAX_LINE, NAME, AuditEntry, append_entry, last_entry_at, log_act, read_entries
from casemate.process.ownership import PlaceError
from casemate.wire.errors import WireError

AT = datetime(2026, 11, 30, 12, tzinfo=UTC)
ENTRY = AuditEntry(AT, 1000, "rollback accepted", "a \u201cdisk\u201d died", {"epoch": 3, "namespace": "ab"})
OF_A_SUPERVISOR = b'{"at": "2026-11-30T12:00:00Z", "uid": 1000, "what": "up", "details": "a machine"}'
OF_AN_OLDER_CHIP = (
    b'{"time": "2026-11-30T12:00:00.123456+00:00", "event": "anchors begun anew", "generation": 2, "reason": "why not"}'
)


@pytest.fixture
def log(tmp_path: Path) -> Path:
    tmp_path.chmod(0o700)
    return tmp_path / NAME


def test_every_line_is_whole_and_comes_after_those_before(log: Path) -> None:
    for what in ("up", "down"):
        log_act(log.parent, what, "")
    assert [json.loads(line)["what"] for line in log.read_text().splitlines()] == ["up", "down"]
    assert [entry.uid for entry in read_entries(log)] == [os.getuid()] * 2


def test_an_entry_is_read_as_it_was_written(log: Path) -> None:
    append_entry(log, ENTRY)
    assert read_entries(log) == (ENTRY,)
    assert last_entry_at(log) == AT


def test_lines_of_older_machines_are_read(log: Path) -> None:
    log.write_bytes(OF_A_SUPERVISOR + b"\n" + OF_AN_OLDER_CHIP + b"\n")
    append_entry(log, ENTRY)
    assert read_entries(log) == (
        AuditEntry(AT, 1000, "up", "a machine"),
        AuditEntry(AT, None, "anchors begun anew", "why not", {"generation": 2}),
        ENTRY,
    )


@pytest.mark.parametrize("torn", [b'{"at": "2026-11-3', b"[]", b"\xff", OF_AN_OLDER_CHIP.replace(b"2026", b"xxxx")])
def test_a_torn_line_is_left_out(log: Path, torn: bytes) -> None:
    log.write_bytes(ENTRY.encode() + torn)
    assert read_entries(log) == (ENTRY,)
    assert last_entry_at(log) == AT
    with pytest.raises(WireError):
        AuditEntry.parse(torn)


def test_the_last_entry_of_a_long_log_is_found(log: Path) -> None:
    log.write_bytes(OF_A_SUPERVISOR + b"\n" + b"x" * MAX_LINE + b"\n" + ENTRY.encode())
    assert last_entry_at(log) == AT


def test_there_is_no_last_entry_where_there_is_no_log(log: Path) -> None:
    assert last_entry_at(log) is None
    log.mkdir()
    assert last_entry_at(log) is None
    with pytest.raises(PlaceError, match="is no plain file"):
        append_entry(log, ENTRY)


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="this computer has no /dev/full")
def test_a_line_of_which_a_full_disk_takes_a_part_is_an_error(log: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(audit_log, "open_own_file", lambda *_: os.open("/dev/full", os.O_WRONLY))
    with pytest.raises(OSError, match=os.strerror(errno.ENOSPC)):
        append_entry(log, ENTRY)


def test_a_new_logs_name_is_synchronised_too(log: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    folders: list[Path] = []
    monkeypatch.setattr(audit_log, "sync_directory", folders.append)
    append_entry(log, ENTRY)
    append_entry(log, ENTRY)
    assert folders == [log.parent]
