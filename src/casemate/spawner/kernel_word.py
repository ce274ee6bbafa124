"""What the kernel says about processes that a hostile process has made: who they are, and whether anybody asked."""

import os
import socket
import struct
from collections.abc import Container, Iterable
from pathlib import Path

_CREDENTIALS = struct.Struct("=iII")  # struct ucred: pid, uid, gid
_PASSCRED = 16  # SO_PASSCRED, asm-generic/socket.h
_SCM_CREDENTIALS = 2
_PACKET = 16 * 1024
_TASKS = Path("/proc/self/task")


def report_socket() -> tuple[socket.socket, socket.socket]:
    """A pair of sockets; what comes out of the first one tells who has written it (unix(7), SO_PASSCRED)."""
    ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
    ours.setsockopt(socket.SOL_SOCKET, _PASSCRED, 1)
    ours.setblocking(False)
    return ours, theirs


def read_report(report: socket.socket) -> tuple[int, bytes]:
    """The pid of the process that has written to a report socket, and what it wrote; 0 if all have closed it.

    Raises:
        BlockingIOError: nobody has written yet.
    """
    try:
        said, ancillary, _, _ = report.recvmsg(_PACKET, socket.CMSG_SPACE(_CREDENTIALS.size))
    except BlockingIOError:
        raise
    except OSError:
        return 0, b""
    for level, kind, raw in ancillary:
        if said and level == socket.SOL_SOCKET and kind == _SCM_CREDENTIALS and len(raw) >= _CREDENTIALS.size:
            return _CREDENTIALS.unpack_from(raw)[0], said
    return 0, b""


def is_child(pid: int) -> bool:
    """Whether this process is its parent, and has not reaped it."""
    try:
        os.waitid(os.P_PID, pid, os.WEXITED | os.WNOHANG | os.WNOWAIT)
    except ChildProcessError:
        return False
    return True


def is_in_session(pid: int, leader: int) -> bool:
    """Whether a process is in the session that another has begun. Its filter lets it begin none of its own."""
    try:
        return os.getsid(pid) == leader
    except ProcessLookupError:
        return False


def threads_of(pid: int) -> int:
    """How many threads a process has; 0 if there is none such (proc(5), status)."""
    try:
        lines = Path(f"/proc/{pid}/status").read_text("ascii", "replace").splitlines()
    except OSError:
        return 0
    return next((int(line.split()[1]) for line in lines if line.startswith("Threads:")), 0)


def tells_children() -> bool:
    """Whether this kernel lists a process's children (CONFIG_PROC_CHILDREN), without which no stranger is found."""
    return any(_TASKS.glob("*/children"))


def strangers(known: Container[int]) -> list[int]:
    """Children of this process that are not known to it (proc(5), task/TID/children)."""
    found: Iterable[int] = (int(pid) for file in _TASKS.glob("*/children") for pid in file.read_text().split())
    return [pid for pid in found if pid not in known]
