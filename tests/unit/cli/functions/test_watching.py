import queue
import time
from pathlib import Path, PurePath

import pytest

from casemate.cli.functions.watching import Watching, counts


@pytest.mark.parametrize(
    ("path", "wanted"),
    [
        ("casemate.toml", True),
        ("guest/main.js", True),
        ("guest/words/index.py", True),
        ("schemas/a.json", True),
        ("input.json", True),
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


def test_several_steps_of_one_save_are_told_once(tmp_path: Path) -> None:
    (tmp_path / "guest").mkdir()
    told: queue.SimpleQueue[float] = queue.SimpleQueue()
    watching = Watching(tmp_path, lambda: told.put(time.monotonic()))
    try:
        deadline = time.monotonic() + 10
        while told.empty():  # until the watch has begun
            assert time.monotonic() < deadline
            (tmp_path / "guest" / "main.js").write_text("a")
            time.sleep(0.2)
        while not told.empty():
            told.get()
        time.sleep(0.3)
        (tmp_path / "guest" / "main.js").write_text("b")
        (tmp_path / "guest" / "main.js").write_text("c")
        told.get(timeout=10)
        time.sleep(0.3)
        assert told.empty()
        (tmp_path / "notes.txt").write_text("x")
        time.sleep(0.3)
        assert told.empty()
    finally:
        watching.close()
