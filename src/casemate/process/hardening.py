"""Keeps the chip's memory to itself, and ties its life to the supervisor's."""

import contextlib
import ctypes
import os
import resource
import signal
import sys

_PR_SET_PDEATHSIG = 1
_PR_SET_DUMPABLE = 4
_PT_DENY_ATTACH = 31  # sys/ptrace.h on macOS


def keep_secrets_in() -> None:
    """No core files, and no other process of this user may trace this one or read its memory."""
    with contextlib.suppress(OSError, ValueError):
        resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    library = ctypes.CDLL(None)
    if sys.platform == "linux":
        library.prctl(_PR_SET_DUMPABLE, 0, 0, 0, 0)
    elif sys.platform == "darwin":
        library.ptrace(_PT_DENY_ATTACH, 0, 0, 0)


def die_with_parent(parent: int) -> None:
    """Has the kernel kill this process when ``parent``, which started it, ends; ends now if that has happened.

    Elsewhere than on Linux the end of the supervisor's socket has to do.
    """
    if sys.platform == "linux":
        ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, int(signal.SIGKILL), 0, 0, 0)
        if os.getppid() != parent:
            os._exit(1)
