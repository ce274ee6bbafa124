import errno
import os
import stat
from pathlib import Path

import pytest

from casemate.process import durable_files
from casemate.process.durable_files import DurableFileError, write_once, write_whole


def names(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir())


def test_write_once_never_overwrites(tmp_path: Path) -> None:
    write_once(tmp_path / "f", b"first")
    with pytest.raises(FileExistsError) as caught:
        write_once(tmp_path / "f", b"second")
    assert caught.value.filename == str(tmp_path / "f")
    assert names(tmp_path) == ["f"]
    assert (tmp_path / "f").read_bytes() == b"first"


def test_write_once_does_not_follow_a_link(tmp_path: Path) -> None:
    (tmp_path / "f").symlink_to(tmp_path / "elsewhere")
    with pytest.raises(FileExistsError):
        write_once(tmp_path / "f", b"content")
    assert names(tmp_path) == ["f"]


def test_write_whole_replaces_and_leaves_nothing_behind(tmp_path: Path) -> None:
    write_whole(tmp_path / "f", b"first")
    write_whole(tmp_path / "f", b"second")
    assert names(tmp_path) == ["f"]
    assert (tmp_path / "f").read_bytes() == b"second"
    assert stat.S_IMODE((tmp_path / "f").stat().st_mode) == 0o600


def test_the_mode_that_is_asked_for_is_less_the_umask(tmp_path: Path) -> None:
    umask = os.umask(0o027)
    try:
        write_whole(tmp_path / "f", b"", mode=0o666)
    finally:
        os.umask(umask)
    assert stat.S_IMODE((tmp_path / "f").stat().st_mode) == 0o640


def test_a_draft_can_be_written_in_another_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "theirs").mkdir()
    drafts = []

    def renamed(draft: Path, path: Path) -> None:
        drafts.append(draft.parent)
        draft.rename(path)

    monkeypatch.setattr(Path, "replace", renamed)
    write_whole(tmp_path / "theirs" / "f", b"content", drafts=tmp_path)
    assert drafts == [tmp_path]
    assert (tmp_path / "theirs" / "f").read_bytes() == b"content"


@pytest.mark.parametrize("write", [write_once, write_whole])
def test_the_folder_is_synchronised_after_the_content(
    tmp_path: Path, write: object, monkeypatch: pytest.MonkeyPatch
) -> None:
    synchronised = []
    monkeypatch.setattr(durable_files, "sync", lambda number: synchronised.append(os.fstat(number).st_mode))
    assert callable(write)
    write(tmp_path / "f", b"content")
    assert [stat.S_IFMT(mode) for mode in synchronised] == [stat.S_IFREG, stat.S_IFDIR]


def test_a_folder_in_the_files_place_is_a_typed_error(tmp_path: Path) -> None:
    (tmp_path / "f").mkdir()
    with pytest.raises(DurableFileError) as caught:
        write_whole(tmp_path / "f", b"")
    assert (caught.value.errno, caught.value.filename) == (errno.EISDIR, str(tmp_path / "f"))
    assert names(tmp_path) == ["f"]


@pytest.mark.parametrize("write", [write_once, write_whole])
def test_a_full_disk_leaves_the_old_file_and_no_draft(
    tmp_path: Path, write: object, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(_: int) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(durable_files, "sync", full)
    assert callable(write)
    with pytest.raises(DurableFileError, match="No space left"):
        write(tmp_path / "f", b"content")
    assert names(tmp_path) == []
