"""Whose a folder, file or socket is: the one place that decides whether it belongs to this user alone.

A path is looked at from ``/`` on, one name after the other, and no link is followed unseen. A folder on the way must be
root's or this user's, and nobody else may write to it, so that what was looked at stays what it is while the path is
used. Two exceptions:

* a folder such as ``/tmp``, to which all may write and from which all may remove their own things alone (the sticky
  bit); then the next name must be root's or this user's;
* a folder to which this user's own group may write, where nobody else is in that group (the usual ``umask 002``).

Links on the way are followed if they are root's or this user's, such as a ``/home`` that is elsewhere; their targets
are looked at in the same way. What is at the end must be this user's, and others must not be able to write to it.

Whoever owns ``/`` counts as root: in a user namespace without root, that is how root looks. Access control lists need
no look of their own on Linux: what they allow anybody beside the owner shows in the group's bits (acl(5)). macOS does
not show them there, and they are not looked at.
"""

import os
import socket
import stat
import struct
from pathlib import Path

from casemate.process.plain_file import NoPlainFileError, open_plain
from casemate.wire.errors import CasemateError

OTHERS = 0o077
OTHERS_WRITE = 0o022
ANYBODY_WRITES = 0o002
STICKY = 0o1000
"""The sticky bit of a folder: users with write access can remove only their own entries."""

ROOT = 0
_BITS = 0o7777

MAX_LINKS = 40
"""Links that are followed for one path, as the kernel does (path_resolution(7))."""

_FOLDER_MODE = 0o700

_UCRED = struct.Struct("3i")
"""SO_PEERCRED's struct ucred on Linux: process id, user id, group id."""
_LOCAL_PEERCRED = 0x001
"""sys/un.h on macOS; Python does not name it."""
_XUCRED_SIZE, _XUCRED_UID = 76, slice(4, 8)


class PlaceError(CasemateError):
    """A folder, file or socket is not this user's alone."""


def check_way(path: Path) -> None:
    """Refuses a path on which another user could put something else in place of what is there.

    What is missing on the way is no fault; what the path ends at is not looked at, only that it cannot be exchanged.

    Raises:
        PlaceError: it could; or a link on the way leads nowhere.
        OSError: a folder cannot be looked at.
    """
    place = Path("/")
    names: list[tuple[str, Path | None]] = [(name, None) for name in reversed(_absolute(path).parts[1:])]
    followed = 0
    while names:
        status = _looked_at(place)
        is_sticky = _check_parent(path, place, status)
        name, from_link = names.pop()
        if name == "..":
            place = place.parent
            continue
        entry = place / name
        try:
            status = entry.lstat()
        except FileNotFoundError:
            if from_link is not None:
                raise PlaceError(
                    f"{path}: {from_link} is a link to {from_link.readlink()}, which is not there"
                ) from None
            return
        if (is_sticky or stat.S_ISLNK(status.st_mode)) and status.st_uid not in _trusted():
            kind = "a link" if stat.S_ISLNK(status.st_mode) else "there"
            raise PlaceError(
                f"{path}: {entry} is {kind}, and user {status.st_uid}'s; want this user's ({os.geteuid()})"
            )
        if not stat.S_ISLNK(status.st_mode):
            place = entry
            continue
        followed += 1
        if followed > MAX_LINKS:
            raise PlaceError(f"{path}: more than {MAX_LINKS} links are on the way")
        target = entry.readlink()
        parts = target.parts[1:] if target.is_absolute() else target.parts
        names += [(part, entry) for part in reversed(parts)]
        if target.is_absolute():
            place = Path("/")


def check_own_folder(path: Path, *, private: bool = False) -> None:
    """Refuses all but a folder of this user's, to which nobody else can write and which nobody else can exchange.

    Args:
        path: the folder; the last name may be a link, see the module.
        private: others must not even look into it.

    Raises:
        PlaceError: it is something else, or somebody else's.
        FileNotFoundError: it is not there.
    """
    check_way(path)
    status = path.stat()
    if not stat.S_ISDIR(status.st_mode):
        raise PlaceError(f"{path} is no folder, want one of this user's")
    _check_own(path, status, private=private, mend=f"chmod {'700' if private else 'go-w'}")


def make_own_folder(path: Path, *, private: bool = False) -> None:
    """Makes a folder of mode 0700, and those above it that are missing; one that is there must be this user's alone.

    Raises:
        PlaceError: it is something else, or somebody else's; nothing has been made then.
    """
    check_way(path)
    if not os.path.lexists(path):
        missing = [path]
        while not os.path.lexists(missing[-1].parent):
            missing.append(missing[-1].parent)
        for folder in reversed(missing):
            folder.mkdir(mode=_FOLDER_MODE, exist_ok=True)  # another process of this user's may be faster
    check_own_folder(path, private=private)


def open_own_file(path: Path, flags: int, *, private: bool = False) -> int:
    """A descriptor of a file of this user's, in a folder of this user's; made with mode 0600 where ``flags`` say so.

    Args:
        path: the file; its last name must not be a link.
        flags: as for :func:`os.open`; what was there is cut off only once it is known whose it is.
        private: others must not be able to read it either.

    Raises:
        PlaceError: the file or its folder is something else, or somebody else's.
        OSError: it cannot be opened.
    """
    check_own_folder(path.parent)
    try:
        descriptor = open_plain(path, flags & ~os.O_TRUNC)
    except NoPlainFileError as error:
        raise PlaceError(str(error)) from None
    try:
        status = os.fstat(descriptor)
        _check_own(path, status, private=private, mend=f"chmod {'600' if private else 'go-w'}")
        if flags & os.O_TRUNC:
            os.ftruncate(descriptor, 0)
    except BaseException:
        os.close(descriptor)
        raise
    return descriptor


def read_own_secret(path: Path, limit: int) -> bytes:
    """Up to ``limit`` bytes of a file that nobody but this user, and root, could have written or can read.

    The way to it may be anybody's, since what is read is what was looked at: nobody else can put a file there that is
    this user's and private. A pipe, which a shell makes of ``<(...)``, is taken, too.

    Raises:
        PlaceError: others could read it, or it is somebody else's, or no file.
        OSError: it cannot be read.
    """
    descriptor = os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_NOCTTY | os.O_CLOEXEC)
    with os.fdopen(descriptor, "rb") as file:
        status = os.fstat(descriptor)
        if not stat.S_ISREG(status.st_mode) and not stat.S_ISFIFO(status.st_mode):
            raise PlaceError(f"{path} is no file")
        check_secret(str(path), uid=status.st_uid, mode=status.st_mode, user=os.geteuid())
        os.set_blocking(descriptor, True)
        return file.read(limit)


def connected(path: Path, timeout: float | None = None) -> socket.socket:
    """A Unix socket that is connected to this user's own process; it blocks, and waits so many seconds at most.

    Raises:
        PlaceError: the socket, or who answers, is another user's.
        OSError: nobody listens there.
    """
    check_own_socket(path)
    sock = socket.socket(socket.AF_UNIX)
    try:
        sock.settimeout(timeout)
        sock.connect(os.fsencode(path))
        check_peer(sock, path)
        sock.settimeout(None)
    except BaseException:
        sock.close()
        raise
    return sock


def check_own_socket(path: Path) -> None:
    """Refuses a socket that another user could have made: before connecting to it.

    Raises:
        PlaceError: its folder or itself is somebody else's.
        FileNotFoundError: there is none.
    """
    check_own_folder(path.parent)
    status = path.lstat()
    if not stat.S_ISSOCK(status.st_mode):
        raise PlaceError(f"{path} is no socket, want one")
    check_owner(str(path), status.st_uid, os.geteuid())


def check_peer(sock: socket.socket, path: Path) -> None:
    """Refuses a peer that is another user's: after connecting to the socket at ``path``, and before a word is sent."""
    check_owner(f"who listens at {path}", peer_uid(sock), os.geteuid())


def check_client(sock: socket.socket) -> None:
    """Refuses a client that is neither this user nor root: the mode of the socket's file keeps others out already."""
    uid = peer_uid(sock)
    if uid != ROOT:
        check_owner("who connects", uid, os.geteuid())


def peer_uid(sock: socket.socket) -> int:
    """The user id of the process at the other end of a Unix socket, as the kernel recorded it when they connected."""
    if hasattr(socket, "SO_PEERCRED"):
        uid: int = _UCRED.unpack(sock.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, _UCRED.size))[1]
        return uid
    return int.from_bytes(sock.getsockopt(0, _LOCAL_PEERCRED, _XUCRED_SIZE)[_XUCRED_UID], "little")


def check_owner(what: str, uid: int, user: int) -> None:
    """Refuses what is not this user's."""
    if uid != user:
        raise PlaceError(f"{what} is of user {uid}, want this user's ({user})")


def check_own(what: str, *, uid: int, mode: int, user: int, private: bool, mend: str) -> None:
    """Refuses what is not this user's, or what others could write to.

    Args:
        what: its path.
        uid: whose it is.
        mode: its permissions (st_mode).
        user: this user.
        private: others must not be able to read it either.
        mend: the permissions that it should have, for chmod(1).
    """
    check_owner(what, uid, user)
    if not mode & (OTHERS if private else OTHERS_WRITE):
        return
    can = "write to it" if mode & OTHERS_WRITE else "look into it"
    advice = "it is everybody's; want a folder of its own, such as one in it" if mode & STICKY else f"{mend} {what}"
    raise PlaceError(f"{what} has mode {mode & _BITS:04o}, others can {can}: {advice}")


def check_secret(what: str, *, uid: int, mode: int, user: int) -> None:
    """Refuses a file that anybody but this user and root could have written, or can read."""
    if uid != ROOT:
        check_owner(what, uid, user)
    if mode & OTHERS:
        raise PlaceError(f"{what} has mode {mode & _BITS:04o}, others could read it: chmod 600 {what}")


def _absolute(path: Path) -> Path:
    try:
        str(path).encode()
    except UnicodeEncodeError:
        raise PlaceError(f"{os.fsencode(path)!r} is not UTF-8, want a path that is") from None
    if "\0" in str(path):
        raise PlaceError(f"{str(path)!r}: no file can have this name")
    return path.absolute()


def _looked_at(folder: Path) -> os.stat_result:
    status = folder.lstat()
    if not stat.S_ISDIR(status.st_mode):
        raise PlaceError(f"{folder} is no folder")
    return status


def _trusted() -> set[int]:
    """Who may own what is on the way: this user, root, and whoever can replace the whole file system."""
    return {ROOT, os.geteuid(), Path("/").lstat().st_uid}


def _check_parent(path: Path, folder: Path, status: os.stat_result) -> bool:
    """Whether it is one in which each may remove his own things alone."""
    if status.st_uid not in _trusted():
        raise PlaceError(
            f"{path}: {folder} is of user {status.st_uid}, who can put anything there; "
            f"want folders of this user ({os.geteuid()}) or root"
        )
    if not status.st_mode & OTHERS_WRITE:
        return False
    if status.st_mode & STICKY:
        return True
    if status.st_mode & ANYBODY_WRITES or not _is_private_group(status):
        mode = stat.S_IMODE(status.st_mode)
        raise PlaceError(f"{path}: {folder} has mode {mode:04o}, others can put anything there: chmod go-w {folder}")
    return False


def _is_private_group(status: os.stat_result) -> bool:
    """Whether the group of a folder is its owner's own: of the same name, and with no other member."""
    import grp
    import pwd

    try:
        owner, group = pwd.getpwuid(status.st_uid), grp.getgrgid(status.st_gid)
    except KeyError:
        return False
    return owner.pw_gid == group.gr_gid and group.gr_name == owner.pw_name and set(group.gr_mem) <= {owner.pw_name}


def _check_own(path: Path, status: os.stat_result, *, private: bool, mend: str) -> None:
    check_own(str(path), uid=status.st_uid, mode=status.st_mode, user=os.geteuid(), private=private, mend=mend)
