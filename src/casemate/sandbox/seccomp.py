"""Filters of system calls: compiled once by libseccomp, installed as plain bytes in each child.

libseccomp knows every architecture's numbers, so a filter is written in names. A call that no rule names kills the
process.
"""

import ctypes
import os
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from enum import IntEnum
from functools import cache
from typing import IO

from casemate.sandbox import linux
from casemate.sandbox.errors import UnavailableError
from casemate.wire.errors import os_error_text

_KILL_PROCESS = 0x8000_0000  # seccomp.h of libseccomp, this and the following
_ERRNO = 0x0005_0000
_ALLOW = 0x7FFF_0000
_ATTR_ACT_BADARCH = 2
_ATTR_CTL_OPTIMIZE = 8
_BINARY_TREE = 2
_MODE_FILTER = 2  # linux/seccomp.h
_INSTRUCTION_SIZE = 8  # struct sock_filter


class Compare(IntEnum):
    """How an argument is compared; the numbers are those of libseccomp's scmp_compare."""

    DIFFERS = 1
    EQUALS = 4
    MASKED_EQUALS = 7


@dataclass(frozen=True, slots=True)
class When:
    """A condition on one argument of a call."""

    argument: int
    compare: Compare
    value: int
    mask: int = 0
    """The bits that MASKED_EQUALS compares."""


@dataclass(frozen=True, slots=True)
class Rule:
    """One system call, allowed or refused with an errno.

    A call may have several rules if they say the same or their conditions exclude each other; a rule without a
    condition must be the only one of its call.
    """

    name: str
    refuse: int | None = None
    when: When | None = None
    also: When | None = None
    """A second condition, on another argument: both must hold."""


@dataclass(frozen=True, slots=True)
class SyscallFilter:
    """The system calls that a process may make."""

    rules: tuple[Rule, ...]
    others_pass: bool = False
    """True: calls without a rule are allowed (a deny-list). False: they end the process (an allow-list)."""


class _Argument(ctypes.Structure):
    """struct scmp_arg_cmp."""

    _fields_ = (("arg", ctypes.c_uint), ("op", ctypes.c_int), ("a", ctypes.c_uint64), ("b", ctypes.c_uint64))


class _Program(ctypes.Structure):
    """struct sock_fprog of linux/filter.h."""

    _fields_ = (("size", ctypes.c_ushort), ("filter", ctypes.c_char_p))


@cache
def _library() -> ctypes.CDLL:
    if not linux.IS_LINUX:
        raise UnavailableError("seccomp is Linux's")
    try:
        library = ctypes.CDLL("libseccomp.so.2")
    except OSError as error:
        raise UnavailableError(f"libseccomp.so.2 cannot be loaded: {error}") from None
    library.seccomp_init.restype = ctypes.c_void_p
    library.seccomp_init.argtypes = (ctypes.c_uint32,)
    library.seccomp_release.argtypes = (ctypes.c_void_p,)
    library.seccomp_attr_set.argtypes = (ctypes.c_void_p, ctypes.c_int, ctypes.c_uint32)
    library.seccomp_syscall_resolve_name.argtypes = (ctypes.c_char_p,)
    library.seccomp_rule_add_array.argtypes = (
        ctypes.c_void_p,
        ctypes.c_uint32,
        ctypes.c_int,
        ctypes.c_uint,
        ctypes.POINTER(_Argument),
    )
    library.seccomp_export_bpf.argtypes = (ctypes.c_void_p, ctypes.c_int)
    return library


@cache
def compile_filter(syscalls: SyscallFilter) -> bytes:
    """The filter as a BPF program for this machine's architecture; calls that it does not have are left out."""
    library = _library()
    with _context(library, _ALLOW if syscalls.others_pass else _KILL_PROCESS) as context:
        _expect("seccomp_attr_set", library.seccomp_attr_set(context, _ATTR_ACT_BADARCH, _KILL_PROCESS))
        library.seccomp_attr_set(context, _ATTR_CTL_OPTIMIZE, _BINARY_TREE)  # before libseccomp 2.5: a list, slower
        for rule in syscalls.rules:
            if not (syscalls.others_pass and rule.refuse is None):  # libseccomp refuses a rule that says the default
                _add(library, context, rule)
        with _scratch() as file:
            _expect("seccomp_export_bpf", library.seccomp_export_bpf(context, file.fileno()))
            file.seek(0)
            return file.read()


def _scratch() -> IO[bytes]:
    """A file without a name: in memory, or in the temporary folder where some containers deny that."""
    try:
        return os.fdopen(os.memfd_create("seccomp filter"), "w+b")
    except OSError as denied:
        import tempfile

        try:
            return tempfile.TemporaryFile()
        except OSError as error:
            reasons = f"memfd_create: {os_error_text(denied)}; a temporary file: {os_error_text(error)}"
            raise UnavailableError(f"a filter needs a file to be written to: {reasons}") from None


def install_filter(program: bytes) -> str:
    """Puts this process's thread, and what it starts, behind the filter for good; needs no_new_privs."""
    size = len(program) // _INSTRUCTION_SIZE
    linux.prctl(linux.PR_SET_SECCOMP, _MODE_FILTER, ctypes.byref(_Program(size, program)))  # read where it lies
    return f"{size} instructions"


@contextmanager
def _context(library: ctypes.CDLL, default: int) -> Iterator[int]:
    context = library.seccomp_init(default)
    if not context:
        raise UnavailableError("seccomp_init failed")
    try:
        yield context
    finally:
        library.seccomp_release(context)


def _add(library: ctypes.CDLL, context: int, rule: Rule) -> None:
    number: int = library.seccomp_syscall_resolve_name(rule.name.encode())
    if number < 0:  # unknown to this libseccomp, or not a call of this architecture
        return
    action = _ALLOW if rule.refuse is None else _ERRNO | rule.refuse
    conditions = [_argument(when) for when in (rule.when, rule.also) if when is not None]
    array = (_Argument * len(conditions))(*conditions)
    _expect(f"rule for {rule.name}", library.seccomp_rule_add_array(context, action, number, len(conditions), array))


def _argument(when: When) -> _Argument:
    masked = when.compare is Compare.MASKED_EQUALS
    first, second = (when.mask, when.value) if masked else (when.value, 0)
    return _Argument(when.argument, when.compare, first, second)


def _expect(what: str, result: int) -> None:
    if result < 0:
        raise UnavailableError(f"{what}: {os.strerror(-result)}")
