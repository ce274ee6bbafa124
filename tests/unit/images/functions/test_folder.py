import os
from pathlib import Path

import pytest

from casemate.images.errors import FolderError
from casemate.images.functions import folder as module
from casemate.images.functions.folder import measured_files


def _put(folder: Path, *paths: str) -> None:
    for path in paths:
        (folder / path).parent.mkdir(parents=True, exist_ok=True)
        (folder / path).write_bytes(path.encode())


@pytest.fixture
def tree(tmp_path: Path) -> Path:
    _put(tmp_path, "casemate.toml", "guest/main.js", "guest/lib/a.js", "guest/lib.js", "schemas/in.json")
    return tmp_path


def test_measured_files_come_in_the_order_of_their_paths(tree: Path) -> None:
    _put(tree, "casemate.lock", "README.md", "tests/main.test.js", "input.json")
    files = measured_files(tree)
    assert list(files) == sorted(files)
    assert list(files) == [
        "casemate.lock",
        "casemate.toml",
        "guest/lib.js",
        "guest/lib/a.js",
        "guest/main.js",
        "schemas/in.json",
    ]
    assert all(content == path.encode() for path, content in files.items())


def test_leftovers_are_skipped(tree: Path) -> None:
    before = measured_files(tree)
    leftovers = (".DS_Store", ".git/config", ".main.js.swp", "main.js~", "#main.js#", "__pycache__/x.pyc", "x.pyc")
    _put(tree, *(f"guest/{name}" for name in leftovers))
    assert measured_files(tree) == before


def test_a_lock_may_be_missing_but_not_a_manifest(tree: Path) -> None:
    assert "casemate.lock" not in measured_files(tree)
    (tree / "casemate.toml").unlink()
    with pytest.raises(FolderError, match=r"has no casemate\.toml"):
        measured_files(tree)


@pytest.mark.parametrize("path", ["guest/link.js", "guest/lib", "guest", "schemas", "casemate.toml", "casemate.lock"])
def test_refuses_a_symbolic_link_even_to_a_measured_file(tree: Path, path: str) -> None:
    target = tree / "elsewhere"
    if (tree / path).is_dir():
        (tree / path).rename(target)
    else:
        target.write_bytes(b"")
        (tree / path).unlink(missing_ok=True)
    (tree / path).symlink_to(target)
    with pytest.raises(FolderError, match=f"{path} is a symbolic link"):
        measured_files(tree)


def test_refuses_a_pipe_without_waiting_for_it(tree: Path) -> None:
    os.mkfifo(tree / "guest" / "pipe.js")
    with pytest.raises(FolderError, match=r"guest/pipe\.js is of another kind"):
        measured_files(tree)


def test_refuses_a_file_where_a_folder_has_to_be(tree: Path) -> None:
    (tree / "schemas" / "in.json").unlink()
    (tree / "schemas").rmdir()
    _put(tree, "schemas")
    with pytest.raises(FolderError, match="only a folder is measured"):
        measured_files(tree)


@pytest.mark.parametrize("name", ["a b.js", "ä.js", "a\nb.js", "-x.js", "x" * 129])
def test_refuses_a_name_that_is_not_plain(tree: Path, name: str) -> None:
    _put(tree, f"guest/{name}")
    with pytest.raises(FolderError, match="no plain name"):
        measured_files(tree)


def test_refuses_names_that_differ_in_case_alone(tree: Path) -> None:
    _put(tree, "guest/Main.js")
    with pytest.raises(FolderError, match="differ in case alone"):
        measured_files(tree)


def test_refuses_too_much(tree: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "MAX_FILE", 14)
    with pytest.raises(FolderError, match=r"schemas/in\.json is larger than 14 bytes"):
        measured_files(tree)
    monkeypatch.setattr(module, "MAX_ENTRIES", 3)
    with pytest.raises(FolderError, match="more than 3 files"):
        measured_files(tree)


def test_refuses_a_deep_folder(tree: Path) -> None:
    _put(tree, "guest/" + "a/" * 16 + "x.js")
    with pytest.raises(FolderError, match="deeper than 16 folders"):
        measured_files(tree)


def test_refuses_a_folder_that_is_not_there(tmp_path: Path) -> None:
    with pytest.raises(FolderError, match=r"has no casemate\.toml"):
        measured_files(tmp_path / "none")
