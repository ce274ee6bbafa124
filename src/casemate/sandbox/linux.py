"""System calls that Python has no function for, through libc.

On other systems each raises :class:`UnavailableError`.
"""

import ctypes
import errno
import os
import sys
from functools import cache

from casemate.sandbox.errors import UnavailableError

IS_LINUX = sys.platform == "linux"

PR_SET_DUMPABLE = 4  # linux/prctl.h, this and the following
PR_SET_SECCOMP = 22
PR_SET_NO_NEW_PRIVS = 38


@cache
def _libc() -> ctypes.CDLL:
    if not IS_LINUX:
        raise UnavailableError(f"{sys.platform} is not Linux")
    return ctypes.CDLL(None, use_errno=True)


def prctl(option: int, argument: object = 0, extra: object = 0) -> None:
    """Sets an attribute of this process, or raises :class:`UnavailableError` with the errno."""
    library = _libc()
    zero = ctypes.c_ulong(0)
    first = ctypes.c_ulong(argument) if isinstance(argument, int) else argument
    second = ctypes.c_ulong(extra) if isinstance(extra, int) else extra
    _check(f"prctl {option}", library.prctl(ctypes.c_int(option), first, second, zero, zero))


def unshare(flags: int) -> None:
    """Leaves the namespaces that the flags name, or raises :class:`UnavailableError` with the errno."""
    _check("unshare", _libc().unshare(ctypes.c_int(flags)))


def syscall(what: str, number: int, *arguments: object) -> int:
    """A raw system call; its result, or :class:`UnavailableError` with its errno."""
    library = _libc()
    library.syscall.restype = ctypes.c_long
    typed = [ctypes.c_long(argument) if isinstance(argument, int) else argument for argument in arguments]
    result: int = library.syscall(ctypes.c_long(number), *typed)
    _check(what, result)
    return result


CAP_SETGID, CAP_SETUID = 6, 7  # linux/capability.h


def drop_capabilities(*keep: int) -> None:
    """Gives up every capability, or all but some below 32: a confined process needs none that it was given."""
    header = (ctypes.c_uint32 * 2)(0x20080522, 0)  # _LINUX_CAPABILITY_VERSION_3, this process (linux/capability.h)
    kept = sum(1 << number for number in keep)
    sets = (ctypes.c_uint32 * 6)(kept, kept)  # effective, permitted, inheritable; then the same of those from 32 on
    _check("capset", _libc().capset(header, sets))


def _check(what: str, result: int) -> None:
    if result < 0:
        number = ctypes.get_errno()
        raise UnavailableError(f"{what}: {errno.errorcode.get(number, number)}, {os.strerror(number)}")
