import errno
import json
import os
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path

import pytest

from casemate.chip.audit import AuditLog as ChipAuditLog
from casemate.chip.errors import StateError
from casemate.supervisor.audit import AuditLog

Write = Callable[[Path], None]


def supervisors(folder: Path) -> None:
    AuditLog(folder).note("up", "a machine")


def chips(folder: Path) -> None:
    ChipAuditLog(folder).write("rollback accepted", datetime(2026, 11, 30, tzinfo=UTC), epoch=3)


@pytest.fixture(autouse=True)
def _own_folder(tmp_path: Path) -> None:
    tmp_path.chmod(0o700)


@pytest.mark.parametrize(("write", "name"), [(supervisors, "audit.jsonl"), (chips, "audit.log")])
def test_every_line_is_whole_and_comes_after_those_before(tmp_path: Path, write: Write, name: str) -> None:
    write(tmp_path)
    write(tmp_path)
    lines = (tmp_path / name).read_text().splitlines()
    assert len(lines) == 2
    assert all(json.loads(line) for line in lines)


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="this computer has no /dev/full")
@pytest.mark.parametrize(("write", "kind"), [(supervisors, OSError), (chips, StateError)])
def test_a_line_that_a_full_disk_takes_no_part_or_a_part_of_is_an_error(
    tmp_path: Path, write: Write, kind: type[Exception], monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(*_: object, **__: object) -> int:
        return os.open("/dev/full", os.O_WRONLY)

    for room in ("casemate.supervisor.audit", "casemate.chip.audit"):
        monkeypatch.setattr(f"{room}.open_own_file", full)
    with pytest.raises(kind) as failed:
        write(tmp_path)
    assert isinstance(failed.value, StateError) or getattr(failed.value, "errno", 0) == errno.ENOSPC
