"""Landlock: a process gives up access to files, to TCP, and to signalling others, except what a rule allows.

Structures and constants: linux/landlock.h; what each ABI version brought: Documentation/userspace-api/landlock.rst.
"""

import os
import stat
import struct
from collections.abc import Sequence
from ctypes import create_string_buffer
from dataclasses import dataclass
from enum import IntFlag

from casemate.sandbox import linux

_CREATE_RULESET, _ADD_RULE, _RESTRICT_SELF = 444, 445, 446  # the same numbers on x86-64 and arm64
_CREATE_RULESET_VERSION = 1
_RULE_PATH_BENEATH = 1
_RULESET_ATTR = struct.Struct("=QQQ")  # handled_access_fs, handled_access_net, scoped
_PATH_BENEATH_ATTR = struct.Struct("=Qi")  # allowed_access, parent_fd; packed
_RULESET_SIZE_BY_ABI = {1: 8, 2: 8, 3: 8, 4: 16, 5: 16}  # later ones: all 24 bytes
_O_PATH = getattr(os, "O_PATH", 0)


class Access(IntFlag):
    """Rights on files and folders."""

    EXECUTE = 1 << 0
    WRITE_FILE = 1 << 1
    READ_FILE = 1 << 2
    READ_DIR = 1 << 3
    REMOVE_DIR = 1 << 4
    REMOVE_FILE = 1 << 5
    MAKE_CHAR = 1 << 6
    MAKE_DIR = 1 << 7
    MAKE_REG = 1 << 8
    MAKE_SOCK = 1 << 9
    MAKE_FIFO = 1 << 10
    MAKE_BLOCK = 1 << 11
    MAKE_SYM = 1 << 12
    REFER = 1 << 13  # ABI 2
    TRUNCATE = 1 << 14  # ABI 3
    IOCTL_DEV = 1 << 15  # ABI 5


READ = Access.READ_FILE | Access.READ_DIR
LOAD = READ | Access.EXECUTE
CHANGE = (
    LOAD
    | Access.WRITE_FILE
    | Access.TRUNCATE
    | Access.REFER
    | Access.REMOVE_DIR
    | Access.REMOVE_FILE
    | Access.MAKE_DIR
    | Access.MAKE_REG
    | Access.MAKE_SOCK
)
"""Without the right to make symbolic links: processes with more rights write into such folders too, and a link could
lead them elsewhere."""
_OF_FILES = Access.EXECUTE | Access.WRITE_FILE | Access.READ_FILE | Access.TRUNCATE | Access.IOCTL_DEV


@dataclass(frozen=True, slots=True)
class PathRule:
    """Rights that stay allowed at a path and, where it is a folder, below it."""

    path: str | int
    """Or a descriptor of what is there."""
    access: Access


def landlock_abi() -> int:
    return linux.syscall("landlock_create_ruleset", _CREATE_RULESET, None, 0, _CREATE_RULESET_VERSION)


def restrict_paths(rules: Sequence[PathRule], *, network: bool) -> str:
    """Denies this process and its children all that no rule allows; needs no_new_privs.

    A rule for a path that does not exist, or that this process cannot reach, is passed over: there is nothing to allow.

    Args:
        rules: what stays allowed.
        network: whether TCP stays allowed.
    """
    abi = landlock_abi()
    files = _handled_files(abi)
    net = 0 if network else 0b11  # bind and connect TCP
    scoped = 0b11  # abstract Unix sockets, signals: to none outside
    attr = _RULESET_ATTR.pack(files, net, scoped)[: _RULESET_SIZE_BY_ABI.get(abi, _RULESET_ATTR.size)]
    ruleset = linux.syscall(
        "landlock_create_ruleset", _CREATE_RULESET, create_string_buffer(attr, len(attr)), len(attr), 0
    )
    try:
        for rule in rules:
            _add(ruleset, rule, files)
        linux.syscall("landlock_restrict_self", _RESTRICT_SELF, ruleset, 0)
    finally:
        os.close(ruleset)
    kinds = ["files"] + (["TCP"] if abi >= 4 and net else []) + (["signals, abstract sockets"] if abi >= 6 else [])
    return f"ABI {abi}: {', '.join(kinds)}"


def _handled_files(abi: int) -> Access:
    """All rights that this kernel knows; it refuses a ruleset with one that it does not know."""
    newest = {1: Access.MAKE_SYM, 2: Access.REFER, 3: Access.TRUNCATE, 4: Access.TRUNCATE}.get(abi, Access.IOCTL_DEV)
    return Access((newest << 1) - 1)


def _add(ruleset: int, rule: PathRule, handled: Access) -> None:
    try:
        descriptor = os.dup(rule.path) if isinstance(rule.path, int) else os.open(rule.path, _O_PATH | os.O_CLOEXEC)
    except OSError:
        return
    try:
        access = rule.access & handled
        if not stat.S_ISDIR(os.fstat(descriptor).st_mode):
            access &= _OF_FILES
        attr = _PATH_BENEATH_ATTR.pack(access, descriptor)
        linux.syscall(
            "landlock_add_rule", _ADD_RULE, ruleset, _RULE_PATH_BENEATH, create_string_buffer(attr, len(attr)), 0
        )
    finally:
        os.close(descriptor)
