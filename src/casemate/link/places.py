"""Where a machine's sockets lie, for those who listen and those who connect."""

import hashlib
import os
import socket
import tempfile
from pathlib import Path

from casemate.link.ownership import make_own_folder

MAX_SOCKET_PATH = 100
"""Longest path of a Unix socket (bytes): sun_path holds 104 on macOS and 108 on Linux, with its end."""


def default_state_directory() -> Path:
    """``$CASEMATE_STATE``, or ``casemate`` below the user's state directory (XDG)."""
    if named := os.environ.get("CASEMATE_STATE"):
        return Path(named)
    state = os.environ.get("XDG_STATE_HOME")
    return (Path(state) if state else Path.home() / ".local" / "state") / "casemate"


def host_directory(state: Path) -> Path:
    """All of a state directory that the untrusted host may touch."""
    return state / "host"


def host_socket(state: Path) -> Path:
    """Where clients reach a machine's host."""
    return _short(host_directory(state) / "host.sock")


def control_socket(state: Path) -> Path:
    """Where a machine's owner reaches its supervisor."""
    return _short(state / "control.sock")


def machine_lock(state: Path) -> Path:
    """A file that is locked (flock) while a machine runs on ``state``, and says its supervisor's process id."""
    return state / "machine.lock"


def _short(wanted: Path) -> Path:
    """``wanted``, or where that is too long for a Unix socket, a path derived from it in a folder of this user's."""
    absolute = wanted.absolute()
    if len(os.fsencode(absolute)) <= MAX_SOCKET_PATH:
        return absolute
    folder = Path(tempfile.gettempdir()) / f"casemate-{os.getuid()}"
    return folder / f"{hashlib.sha256(os.fsencode(absolute)).hexdigest()[:24]}.sock"


def listen(path: Path, *, backlog: int = 256) -> socket.socket:
    """A listening Unix socket at ``path``, which its owner alone may connect to.

    Raises:
        PlaceError: the folder is somebody else's, or others may write to it.
    """
    make_own_folder(path.parent)
    path.unlink(missing_ok=True)
    listener = socket.socket(socket.AF_UNIX)
    listener.bind(os.fsencode(path))
    path.chmod(0o600)
    listener.listen(backlog)
    return listener
