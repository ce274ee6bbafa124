from pathlib import Path

import pytest

from casemate.images.errors import FolderError
from casemate.images.lock import read_lock, this_platform, write_lock
from casemate.wire.protocol.runtime_lock import RuntimeLock, RuntimePart


def test_a_lock_is_written_and_read(tmp_path: Path) -> None:
    assert read_lock(tmp_path) == RuntimeLock()
    lock = RuntimeLock().with_runtime(this_platform(), [RuntimePart("core", bytes(range(32)))])
    write_lock(tmp_path, lock)
    assert read_lock(tmp_path) == lock
    assert [entry.name for entry in tmp_path.iterdir()] == ["casemate.lock"]


def test_refuses_a_folder_that_cannot_be_written_to(tmp_path: Path) -> None:
    with pytest.raises(FolderError, match="cannot be written"):
        write_lock(tmp_path / "none", RuntimeLock())


def test_refuses_a_lock_that_cannot_be_read(tmp_path: Path) -> None:
    (tmp_path / "casemate.lock").mkdir()
    with pytest.raises(FolderError, match="cannot be read"):
        read_lock(tmp_path)
