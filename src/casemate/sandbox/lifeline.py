"""A child does not outlive its parent, and nobody looks into its memory."""

import os
import signal

from casemate.sandbox import linux
from casemate.sandbox.errors import UnavailableError


def die_with_parent(parent: int) -> None:
    """Has the kernel kill this process when the thread that forked it ends; ends at once if that has happened.

    Changing the user id undoes this, so it comes after. Elsewhere than on Linux, the end of a socket or pipe has to do.
    """
    try:
        linux.prctl(linux.PR_SET_PDEATHSIG, int(signal.SIGKILL))
    except UnavailableError:
        return
    if os.getppid() != parent:
        os._exit(1)


def forbid_dumps() -> bool:
    """Takes other processes of this user the right to trace this one, read its memory, or get its core dump.

    Returns:
        Whether the platform has such a switch. An execve turns it back on.
    """
    try:
        linux.prctl(linux.PR_SET_DUMPABLE, 0)
    except UnavailableError:
        return False
    return True
