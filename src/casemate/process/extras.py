"""Which optional parts of Casemate are installed, and where."""

import os
import sys
from importlib.util import find_spec
from pathlib import Path

from casemate.wire.errors import MissingExtraError, UnreadableExtraError

MODULES = {
    "machine": (
        "Crypto",
        "OpenSSL",
        "deno",
        "fastapi",
        "jsonschema_rs",
        "prometheus_client",
        "tree_sitter",
        "tree_sitter_javascript",
        "uvicorn",
        "watchfiles",
    ),
    "vm": ("keystone", "unicorn"),
}
"""The modules that each extra's packages provide; a test compares them with the package's metadata."""


def check_extra(extra: str, what: str) -> None:
    """Looks whether all packages of an extra are there; nothing is imported.

    Args:
        extra: its name.
        what: what is to be done with it, as the subject of a sentence.

    Raises:
        MissingExtraError: one is not, or this user may not read it.
    """
    names = MODULES[extra]
    missing = [name for name in names if find_spec(name) is None]
    hidden = next(filter(None, map(_unreadable, missing)), "")
    if hidden:
        raise UnreadableExtraError(extra, what, hidden)
    if missing:
        is_are = "is" if len(missing) == 1 else "are"
        fault = "" if len(missing) == len(names) else f"{', '.join(missing)} {is_are} not installed"
        raise MissingExtraError(extra, what, fault)


def _unreadable(module: str) -> str:
    """Where a module lies that cannot be found since this user may not look there; empty where that is not so."""
    places = (Path(folder) / module for folder in sys.path)
    return next((str(at) for at in places if os.path.lexists(at) and not os.access(at, os.R_OK | os.X_OK)), "")


def engine_binary(what: str) -> Path:
    """The Deno binary of its package.

    Args:
        what: what is to be done with it, as the subject of a sentence.

    Raises:
        MissingExtraError: the package is not installed, or its binary is not there.
    """
    from importlib import metadata

    try:
        files = metadata.distribution("deno").files or ()
    except metadata.PackageNotFoundError:
        raise MissingExtraError("machine", what, "deno is not installed") from None
    for file in files:
        if file.name == "deno" and file.parent.name == "bin":
            binary = Path(str(file.locate())).resolve()
            if binary.is_file():
                return binary
            raise MissingExtraError("machine", what, f"{binary} is missing", damaged=True)
    raise MissingExtraError("machine", what, "the package deno has no binary", damaged=True)
