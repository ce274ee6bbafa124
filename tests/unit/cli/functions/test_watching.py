import queue
import shutil
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path, PurePath

import pytest

from casemate.cli.functions.watching import Watching, counts, watching_file


@pytest.mark.parametrize(
    ("path", "wanted"),
    [
        ("casemate.toml", True),
        ("guest/main.js", True),
        ("guest/words/index.py", True),
        ("schemas/a.json", True),
        ("input.json", True),
        ("input.stream", True),
        ("tests/cases/x/input.json", True),
        ("casemate.lock", False),
        ("README.md", False),
        ("tests/main.test.js", False),
        ("guest/.main.js.swp", False),
        ("guest/main.js~", False),
        ("guest/__pycache__/main.pyc", False),
        (".git/index.json", False),
        ("x/casemate.toml", False),
    ],
)
def test_what_is_built_or_an_input_counts(path: str, wanted: bool) -> None:
    assert counts(PurePath(path)) is wanted


LONG = 30.0
"""Seconds after which a change was surely noticed, on a busy computer."""


class Told:
    """How often a change was told."""

    def __init__(self) -> None:
        self._news: queue.SimpleQueue[None] = queue.SimpleQueue()

    def __call__(self) -> None:
        self._news.put(None)

    def wait(self) -> None:
        self._news.get(timeout=LONG)

    def wait_while(self, do: Callable[[], object]) -> None:
        """Does something again and again until it was told: a watch begins some time after it was made."""
        done = threading.Event()

        def repeat() -> None:
            while not done.is_set():
                do()
                done.wait(0.3)

        repeating = threading.Thread(target=repeat)
        repeating.start()
        try:
            self.wait()
        finally:
            done.set()
            repeating.join()

    def settle(self) -> None:
        """Forgets all that is told up to half a second of silence."""
        while not self.is_silent():
            pass

    def is_silent(self) -> bool:
        try:
            self._news.get(timeout=0.5)
        except queue.Empty:
            return True
        return False


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    made = tmp_path / "function"
    (made / "guest").mkdir(parents=True)
    return made


@contextmanager
def watched(folder: Path) -> Iterator[Told]:
    told = Told()
    with Watching(folder, told):
        told.wait_while(lambda: (folder / "guest" / "main.js").write_text("begin"))
        told.settle()
        yield told


def test_only_what_counts_is_told(folder: Path) -> None:
    with watched(folder) as told:
        (folder / "notes.txt").write_text("x")
        (folder / "guest" / "main.js").write_text("b")
        (folder / "guest" / "main.js").write_text("c")
        told.wait()
        told.settle()
        (folder / "notes.txt").write_text("y")
        assert told.is_silent()


def test_an_editor_may_write_by_renaming(folder: Path) -> None:
    with watched(folder) as told:
        (folder / "guest" / ".main.js.tmp").write_text("new")
        assert told.is_silent()
        (folder / "guest" / ".main.js.tmp").rename(folder / "guest" / "main.js")
        told.wait()


def test_a_folder_that_is_removed_and_comes_back_is_watched_on(folder: Path, tmp_path: Path) -> None:
    with watched(folder) as told:
        shutil.rmtree(folder)
        told.wait()
        told.settle()
        (tmp_path / "other" / "guest").mkdir(parents=True)
        (tmp_path / "other").rename(folder)
        told.wait()
        told.settle()
        (folder / "guest" / "main.js").write_text("again")
        told.wait()


def test_a_folder_that_another_one_replaces_is_watched_on(folder: Path, tmp_path: Path) -> None:
    with watched(folder) as told:
        (tmp_path / "other" / "guest").mkdir(parents=True)
        folder.rename(tmp_path / "before")
        (tmp_path / "other").rename(folder)
        told.wait()
        told.settle()
        (folder / "guest" / "main.js").write_text("again")
        told.wait()


def test_of_one_file_its_own_changes_are_told_alone(tmp_path: Path) -> None:
    file = tmp_path / "handlers.py"
    told = Told()
    with watching_file(file, told):
        told.wait_while(lambda: file.write_text("begin"))
        told.settle()
        (tmp_path / "guest").mkdir()
        (tmp_path / "guest" / "handlers.py").write_text("x")
        (tmp_path / "other.py").write_text("x")
        assert told.is_silent()
        file.write_text("more")
        told.wait()


def test_a_watch_of_a_folder_that_is_not_there_ends(tmp_path: Path) -> None:
    told = Told()
    with Watching(tmp_path / "none", told):
        assert told.is_silent()
