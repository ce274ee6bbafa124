"""Where a machine's sockets lie, for processes that listen and processes that connect.

They lie in the state directory. If its path is too long for a Unix socket, they lie in a short folder of this user's
instead, and the state directory has a link to each. A process that connects follows the link, so its environment does
not matter.
"""

import contextlib
import hashlib
import os
import secrets
import socket
import tempfile
from collections.abc import Iterator
from pathlib import Path

from casemate.process.ownership import PlaceError, check_own_folder, make_own_folder
from casemate.wire.errors import os_error_text

MAX_SOCKET_PATH = 100
"""Longest path of a Unix socket (bytes): sun_path holds 104 on macOS and 108 on Linux, with its end."""

OCALLS_LOG = "ocalls.log"
"""Name of the log of the operator's OCALL handlers, in the state directory."""

MEMORY = Path("/dev/shm")  # noqa: S108 - a file system in memory; what is made there is this user's alone
"""Where `casemate up --dev` makes state directories; without it, in the folder for temporary files."""

_HOST, _CONTROL = "host.sock", "control.sock"
_LAST_RESORT = Path("/tmp")  # noqa: S108 - a folder of this user's is made in it, and checked


def default_state_directory() -> Path:
    """``$CASEMATE_STATE``, or ``casemate`` below the user's state directory (XDG)."""
    if named := os.environ.get("CASEMATE_STATE"):
        return Path(named)
    state = os.environ.get("XDG_STATE_HOME")
    return (Path(state) if state else Path.home() / ".local" / "state") / "casemate"


def dev_state_prefix() -> str:
    """How the names of this user's state directories in memory begin."""
    return f"casemate-dev-{os.getuid()}-"


def was_dev_state(state: Path) -> bool:
    """Whether ``state`` is the name of a state directory in memory, be it there or not: it ends with its machine."""
    is_named_so = state.name.startswith(dev_state_prefix())
    return is_named_so and state.absolute().parent in {MEMORY, Path(tempfile.gettempdir())}


def host_directory(state: Path) -> Path:
    """All of a state directory that the untrusted host may touch."""
    return state / "host"


def host_socket(state: Path) -> Path:
    """The socket of a machine's host, for clients."""
    return _place(host_directory(state) / _HOST)


def control_socket(state: Path) -> Path:
    """The socket of a machine's supervisor, for its owner."""
    return _place(state / _CONTROL)


def leads_to_another_user(state: Path) -> bool:
    """Whether the short folder that held the supervisor's socket is another user's now: no machine of ours listens.

    That happens if ``/tmp`` was emptied, as at a restart of the computer, and another user made a folder of that name.
    """
    place = control_socket(state)
    if place == (state / _CONTROL).absolute():
        return False
    try:
        return place.parent.lstat().st_uid != os.geteuid()
    except OSError:
        return False


def leave_places(state: Path) -> None:
    """Removes short folders whose names nobody can guess, at the end of the machine on ``state``, which has its lock.

    Short folders with other names are used again, also by other machines.
    """
    for wanted in (host_directory(state) / _HOST, state / _CONTROL):
        place = _place(wanted)
        folder = place.parent
        if place.name == _short_name(wanted.absolute()) and folder.name.startswith(f"casemate-{os.geteuid()}-"):
            with contextlib.suppress(OSError, PlaceError):
                check_own_folder(folder)
                place.unlink(missing_ok=True)
                wanted.unlink()
                folder.rmdir()


def machine_lock(state: Path) -> Path:
    """The file that is locked (flock) while a machine runs on ``state``; it holds its supervisor's process id."""
    return state / "machine.lock"


def listen_for_clients(state: Path, *, backlog: int) -> socket.socket:
    """The listening socket of a machine's host."""
    return listen(host_directory(state) / _HOST, backlog=backlog)


def listen_for_owner(state: Path) -> socket.socket:
    """The listening socket of a machine's supervisor."""
    return listen(state / _CONTROL)


def listen(wanted: Path, *, backlog: int = 256) -> socket.socket:
    """A listening Unix socket at ``wanted``, or linked there, which its owner alone may connect to.

    Raises:
        PlaceError: the folder is somebody else's, or others may write to it.
    """
    make_own_folder(wanted.parent)
    absolute = wanted.absolute()
    place = absolute if _fits(absolute) else _short(absolute)
    place.unlink(missing_ok=True)
    listener = socket.socket(socket.AF_UNIX)
    try:
        listener.bind(os.fsencode(place))
        place.chmod(0o600)
        listener.listen(backlog)
        if place != absolute:
            _link(absolute, place)
    except BaseException:
        listener.close()
        raise
    return listener


def _fits(path: Path) -> bool:
    return len(os.fsencode(path)) <= MAX_SOCKET_PATH


def _place(wanted: Path) -> Path:
    """``wanted``, or the target of the link there."""
    absolute = wanted.absolute()
    with contextlib.suppress(OSError):
        return absolute.readlink()
    return absolute


def _short(wanted: Path) -> Path:
    """A short path for the socket ``wanted``, in a folder of this user's: the one that it had before, if it had one.

    Other users cannot make all of these folders first, since nobody can guess the name of the last one.
    """
    name = _short_name(wanted)
    refusals = []
    for folder in _short_folders(_place(wanted)):
        if not _fits(folder / name):
            refusals.append(f"{folder} is too long, too")
            continue
        try:
            make_own_folder(folder)
        except PlaceError as error:
            refusals.append(str(error))
            continue
        except OSError as error:
            refusals.append(f"{folder}: {os_error_text(error)}")
            continue
        return folder / name
    raise PlaceError(
        f"{wanted} is longer than {MAX_SOCKET_PATH} bytes, and there is no other place: {'; '.join(refusals)}"
    )


def _short_name(wanted: Path) -> str:
    return f"{hashlib.sha256(os.fsencode(wanted)).hexdigest()[:24]}.sock"


def _short_folders(before: Path) -> Iterator[Path]:
    with contextlib.suppress(OSError, PlaceError):
        check_own_folder(before.parent)
        yield before.parent
    runtime = os.environ.get("XDG_RUNTIME_DIR", "")
    if runtime.startswith("/"):
        yield Path(runtime) / "casemate"
    places = dict.fromkeys((Path(tempfile.gettempdir()), _LAST_RESORT))
    yield from (place / f"casemate-{os.geteuid()}" for place in places)
    yield from (place / f"casemate-{os.geteuid()}-{secrets.token_hex(8)}" for place in places)


def _link(wanted: Path, place: Path) -> None:
    """Makes ``wanted`` a link to ``place``, in one step: a client finds the old link or the new one."""
    draft = wanted.with_name(f".{wanted.name}.{secrets.token_hex(8)}")
    draft.symlink_to(place)
    draft.replace(wanted)
