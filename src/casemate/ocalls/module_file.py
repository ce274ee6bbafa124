"""Reads the operator's module, if nobody but the operator and root could have written it."""

import os
from pathlib import Path

from casemate.ocalls.errors import HandlersError
from casemate.process.ownership import ROOT, PlaceError, check_own, check_way
from casemate.process.plain_file import open_plain
from casemate.wire.errors import os_error_text

MAX_MODULE = 4 * 1024 * 1024
"""Longest module (bytes): anything longer is some other file."""


def read_module(path: Path) -> bytes:
    """The source of the module at ``path``.

    Its folder counts, too, since the module may import what lies beside it.

    Raises:
        HandlersError: it cannot be read, or somebody else could have written it.
    """
    try:
        check_way(path)
        _check_own(path.parent, path.parent.stat())
        with os.fdopen(open_plain(path), "rb") as file:
            _check_own(path, os.fstat(file.fileno()))
            source = file.read(MAX_MODULE + 1)
    except PlaceError as error:
        raise HandlersError(f"{error}; what it says would run with your rights") from None
    except OSError as error:
        raise HandlersError(f"{path}: {os_error_text(error)}") from None
    if len(source) > MAX_MODULE:
        raise HandlersError(f"{path} is longer than {MAX_MODULE} bytes, want a Python module")
    return source


def _check_own(path: Path, status: os.stat_result) -> None:
    user = ROOT if status.st_uid == ROOT else os.geteuid()
    check_own(str(path), uid=status.st_uid, mode=status.st_mode, user=user, private=False, mend="chmod go-w")
