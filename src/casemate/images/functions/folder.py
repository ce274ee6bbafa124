"""The measured files of a folder, and their bytes.

Measured: ``casemate.toml``, ``casemate.lock``, and everything in ``guest/`` and ``schemas/``. Other files (tests, a
README, input files) are not in the image and may change freely.

Skipped in these folders: names that begin with ``.``, end with ``~`` or ``.pyc``, ``#...#`` and ``__pycache__``, which
editors, file managers and interpreters leave behind. The guest cannot import a skipped file, so a mistake is noticed.
Anything else that is not a plain file or folder with a plain name is refused: a link would measure a file elsewhere.
"""

import os
import re
import stat
from collections.abc import Callable, Iterator
from pathlib import Path

from casemate.images.errors import FolderError
from casemate.wire.errors import os_error_text
from casemate.wire.protocol.image_index import LOCK_PATH, MANIFEST_PATH, MAX_ENTRIES

MEASURED_FOLDERS = ("guest", "schemas")

MAX_FILE = 32 * 1024 * 1024
"""Largest measured file (bytes): half of the largest enclave."""
MAX_DEPTH = 16
"""Deepest folder."""

_PLAIN = re.compile(r"[A-Za-z0-9_@+][A-Za-z0-9_@+.-]{0,127}", re.ASCII)
_LEFTOVER = re.compile(r"\..*|.*~|#.*#|.*\.pyc|__pycache__", re.DOTALL)


def measured_files(folder: Path) -> dict[str, bytes]:
    """The measured files by their paths with ``/``, in the order of the paths.

    Times, modes and owners do not count. The manifest must be there; the lock may be missing.

    Raises:
        FolderError: a file that cannot be measured, or too many of them.
    """
    found: dict[str, bytes] = {}
    for path in _paths(folder):
        if len(found) == MAX_ENTRIES:
            raise FolderError(f"{folder} has more than {MAX_ENTRIES} files to measure")
        found[path] = _read(folder, path)
    if MANIFEST_PATH not in found:
        raise FolderError(f"{folder} has no {MANIFEST_PATH}: `casemate init` makes a folder that has")
    _check_case(found)
    return dict(sorted(found.items()))


def _paths(folder: Path) -> Iterator[str]:
    """The paths of all files to measure, in no order."""
    for name in (MANIFEST_PATH, LOCK_PATH):
        if os.path.lexists(folder / name):
            yield name
    for name in MEASURED_FOLDERS:
        if os.path.lexists(folder / name):
            _check_kind(folder, name, stat.S_ISDIR, "a folder")
            yield from _below(folder, name, MAX_DEPTH)


def _below(folder: Path, path: str, depth: int) -> Iterator[str]:
    """The paths of the files in one folder and the folders inside."""
    if depth == 0:
        raise FolderError(f"{path} lies deeper than {MAX_DEPTH} folders")
    try:
        entries = list(os.scandir(folder / path))
    except OSError as error:
        raise FolderError(f"{path} cannot be listed: {os_error_text(error)}") from None
    for entry in entries:
        if _LEFTOVER.fullmatch(entry.name):
            continue
        if not _PLAIN.fullmatch(entry.name):
            raise FolderError(f"{path}/{entry.name!r} has no plain name: letters, digits and _ @ + . - are measured")
        inner = f"{path}/{entry.name}"
        if entry.is_dir(follow_symlinks=False):
            yield from _below(folder, inner, depth - 1)
        else:
            yield inner


def _read(folder: Path, path: str) -> bytes:
    """The bytes of one plain file."""
    _check_kind(folder, path, stat.S_ISREG, "a plain file")
    try:
        with open(folder / path, "rb", opener=_without_links) as file:
            content = file.read(MAX_FILE + 1)
    except OSError as error:
        raise FolderError(f"{path} cannot be read: {os_error_text(error)}") from None
    if len(content) > MAX_FILE:
        raise FolderError(f"{path} is larger than {MAX_FILE} bytes")
    return content


def _without_links(path: str, flags: int) -> int:
    """Opens a file; refuses one that was replaced by a symbolic link or a device after it was checked."""
    return os.open(path, flags | os.O_NOFOLLOW | os.O_NONBLOCK)


def _check_kind(folder: Path, path: str, is_kind: Callable[[int], bool], want: str) -> None:
    """Refuses links, devices, pipes and the like."""
    try:
        mode = os.lstat(folder / path).st_mode
    except OSError as error:
        raise FolderError(f"{path} cannot be read: {os_error_text(error)}") from None
    if not is_kind(mode):
        kind = "a symbolic link" if stat.S_ISLNK(mode) else "of another kind"
        raise FolderError(f"{path} is {kind}, only {want} is measured")


def _check_case(found: dict[str, bytes]) -> None:
    """Refuses names that differ in case only.

    Some file systems cannot tell them apart, and the image would depend on where it was built.
    """
    seen: dict[str, str] = {}
    for path in found:
        if (other := seen.setdefault(path.lower(), path)) != path:
            raise FolderError(f"{path} and {other} differ in case alone")
