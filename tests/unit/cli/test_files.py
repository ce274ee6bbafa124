import os
import stat
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from tests.rigs.command_line import Casemate

from casemate.cli.files import InputFileError, OutputFileError, check_place, opened_file, read_file, write_file

GIB = 1 << 30
NOBODY = 65534


def test_reads_up_to_the_limit(tmp_path: Path) -> None:
    path = tmp_path / "file"
    path.write_bytes(b"12345")
    assert read_file(path, what="thing", limit=5) == b"12345"


def test_refuses_a_longer_file_without_reading_it(tmp_path: Path) -> None:
    path = tmp_path / "sparse"
    with path.open("wb") as file:
        file.truncate(GIB)
    with pytest.raises(InputFileError, match=f"got {GIB} bytes, want at most 5"):
        read_file(path, what="thing", limit=5)


def test_reads_no_more_of_a_pipe_than_the_limit(tmp_path: Path) -> None:
    path = tmp_path / "pipe"
    os.mkfifo(path)
    held = os.open(path, os.O_RDWR)
    try:
        os.write(held, b"123456")
        with pytest.raises(InputFileError, match="more than 5 bytes"):
            read_file(path, what="thing", limit=5)
    finally:
        os.close(held)


def test_names_file_and_reason(tmp_path: Path) -> None:
    with pytest.raises(InputFileError, match=r"thing .*missing: No such file"):
        read_file(tmp_path / "missing", what="thing", limit=5)
    with pytest.raises(InputFileError, match="got a directory"):
        read_file(tmp_path, what="thing", limit=5)
    with pytest.raises(InputFileError, match="no file can have this name"):
        read_file(Path("a\x00b"), what="thing", limit=5)


@pytest.fixture
def secret(tmp_path: Path) -> Path:
    path = tmp_path / "secret"
    path.touch(mode=0)
    return path


@pytest.fixture
def as_nobody(secret: Path) -> Iterator[None]:  # noqa: ARG001 - which must be there before
    """Root may read everything: here it is nobody for a while."""
    if os.geteuid() != 0:
        yield
        return
    os.seteuid(NOBODY)
    yield
    os.seteuid(0)


@pytest.mark.usefixtures("as_nobody")
def test_says_that_a_file_is_not_readable(secret: Path) -> None:
    with pytest.raises(InputFileError, match="Permission denied"):
        read_file(secret, what="thing", limit=5)


def test_writes_a_new_file_and_replaces_an_old_one(tmp_path: Path) -> None:
    path = tmp_path / "file"
    for content in (b"one", b"two"):
        write_file(path, content, what="thing")
        assert path.read_bytes() == content
    assert list(tmp_path.iterdir()) == [path]


def test_a_private_file_is_its_owners_alone(tmp_path: Path) -> None:
    path = tmp_path / "file"
    write_file(path, b"", what="thing", private=True)
    assert stat.S_IMODE(path.stat().st_mode) == 0o600


def test_writes_to_a_device() -> None:
    write_file(Path(os.devnull), b"gone", what="thing")
    assert not Path(os.devnull).is_file()


def test_sees_early_where_nothing_can_be_written(tmp_path: Path) -> None:
    check_place(tmp_path / "file", what="thing")
    check_place(Path(os.devnull), what="thing")
    for path in (tmp_path, tmp_path / "missing" / "file"):
        with pytest.raises(OutputFileError, match="cannot be written"):
            check_place(path, what="thing")


def test_says_why_it_cannot_write(tmp_path: Path) -> None:
    with pytest.raises(OutputFileError, match="No such file or directory"):
        write_file(tmp_path / "missing" / "file", b"", what="thing")
    with pytest.raises(OutputFileError, match="Is a directory"):
        write_file(tmp_path, b"", what="thing")


def test_an_open_file_is_read_where_it_is_asked_for(tmp_path: Path) -> None:
    path = tmp_path / "file"
    path.write_bytes(b"0123456789")
    with opened_file(path, what="firmware", limit=10) as content:
        assert (len(content), content[2:4], content[8:20], content[5:5]) == (10, b"23", b"89", b"")
        path.write_bytes(b"0")
        with pytest.raises(InputFileError, match="became shorter"):
            content[2:4]


def test_an_open_file_is_refused_as_one_that_is_read(tmp_path: Path) -> None:
    (tmp_path / "long").write_bytes(bytes(11))
    for name in ("long", "missing", "."):
        with (
            pytest.raises(InputFileError, match=r"^firmware .*: "),
            opened_file(tmp_path / name, what="firmware", limit=10),
        ):
            pytest.fail("it was opened")


def test_a_pipe_into_which_nobody_writes_is_refused_and_not_waited_for(casemate: Casemate, tmp_path: Path) -> None:
    pipe = tmp_path / "pipe"
    os.mkfifo(pipe)
    with pytest.raises(InputFileError, match="a pipe into which nobody writes"):
        read_file(pipe, what="input", limit=100)
    for words in (("inspect", pipe), ("measure", pipe), ("build", tmp_path, "--key", pipe), ("receipt", "show", pipe)):
        assert casemate(*words, "--json").code == 5


@pytest.mark.parametrize("late", [False, True])
def test_a_pipe_that_somebody_writes_to_is_read_to_its_end(*, late: bool) -> None:
    """As a shell's ``<(command)`` is one."""
    reading, writing = os.pipe()
    text = b"x" * 3_000_000

    def write() -> None:
        if late:
            time.sleep(0.05)
        with os.fdopen(writing, "wb") as file:
            file.write(text)

    writer = threading.Thread(target=write)
    writer.start()
    assert read_file(Path(f"/dev/fd/{reading}"), what="input", limit=len(text)) == text
    writer.join(10)
    os.close(reading)


def test_a_pipe_with_too_much_in_it_is_too_long() -> None:
    reading, writing = os.pipe()
    os.write(writing, b"x" * 50)
    os.close(writing)
    with pytest.raises(InputFileError, match="want at most 10"):
        read_file(Path(f"/dev/fd/{reading}"), what="input", limit=10)
    os.close(reading)
