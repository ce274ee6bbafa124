"""The folder that `casemate init` writes: a manifest, a function, its schemas, a test and an input.

The files lie in ``starter_files``: those of every starter in ``common``, those of a template in ``TEMPLATE/common``,
those in one language in ``TEMPLATE/ENGINE``. Names that would be taken for our own code or settings there are spelled
otherwise until they are written.
"""

import json
import re
from collections.abc import Mapping
from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Final

from casemate.images.errors import FolderError
from casemate.wire.errors import os_error_text
from casemate.wire.protocol.manifest import Engine

if TYPE_CHECKING:
    from importlib.resources.abc import Traversable

_UNSAFE = re.compile(r"[^a-z0-9]+", re.ASCII)
_MAX_NAME = 64
_DOTTED = ("gitignore", "gitattributes")
"""Files that get a leading dot when they are written: with it they would affect our own repository."""
_TEMPLATE = ".template"
"""Ending of files that lose it when they are written: without it they would be modules of our own package."""


class Template(StrEnum):
    """What the starter's function does."""

    HELLO = "hello"
    """It rates a password, and keeps nothing."""
    STATE = "state"
    """It has a budget for each caller, in sealed state."""
    SERVICE = "service"
    """A service of two operations, which keeps tallies in sealed state."""


_WORDS: Final[Mapping[Engine, Mapping[str, str]]] = {
    Engine.JAVASCRIPT: {
        "@ENGINE@": "javascript",
        "@MAIN@": "guest/main.js",
        "@PERMISSIONS@": '[]      # what else it may use: "seal", "log", "random", "now"; this function needs none',
        "@MODULES@": "ES modules",
    },
    Engine.PYTHON: {
        "@ENGINE@": "python",
        "@MAIN@": "guest/main.py",
        "@PERMISSIONS@": '["random", "now"] # Python code can be kept from neither; there are "seal" and "log" besides',
        "@MODULES@": "Python modules",
    },
}
"""What stands for the placeholders in files that both languages share."""


def write_starter(
    folder: Path,
    *,
    name: str | None = None,
    engine: Engine = Engine.JAVASCRIPT,
    template: Template = Template.HELLO,
) -> tuple[Path, ...]:
    """Writes the starter into a folder, which it makes; returns the files' paths.

    Args:
        folder: where to write.
        name: the enclave's; None to derive it from the folder's.
        engine: the language of the code.
        template: what it does.

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
    contents = {folder / path: content for path, content in _starter(name, engine, template).items()}
    for path in contents:
        if path.exists():
            raise FolderError(f"{path} is already there; a starter wants a folder of its own")
    try:
        for path, content in contents.items():
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_bytes(content)
    except OSError as error:
        raise FolderError(f"{folder} cannot be written to: {os_error_text(error)}") from None
    return tuple(contents)


def _starter(name: str, engine: Engine, template: Template) -> dict[str, bytes]:
    """The starter's files by their paths, in the order of the paths."""
    from importlib import resources  # here, since `casemate init --help` reads this module for its words alone

    from casemate.images.functions.javascript.author_files import TYPES
    from casemate.images.functions.manifest_schema import FILE_NAME, manifest_schema

    root = resources.files("casemate.images.functions") / "starter_files"
    found: dict[str, bytes] = {FILE_NAME: json.dumps(manifest_schema(), indent=2).encode() + b"\n"}
    if engine is Engine.JAVASCRIPT:
        found[TYPES.name] = TYPES.read_bytes()
    words = {"@NAME@": name, **_WORDS[engine]}
    for part in ("common", f"{template}/common", f"{template}/{engine}"):
        for path, content in template_files(root / part):
            for placeholder, word in words.items():
                content = content.replace(placeholder.encode(), word.encode())  # noqa: PLW2901 - word by word
            found[path] = content
    return dict(sorted(found.items()))


def starter_name(folder: Path) -> str:
    """An enclave's name derived from a folder's: lower-case letters, digits and hyphens."""
    return _named(folder.resolve().name)


def _named(text: str) -> str:
    return _UNSAFE.sub("-", text.lower()).strip("-")[:_MAX_NAME].strip("-") or "enclave"


def template_files(folder: "Traversable", prefix: str = "") -> list[tuple[str, bytes]]:
    """The files of a template with the paths that they will have, in order."""
    found = []
    for item in sorted(folder.iterdir(), key=lambda item: item.name):
        if item.is_dir():
            found += template_files(item, f"{prefix}{item.name}/")
        else:
            name = f".{item.name}" if item.name in _DOTTED else item.name.removesuffix(_TEMPLATE)
            found.append((f"{prefix}{name}", item.read_bytes()))
    return found
