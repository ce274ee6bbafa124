"""The memory and time that a process uses, as the kernel counts them; None where there is no /proc."""

import os
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass

_TICKS = os.sysconf("SC_CLK_TCK")
_KIB = 1024


@dataclass(frozen=True, slots=True)
class Memory:
    """Bytes of a process's memory."""

    resident: int
    """Anonymous and shared memory, and the page tables: a large mapping of which nothing is written takes many. Without
    files and program text."""
    data: int
    """The memory that RLIMIT_DATA counts."""


def memory_of(pid: int) -> Memory | None:
    """The memory of a living process (proc(5), status)."""
    fields = {"RssAnon": 0, "RssShmem": 0, "VmPTE": 0, "VmData": 0}
    found = False
    for line in _read(f"/proc/{pid}/status").splitlines():
        name, _, value = line.partition(b":")
        key = name.decode(errors="replace")
        if key in fields:
            fields[key] = int(value.split()[0]) * _KIB
            found = True
    return Memory(fields["RssAnon"] + fields["RssShmem"] + fields["VmPTE"], fields["VmData"]) if found else None


@contextmanager
def status_of(pid: int) -> Iterator[tuple[int, ...]]:
    """A descriptor of a living process's /proc/PID/status, to be passed on; none where there is no such file."""
    try:
        descriptor = os.open(f"/proc/{pid}/status", os.O_RDONLY | os.O_CLOEXEC)
    except OSError:
        yield ()
        return
    try:
        yield (descriptor,)
    finally:
        os.close(descriptor)


def cpu_time_of(pid: int) -> float | None:
    """Seconds that a process has computed so far (proc(5), stat: utime and stime)."""
    _, _, fields = _read(f"/proc/{pid}/stat").rpartition(b") ")
    numbers = fields.split()
    return (int(numbers[11]) + int(numbers[12])) / _TICKS if numbers else None


def _read(path: str) -> bytes:
    try:
        with open(path, "rb", buffering=0) as file:  # noqa: PTH123 - forty times a second: no Path object for it
            return file.read()
    except OSError:
        return b""
