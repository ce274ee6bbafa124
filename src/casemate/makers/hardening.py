"""Keeps the vendor's keys out of core files and out of other processes' reach."""

import contextlib
import ctypes
import resource
import sys

_PR_SET_DUMPABLE = 4


def keep_secrets_in() -> None:
    """No core files; on Linux also not dumpable: no other process of this user may trace or read this one."""
    with contextlib.suppress(OSError, ValueError):
        resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    if sys.platform == "linux":
        ctypes.CDLL(None).prctl(_PR_SET_DUMPABLE, 0, 0, 0, 0)
