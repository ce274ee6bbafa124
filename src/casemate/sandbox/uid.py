"""A user id of the process's own, where the starter is root: no other has it, so none may signal or trace it."""

import os

from casemate.sandbox.errors import UnavailableError

FIRST_UID = 1_900_000_000
"""User and group id of the process with pid N are this plus N.

The range from 1879048192 to 2147352575 is free on Linux systems (systemd, docs/UIDS-GIDS.md), and a pid is below
2**22: so the id is this process's alone on the machine as long as it lives, and nothing has to be handed out.
"""


def take_own_uid() -> str:
    """Changes user, group and supplementary groups for good; needs root. The process's capabilities go with it."""
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
