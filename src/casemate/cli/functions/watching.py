"""Tells when the files change that a function is made of, or is called with."""

import stat
import threading
from collections.abc import Callable
from pathlib import Path, PurePath
from types import TracebackType
from typing import Self

from casemate.cli.images import MANIFEST
from casemate.wire.errors import importing

with importing("machine", "watching a folder"):
    import watchfiles

DEBOUNCE = 60
"""Milliseconds within which further changes belong to the first: an editor writes a file in several steps."""

STEP = 20
"""Milliseconds without a change after which the changes before are told."""

LOOK = 200
"""Milliseconds between two looks whether the folder is still the one that is watched."""

_FOLDERS = ("guest", "schemas")
_INPUTS = (".json", ".stream")


def counts(path: PurePath) -> bool:
    """Whether a file of a function's folder, by its path below that, is built, or holds an input."""
    if any(part.startswith(".") or part == "__pycache__" for part in path.parts) or path.name.endswith(("~", ".pyc")):
        return False
    return path.parts[0] in _FOLDERS or str(path) == MANIFEST or path.suffix in _INPUTS


class Watching:
    """Watches a folder in a thread of its own while the block runs, also one that is removed and comes back."""

    def __init__(
        self,
        folder: Path,
        tell: Callable[[], None],
        *,
        wanted: Callable[[PurePath], bool] = counts,
        inner_folders: bool = True,
    ) -> None:
        """Watches from now on.

        Args:
            folder: that is watched.
            tell: called, in that thread, after each change that counts.
            wanted: which files count, by their paths below the folder.
            inner_folders: whether folders in it are watched, too.
        """
        self._folder = folder.absolute()
        self._tell = tell
        self._wanted = wanted
        self._inner_folders = inner_folders
        self._end = threading.Event()
        self._thread = threading.Thread(target=self._watch, daemon=True)

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._end.set()
        self._thread.join()

    def _watch(self) -> None:
        seen, is_first = _identity(self._folder), True
        while not self._end.is_set():
            if seen is not None:
                self._watch_one(seen, is_first=is_first)
            while (now := _identity(self._folder)) == seen and not self._end.wait(LOOK / 1000):
                pass
            seen, is_first = now, False
            if seen is None and not self._end.is_set():
                self._tell()

    def _watch_one(self, folder: tuple[int, int], *, is_first: bool) -> None:
        """Tells the changes of a folder while it is the one of that name; one that came later is itself a change."""
        place = self._folder.resolve()
        is_told = is_first
        try:
            for changed in watchfiles.watch(
                place,
                watch_filter=lambda _, path: self._is_wanted(place, Path(path)),
                debounce=DEBOUNCE,
                step=STEP,
                rust_timeout=LOOK,
                yield_on_timeout=True,
                stop_event=self._end,
                raise_interrupt=False,
                recursive=self._inner_folders,
            ):
                if changed or not is_told:
                    is_told = True
                    self._tell()
                if _identity(self._folder) != folder:
                    return
        except OSError:  # it has gone since it was looked at
            return

    def _is_wanted(self, place: Path, path: Path) -> bool:
        return path != place and path.is_relative_to(place) and self._wanted(path.relative_to(place))


def watching_file(file: Path, tell: Callable[[], None]) -> Watching:
    """Watches one file, also one that editors write by renaming another."""
    return Watching(file.parent, tell, wanted=lambda path: str(path) == file.name, inner_folders=False)


def _identity(folder: Path) -> tuple[int, int] | None:
    """What tells a folder from another one of its name; None where there is none."""
    try:
        status = folder.stat()
    except OSError:
        return None
    return (status.st_dev, status.st_ino) if stat.S_ISDIR(status.st_mode) else None
