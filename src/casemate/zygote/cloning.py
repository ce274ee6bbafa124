"""Forks a sibling: a copy of this process whose parent is this process's own parent.

``os.fork`` makes a child. The flag CLONE_PARENT (clone(2)) makes the spawner the copy's parent, which then reaps it,
may trust its pid, and learns of its end and of what it has used.
"""

import ctypes
import os

from casemate.sandbox.python_syscalls import COPY

_CLONE = {"x86_64": 56, "aarch64": 220}  # asm/unistd.h

# PyDLL keeps the interpreter's lock, as os.fork does: a copy that took it anew would find its state half changed.
_libc = ctypes.PyDLL(None, use_errno=True)
_libc.syscall.restype = ctypes.c_long
_NUMBER = ctypes.c_long(_CLONE.get(os.uname().machine, -1))
_FLAGS, _ZERO = ctypes.c_long(COPY), ctypes.c_long(0)
_before, _in_copy, _in_original = (
    getattr(ctypes.pythonapi, f"PyOS_{name}") for name in ("BeforeFork", "AfterFork_Child", "AfterFork_Parent")
)
for _hook in (_before, _in_copy, _in_original):
    _hook.restype = None


def clone_sibling() -> bool:
    """Forks; true in the copy. The process must have one thread.

    What ``os.register_at_fork`` asks for is done; Python's ``random`` draws a new seed by that.

    Raises:
        OSError: the system, or this user's limit, has no room for one more.
    """
    _before()
    result = _libc.syscall(_NUMBER, _FLAGS, _ZERO, _ZERO, _ZERO, _ZERO)
    number = ctypes.get_errno()
    if result == 0:
        _in_copy()
        return True
    _in_original()
    if result < 0:
        raise OSError(number, os.strerror(number))
    return False
