"""Rights that a process gives up: its starter's user id, and what set-uid programs would give it."""

import os

from casemate.sandbox import linux
from casemate.sandbox.errors import UnavailableError

FIRST_UID = 1_900_000_000
"""User and group id of the process with pid N are this plus N.

The range from 1879048192 to 2147352575 is free on Linux systems (systemd, docs/UIDS-GIDS.md), and a pid is below
2**22. So the id is this process's alone on the machine as long as it lives, and no process has to assign ids.
"""


def take_own_uid() -> str:
    """Changes user, group and supplementary groups for good; needs root, and drops the process's capabilities.

    No other process has the id, so no other may signal or trace this one.
    """
    if os.geteuid() != 0:
        raise UnavailableError(f"not root: shares user id {os.geteuid()} with its starter")
    own = FIRST_UID + os.getpid()
    try:
        os.setgroups([])
        os.setresgid(own, own, own)
        os.setresuid(own, own, own)
    except (OSError, AttributeError) as error:
        raise UnavailableError(f"user id {own}: {error}") from None
    if os.getresuid() != (own, own, own):
        raise UnavailableError(f"user id is {os.getresuid()}, want {own}")
    return str(own)


def refuse_new_privileges() -> str:
    """Sets no_new_privs for good: no execve gives this process or its children more rights, as set-uid would."""
    linux.prctl(linux.PR_SET_NO_NEW_PRIVS, 1)
    return ""
