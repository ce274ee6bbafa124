import os
import stat
from pathlib import Path

import pytest

from casemate.chip.errors import ChipBusyError, StateError
from casemate.chip.state_directory import open_state_directory


def test_makes_a_private_folder(tmp_path: Path) -> None:
    folder, lock = open_state_directory(tmp_path / "machine")
    assert folder == tmp_path / "machine" / "chip"
    assert stat.S_IMODE(folder.stat().st_mode) == 0o700
    os.close(lock)


def test_second_chip_is_refused_and_told_who_has_it(tmp_path: Path) -> None:
    _, lock = open_state_directory(tmp_path)
    with pytest.raises(ChipBusyError, match=f"process id {os.getpid()}"):
        open_state_directory(tmp_path)
    os.close(lock)
    os.close(open_state_directory(tmp_path)[1])


def test_refuses_folder_that_others_can_look_into(tmp_path: Path) -> None:
    (tmp_path / "chip").mkdir(mode=0o755)
    with pytest.raises(StateError, match="chmod 700"):
        open_state_directory(tmp_path)


def test_refuses_link_in_the_folders_place(tmp_path: Path) -> None:
    (tmp_path / "elsewhere").mkdir(mode=0o700)
    (tmp_path / "chip").symlink_to(tmp_path / "elsewhere")
    with pytest.raises(StateError, match="is a link, want a folder"):
        open_state_directory(tmp_path)


def test_says_where_it_cannot_write(tmp_path: Path) -> None:
    (tmp_path / "file").write_bytes(b"")
    with pytest.raises(StateError, match="is no folder, want one of this user's"):
        open_state_directory(tmp_path / "file")
