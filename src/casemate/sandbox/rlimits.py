"""Resource limits. Of V8 the address space is not limited: it reserves far more than it uses."""

import os
import resource
from dataclasses import dataclass
from pathlib import Path

from casemate.sandbox.errors import UnavailableError
from casemate.wire.errors import os_error_text


@dataclass(frozen=True, slots=True)
class Limits:
    """Hard limits of a process; none of them writes a core dump."""

    open_files: int
    threads: int
    """RLIMIT_NPROC. It counts the threads of a user id on the whole machine, so it is set only where the id is the
    process's own."""
    data: int | None
    """RLIMIT_DATA (bytes): all private writable memory, on Linux. None: set later, by the parent."""
    file_size: int = 0
    """RLIMIT_FSIZE (bytes): 0 for a process that has no file to write to."""
    address_space: int | None = None
    """RLIMIT_AS (bytes). It bounds what RLIMIT_DATA does not see: shared mappings, and page tables of large ones."""
    stack: int | None = None
    """RLIMIT_STACK (bytes)."""


_NEEDS = {
    "RLIMIT_AS": (resource.RLIMIT_AS, 40 << 30, "ulimit -v"),
    "RLIMIT_STACK": (resource.RLIMIT_STACK, 1 << 20, "ulimit -s"),
    "RLIMIT_NPROC": (resource.RLIMIT_NPROC, 128, "ulimit -u"),
    "RLIMIT_NOFILE": (resource.RLIMIT_NOFILE, 128, "ulimit -n"),
    "RLIMIT_DATA": (resource.RLIMIT_DATA, 1 << 30, "ulimit -d"),
    "RLIMIT_FSIZE": (resource.RLIMIT_FSIZE, 1 << 30, "ulimit -f"),
}
"""The least that a machine and its engines need of the limits that they are started with (bytes, processes,
descriptors). V8 reserves tens of GiB of addresses and uses few of them."""


def low_limits() -> str:
    """Which limits of this process are below what a machine and its engines need; empty if none is."""
    found = []
    for name, (number, need, word) in _NEEDS.items():
        soft, _ = resource.getrlimit(number)
        if soft != resource.RLIM_INFINITY and soft < need:
            found.append(f"{name} is {soft}, want {need} or more (`{word}`)")
    return ", ".join(found)


def set_limits(limits: Limits, *, own_uid: bool) -> str:
    """Sets hard and soft limits alike."""
    wanted = {
        "NOFILE": (resource.RLIMIT_NOFILE, limits.open_files),
        "FSIZE": (resource.RLIMIT_FSIZE, limits.file_size),
        "CORE": (resource.RLIMIT_CORE, 0),
        "MEMLOCK": (resource.RLIMIT_MEMLOCK, 0),  # mmap has a flag for it that needs no mlock
    }
    if own_uid:
        wanted["NPROC"] = (resource.RLIMIT_NPROC, limits.threads)
    if limits.data is not None:
        wanted["DATA"] = (resource.RLIMIT_DATA, limits.data)
    if limits.address_space is not None:
        wanted["AS"] = (resource.RLIMIT_AS, limits.address_space)
    if limits.stack is not None:
        wanted["STACK"] = (resource.RLIMIT_STACK, limits.stack)
    try:
        for number, value in wanted.values():
            resource.setrlimit(number, (value, value))
    except (OSError, ValueError) as error:
        raise UnavailableError(f"setrlimit: {error}") from None
    return ", ".join(f"{name} {value}" for name, (_, value) in wanted.items())


def limit_data(pid: int, ceiling: int) -> None:
    """Sets another process's RLIMIT_DATA (bytes), hard and soft; works on Linux only.

    Without CAP_SYS_RESOURCE, which containers take from root, the kernel lets a process do that only to a process whose
    ids are its own real ones (prlimit(2)). So root, which may change its real ids, takes that process's ids for the one
    call.
    """
    try:
        _prlimit(pid, ceiling)
    except PermissionError:
        try:
            uid, gid = os.getuid(), os.getgid()
            os.setresgid(_real_id(pid, "Gid:"), -1, -1)
            os.setresuid(_real_id(pid, "Uid:"), -1, -1)
            try:
                _prlimit(pid, ceiling)
            finally:
                os.setresuid(uid, -1, -1)
                os.setresgid(gid, -1, -1)
        except OSError as error:
            raise UnavailableError(f"RLIMIT_DATA of {pid}: {os_error_text(error)}") from None
    except OSError as error:
        raise UnavailableError(f"RLIMIT_DATA of {pid}: {os_error_text(error)}") from None


def _real_id(pid: int, field: str) -> int:
    lines = Path(f"/proc/{pid}/status").read_text().splitlines()
    return next(int(line.split()[1]) for line in lines if line.startswith(field))


def _prlimit(pid: int, ceiling: int) -> None:
    if hasattr(resource, "prlimit"):
        resource.prlimit(pid, resource.RLIMIT_DATA, (ceiling, ceiling))
