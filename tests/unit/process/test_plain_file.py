import os
import socket
from pathlib import Path

import pytest

from casemate.process.plain_file import NoPlainFileError, check_database, check_plain, open_plain, read_plain

WAYS = (os.O_RDONLY, os.O_RDWR, os.O_WRONLY, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, os.O_WRONLY | os.O_APPEND)


def others(folder: Path) -> list[Path]:
    """A pipe, a folder, a link to a file and one to nowhere, a socket; ``folder`` is the current one."""
    os.mkfifo(folder / "pipe")
    (folder / "folder").mkdir()
    (folder / "file").write_bytes(b"untouched")
    (folder / "link").symlink_to(folder / "file")
    (folder / "nowhere").symlink_to(folder / "not there")
    listener = socket.socket(socket.AF_UNIX)
    listener.bind("socket")  # its whole path would be too long
    listener.close()
    return [folder / name for name in ("pipe", "folder", "link", "nowhere", "socket")]


@pytest.mark.parametrize("flags", WAYS)
def test_what_is_no_plain_file_is_refused_at_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, flags: int) -> None:
    monkeypatch.chdir(tmp_path)
    for path in others(tmp_path):
        with pytest.raises(NoPlainFileError, match=rf"{path} is .*want .*one|{path} is a link, want a plain file"):
            open_plain(path, flags)
        with pytest.raises(NoPlainFileError):
            check_plain(path)
    assert (tmp_path / "file").read_bytes() == b"untouched"
    assert not (tmp_path / "not there").exists()


def test_a_pipe_that_somebody_holds_open_is_refused_too(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe")
    held = os.open(tmp_path / "pipe", os.O_RDWR)
    try:
        for flags in WAYS:
            with pytest.raises(NoPlainFileError):
                open_plain(tmp_path / "pipe", flags)
    finally:
        os.close(held)


def test_a_plain_file_is_made_private_read_and_cut_off(tmp_path: Path) -> None:
    path = tmp_path / "file"
    with pytest.raises(FileNotFoundError):
        read_plain(path)
    check_plain(path)
    with os.fdopen(open_plain(path, os.O_WRONLY | os.O_CREAT), "wb") as file:
        file.write(b"content")
    assert path.stat().st_mode & 0o777 == 0o600
    assert (read_plain(path), read_plain(path, 3)) == (b"content", b"con")
    check_plain(path)
    os.close(open_plain(path, os.O_WRONLY | os.O_TRUNC))
    assert read_plain(path) == b""


@pytest.mark.parametrize("suffix", ["", "-journal", "-wal", "-shm"])
def test_a_database_is_all_its_files(tmp_path: Path, suffix: str) -> None:
    check_database(tmp_path / "x.db")
    os.mkfifo(tmp_path / f"x.db{suffix}")
    with pytest.raises(NoPlainFileError):
        check_database(tmp_path / "x.db")
