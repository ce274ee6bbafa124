"""A machine's processes: who is who, what memory they have, and whether any is left."""

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from resource import getpagesize
from typing import BinaryIO

PAGE = getpagesize()
PROC = Path("/proc")


@dataclass(frozen=True, slots=True, order=True)
class Process:
    """One process: ids are used again, but not with the same start."""

    role: str
    pid: int
    started: int
    """Clock ticks since boot (proc(5), stat)."""

    @property
    def alive(self) -> bool:
        """Whether it still runs; a zombie does not."""
        return _stat(self.pid) is not None and _stat(self.pid) == self.started


def family(supervisor: int) -> list[Process]:
    """The supervisor and all below it, by role."""
    children = _children()
    found: list[Process] = []

    def walk(pid: int, parent: str) -> None:
        started = _stat(pid)
        if started is None:
            return
        role = _role(pid, parent)
        found.append(Process(role, pid, started))
        for child in children.get(pid, ()):
            walk(child, role)

    walk(supervisor, "")
    return found


def _role(pid: int, parent: str) -> str:
    try:
        words = (PROC / str(pid) / "cmdline").read_bytes().split(b"\0")
    except OSError:
        return "gone"
    for name in ("supervisor", "gateway", "vendor"):
        if f"casemate.{name}".encode() in words:
            return name
    if b"casemate.host" in words:
        return "gateway"
    below = {"": "supervisor", "supervisor": "chip", "chip": "parent"}
    if parent in below:
        return below[parent]
    return "guest" if Path(words[0].decode(errors="replace")).name.startswith("deno") else "enclave"


def _children() -> dict[int, list[int]]:
    found: dict[int, list[int]] = {}
    for folder in PROC.iterdir():
        if folder.name.isdigit():
            try:
                fields = (folder / "stat").read_text().rpartition(")")[2].split()
            except OSError:
                continue
            found.setdefault(int(fields[1]), []).append(int(folder.name))
    return found


def _stat(pid: int) -> int | None:
    """When a process started; None if it runs no more."""
    try:
        fields = (PROC / str(pid) / "stat").read_text().rpartition(")")[2].split()
    except OSError:
        return None
    return None if fields[0] in "ZX" else int(fields[19])


def pss(pid: int) -> int | None:
    """Proportional set size (bytes); None where this user may not see it, or the process has ended."""
    try:
        rollup = (PROC / str(pid) / "smaps_rollup").read_text()
    except OSError:
        return None
    return next((int(line.split()[1]) * 1024 for line in rollup.splitlines() if line.startswith("Pss:")), None)


def memory(pid: int) -> bytes:
    """All that a process can write to in its memory: its own data, not programs and libraries.

    Raises:
        OSError: this user may not read it, or the process has ended.
    """
    found = []
    maps = (PROC / str(pid) / "maps").read_text().splitlines()
    folder = PROC / str(pid)
    with (folder / "mem").open("rb", buffering=0) as memory, (folder / "pagemap").open("rb", buffering=0) as pages:
        for line in maps:
            where, mode, *_ = line.split()
            start, end = (int(part, 16) for part in where.split("-"))
            if mode.startswith("rw"):
                found += [_read(memory, *run) for run in _present(pages, start, end)]
    return b"".join(found)


def _present(pages: BinaryIO, start: int, end: int) -> Iterator[tuple[int, int]]:
    """The runs of a mapping that are in memory (pagemap, bit 63): engines reserve far more than they use."""
    pages.seek(start // PAGE * 8)
    entries = memoryview(pages.read((end - start) // PAGE * 8)).cast("Q")
    at = None
    for number, entry in enumerate([*entries, 0]):
        if entry >> 63 and at is None:
            at = number
        elif not entry >> 63 and at is not None:
            yield start + at * PAGE, start + number * PAGE
            at = None


def _read(memory: BinaryIO, start: int, end: int) -> bytes:
    memory.seek(start)
    try:
        return memory.read(end - start)
    except OSError:
        return b""  # not there to be read: [vvar] and its like
