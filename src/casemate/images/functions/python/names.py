"""The names of a Python guest's modules: each can be imported, means one file, and hides nothing of the runtime's."""

import keyword
from collections.abc import Iterable
from pathlib import PurePosixPath

from casemate.images.errors import SourceError
from casemate.images.functions.python.sources import module_name
from casemate.images.functions.python.standard_library import BROUGHT_ALONG, STUBS, is_standard
from casemate.images.layout import GUEST

_NATIVE = (".so", ".pyd", ".dylib", ".dll")
_PYTHON = ".py"


def check_names(paths: Iterable[str]) -> None:
    """Refuses files below ``guest/`` that nobody could import, or that would be imported in place of others.

    Raises:
        SourceError: names the file.
    """
    found: dict[str, str] = {}
    for path in paths:
        if path.endswith(_NATIVE):
            raise SourceError(path, 1, 1, "native code cannot be loaded in an enclave: its pages are never executable")
        if path.endswith(_PYTHON):
            _check_name(path)
            name = module_name(path)
            if (other := found.setdefault(name, path)) != path:
                raise SourceError(path, 1, 1, f"{other} and this file are both the module {name}")
    for name, path in found.items():
        for folder in _folders_of(name):
            hiding = found.get(folder, "")
            if hiding and not hiding.endswith("/__init__.py"):
                reason = f"the module {folder} hides the folder of {path}: give one of them another name"
                raise SourceError(hiding, 1, 1, reason)


def _folders_of(name: str) -> list[str]:
    """The dotted names of the folders that a module lies in."""
    return [name[:at] for at, character in enumerate(name) if character == "."]


def _check_name(path: str) -> None:
    parts = PurePosixPath(path.removeprefix(GUEST)).with_suffix("").parts
    if parts == ("__init__",):
        raise SourceError(path, 1, 1, f"{GUEST} is where imports start and no package: nobody would run this file")
    for part in parts:
        if not part.isidentifier() or keyword.iskeyword(part):
            raise SourceError(path, 1, 1, f"{part!r} is not a name that Python can import: letters, digits and _")
    first = parts[0]
    if first == STUBS.partition(".")[0] or first in BROUGHT_ALONG:
        raise SourceError(path, 1, 1, f"the runtime has a package {first} of its own: give this one another name")
    if is_standard(first) or first == "__main__":
        reason = f"this would be imported in place of the standard library's {first}: give it another name"
        raise SourceError(path, 1, 1, reason)
