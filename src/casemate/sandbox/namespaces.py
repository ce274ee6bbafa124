"""Namespaces for one process alone: a network without connections, its own System V IPC, host name and mounts."""

import os
from collections.abc import Callable
from pathlib import Path

from casemate.sandbox import linux
from casemate.sandbox.errors import UnavailableError
from casemate.wire.errors import os_error_text

_NEWNS = 0x0002_0000  # linux/sched.h, this and the following
_NEWCGROUP = 0x0200_0000
_NEWUTS = 0x0400_0000
_NEWIPC = 0x0800_0000
_NEWUSER = 0x1000_0000
_NEWNET = 0x4000_0000
_ALL = _NEWNS | _NEWCGROUP | _NEWUTS | _NEWIPC | _NEWNET
_NAMES = "net, ipc, uts, mount, cgroup"


def enter_namespaces(inside: Callable[[], None] | None = None) -> str:
    """Leaves the starter's namespaces; the process must have one thread.

    Without CAP_SYS_ADMIN they are made inside a new user namespace, in which the process keeps its user and group id
    and then drops the capabilities it was given.

    Args:
        inside: called in the new namespaces, before capabilities are dropped.
    """
    try:
        linux.unshare(_ALL)
    except UnavailableError as refused:
        if os.geteuid() == 0:
            raise
        return _enter_as_user(refused, inside)
    if inside is not None:
        inside()
    return _NAMES


def _enter_as_user(refused: UnavailableError, inside: Callable[[], None] | None) -> str:
    uid, gid = os.getuid(), os.getgid()
    try:
        linux.unshare(_NEWUSER | _ALL)
    except UnavailableError as also:
        raise UnavailableError(f"{refused}; with a user namespace {also}") from None
    # A process that may not be dumped does not own its /proc files; it holds no secret yet, and is made so again later.
    linux.prctl(linux.PR_SET_DUMPABLE, 1)
    try:
        # user_namespaces(7): a process may map its own ids, and must give up setgroups(2) before it maps its group.
        Path("/proc/self/setgroups").write_text("deny")
        Path("/proc/self/uid_map").write_text(f"{uid} {uid} 1")
        Path("/proc/self/gid_map").write_text(f"{gid} {gid} 1")
    except OSError as error:  # AppArmor and others let a process in, and refuse it what it needs there
        linux.drop_capabilities()
        raise UnavailableError(f"id map of the user namespace: {os_error_text(error)}") from None
    if inside is not None:
        inside()
    linux.drop_capabilities()
    return f"user, {_NAMES}"
