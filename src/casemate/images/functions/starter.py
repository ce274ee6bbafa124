"""The folder that `casemate init` writes: a manifest, a function, its schemas, a test and an input."""

import re
from importlib import resources
from importlib.resources.abc import Traversable
from pathlib import Path

from casemate.images.errors import FolderError
from casemate.wire.errors import os_error_text

_PLACEHOLDER = b"@NAME@"
_UNSAFE = re.compile(r"[^a-z0-9]+", re.ASCII)
_MAX_NAME = 64
_DOTTED = ("gitignore", "gitattributes")
"""Files that get a leading dot when they are written: with it they would affect our own repository."""


def write_starter(folder: Path, *, name: str | None = None) -> tuple[Path, ...]:
    """Writes the starter into a folder, which it makes; returns the files' paths.

    Args:
        folder: where to write.
        name: the enclave's; None to derive it from the folder's.

    Raises:
        FolderError: a file is already there (then nothing is written), the folder cannot be written to, or a
            manifest does not accept the name.
    """
    if name is None:
        name = starter_name(folder)
    elif name != _named(name):
        raise FolderError(
            f"name is {name[:80]!r}, want lower-case letters, digits and inner hyphens, at most {_MAX_NAME}"
        )
    template = template_files(resources.files("casemate.images.functions") / "starter_files")
    contents = {folder / path: content for path, content in template}
    for path in contents:
        if path.exists():
            raise FolderError(f"{path} is already there; a starter wants a folder of its own")
    try:
        for path, content in contents.items():
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_bytes(content.replace(_PLACEHOLDER, name.encode()))
    except OSError as error:
        raise FolderError(f"{folder} cannot be written to: {os_error_text(error)}") from None
    return tuple(contents)


def starter_name(folder: Path) -> str:
    """An enclave's name derived from a folder's: lower-case letters, digits and hyphens."""
    return _named(folder.resolve().name)


def _named(text: str) -> str:
    return _UNSAFE.sub("-", text.lower()).strip("-")[:_MAX_NAME].strip("-") or "enclave"


def template_files(folder: Traversable, prefix: str = "") -> list[tuple[str, bytes]]:
    """The template's files with their paths, in order."""
    found = []
    for item in sorted(folder.iterdir(), key=lambda item: item.name):
        if item.is_dir():
            found += template_files(item, f"{prefix}{item.name}/")
        else:
            name = f".{item.name}" if item.name in _DOTTED else item.name
            found.append((f"{prefix}{name}", item.read_bytes()))
    return found
