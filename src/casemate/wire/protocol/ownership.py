"""Whether the numbers that a file system gives of a thing say that it is one user's alone.

:mod:`casemate.process.ownership` asks the system for them, and looks at the way to the thing as well.
"""

from casemate.wire.errors import CasemateError

OTHERS = 0o077
OTHERS_WRITE = 0o022
ANYBODY_WRITES = 0o002
STICKY = 0o1000
"""Of a folder: who may write to it may remove their own things in it alone."""

ROOT = 0
_BITS = 0o7777


class PlaceError(CasemateError):
    """A folder, file or socket is not this user's alone."""


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
