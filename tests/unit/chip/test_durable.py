import stat
from pathlib import Path

import pytest

from casemate.chip.durable import write_once, write_whole
from casemate.chip.errors import StateError


def test_write_once_never_overwrites(tmp_path: Path) -> None:
    write_once(tmp_path / "f", b"first")
    with pytest.raises(StateError, match="cannot be made"):
        write_once(tmp_path / "f", b"second")
    assert [path.name for path in tmp_path.iterdir()] == ["f"]
    assert (tmp_path / "f").read_bytes() == b"first"


def test_write_whole_replaces_and_leaves_nothing_behind(tmp_path: Path) -> None:
    write_whole(tmp_path / "f", b"first")
    write_whole(tmp_path / "f", b"second")
    assert [path.name for path in tmp_path.iterdir()] == ["f"]
    assert (tmp_path / "f").read_bytes() == b"second"
    assert stat.S_IMODE((tmp_path / "f").stat().st_mode) == 0o600


def test_folder_in_the_files_place_is_a_typed_error(tmp_path: Path) -> None:
    (tmp_path / "f").mkdir()
    with pytest.raises(StateError, match="cannot be written"):
        write_whole(tmp_path / "f", b"")
    assert [path.name for path in tmp_path.iterdir()] == ["f"]
