"""Tells when the files change that a function is made of, or is called with."""

import threading
from collections.abc import Callable
from pathlib import Path, PurePath
from typing import Any

from casemate.cli.images import MANIFEST
from casemate.wire.errors import importing

with importing("machine", "watching a folder"):
    import watchfiles

DEBOUNCE = 60
"""Milliseconds within which further changes belong to the first: an editor writes a file in several steps."""

STEP = 20
"""Milliseconds without a change after which the changes before are told."""

_FOLDERS = ("guest", "schemas")


def counts(path: PurePath) -> bool:
    """Whether a file of a function's folder, by its path below that, is built, or holds an input."""
    if any(part.startswith(".") or part == "__pycache__" for part in path.parts) or path.name.endswith(("~", ".pyc")):
        return False
    return path.parts[0] in _FOLDERS or str(path) == MANIFEST or path.suffix == ".json"


class Watching:
    """Watches a folder in a thread of its own, until it is closed."""

    def __init__(self, folder: Path, tell: Callable[[], None]) -> None:
        """``tell`` is called, in that thread, after each change that counts."""
        self._folder = folder.resolve()
        self._tell = tell
        self._end = threading.Event()
        self._thread = threading.Thread(target=self._watch, daemon=True)
        self._thread.start()

    def close(self) -> None:
        """Watches no longer."""
        self._end.set()
        self._thread.join()

    def _watch(self) -> None:
        changes = watchfiles.watch(
            self._folder,
            watch_filter=self._is_wanted,
            debounce=DEBOUNCE,
            step=STEP,
            rust_timeout=200,
            stop_event=self._end,
            raise_interrupt=False,
        )
        for _ in changes:
            self._tell()

    def _is_wanted(self, _change: Any, path: str) -> bool:
        found = Path(path)
        return found != self._folder and found.is_relative_to(self._folder) and counts(found.relative_to(self._folder))
