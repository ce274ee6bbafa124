"""Keeps a process's memory to itself, and ties its life to its parent's."""

import contextlib
import ctypes
import os
import resource
import signal
import sys
from functools import cache

_PR_SET_PDEATHSIG = 1  # linux/prctl.h
_PR_SET_DUMPABLE = 4
_PT_DENY_ATTACH = 31  # sys/ptrace.h on macOS


def keep_secrets_in() -> None:
    """Disables core files, and access to this process's memory by other processes of the user."""
    with contextlib.suppress(OSError, ValueError):
        resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    forbid_dumps()


def forbid_dumps() -> None:
    """Takes other processes of this user the right to trace this one, read its memory, or get its core dump.

    Becoming another program (execve) undoes this, so that program has to do it again.
    """
    if sys.platform == "linux":
        _prctl(_PR_SET_DUMPABLE, 0)
    elif sys.platform == "darwin":
        _libc().ptrace(_PT_DENY_ATTACH, 0, 0, 0)


def die_with_parent(parent: int) -> None:
    """Has the kernel kill this process when the thread that started it ends; ends now if ``parent`` is gone already.

    Changing the user id undoes this, so it comes after. Elsewhere than on Linux the end of a socket or pipe has to do.
    """
    if sys.platform == "linux":
        _prctl(_PR_SET_PDEATHSIG, int(signal.SIGKILL))
        if os.getppid() != parent:  # the parent ended before prctl, which then watches another process
            os._exit(1)


def _prctl(option: int, argument: int) -> None:
    zero = ctypes.c_ulong(0)  # prctl reads five unsigned longs, whatever ctypes would make of a Python integer
    _libc().prctl(ctypes.c_int(option), ctypes.c_ulong(argument), zero, zero, zero)


@cache
def _libc() -> ctypes.CDLL:
    """Opened once: forks inherit it, and opening it anew takes each of them longer than the call itself."""
    return ctypes.CDLL(None)
