"""Firmware's pages, hashed by two processes: the same hashes as those of one, and the same errors."""

import hashlib
import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from casemate.cli.files import FileContent, InputFileError, opened_file
from casemate.cli.snp import firmware_hashes, page_hasher
from casemate.cli.snp.firmware_hashes import hash_on_two_processors
from casemate.wire.snp.page_info import PAGE_SIZE

PAGES = 401
SAME = range(150, 250)
"""Pages that are equal, on both sides of the middle."""


@pytest.fixture
def path(tmp_path: Path) -> Path:
    pages = [b"\xff" * PAGE_SIZE if number in SAME else os.urandom(PAGE_SIZE) for number in range(PAGES)]
    path = tmp_path / "OVMF.fd"
    path.write_bytes(b"".join(pages))
    return path


@pytest.fixture
def content(path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[FileContent]:
    monkeypatch.setattr(firmware_hashes, "WORTH_A_PROCESS", PAGE_SIZE)
    with opened_file(path, what="firmware", limit=1 << 30) as content:
        assert isinstance(content, FileContent)
        yield content


@pytest.fixture
def wanted(path: Path) -> list[bytes]:
    data = path.read_bytes()
    return [hashlib.sha384(data[at : at + PAGE_SIZE]).digest() for at in range(0, len(data), PAGE_SIZE)]


@pytest.fixture
def started(monkeypatch: pytest.MonkeyPatch) -> "list[subprocess.Popen[bytes]]":
    """The processes that were started."""
    processes = []
    init = subprocess.Popen.__init__

    def note(self: "subprocess.Popen[bytes]", *arguments: object, **options: object) -> None:
        init(self, *arguments, **options)  # type: ignore[call-overload]
        processes.append(self)

    monkeypatch.setattr(subprocess.Popen, "__init__", note)
    return processes


def test_another_process_hashes_the_second_half(
    content: FileContent, wanted: list[bytes], started: "list[subprocess.Popen[bytes]]"
) -> None:
    assert list(hash_on_two_processors(content)) == wanted
    assert [process.returncode for process in started] == [0]


def test_small_firmware_is_hashed_here(
    path: Path, wanted: list[bytes], started: "list[subprocess.Popen[bytes]]"
) -> None:
    with opened_file(path, what="firmware", limit=1 << 30) as content:
        assert list(hash_on_two_processors(content)) == wanted
    assert started == []


def test_hashes_here_if_the_other_process_fails(
    content: FileContent, wanted: list[bytes], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(page_hasher, "__file__", "/nowhere/page_hasher.py")
    assert list(hash_on_two_processors(content)) == wanted


def test_hashes_here_if_no_process_can_be_started(
    content: FileContent, wanted: list[bytes], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sys, "executable", "/nowhere/python")
    assert list(hash_on_two_processors(content)) == wanted


@pytest.mark.parametrize("left", [10, 300])
def test_a_file_that_becomes_shorter_is_refused(
    content: FileContent, path: Path, left: int, started: "list[subprocess.Popen[bytes]]"
) -> None:
    os.truncate(path, left * PAGE_SIZE)
    with pytest.raises(InputFileError, match="became shorter"):
        list(hash_on_two_processors(content))
    assert [process.returncode is None for process in started] == [False]


def test_an_unfinished_measurement_leaves_no_process(
    content: FileContent, started: "list[subprocess.Popen[bytes]]"
) -> None:
    hashes = hash_on_two_processors(content)
    next(hashes)
    del hashes
    assert [process.returncode is None for process in started] == [False]
