"""A machine's processes from /proc; empty without /proc, or if this user may not read it."""

import os
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

PROC = Path("/proc")
_VM = b"casemate.vm"
"""The module that each VM's process runs."""


@dataclass(frozen=True, slots=True)
class Child:
    """A process that the chip, or the spawner, has started."""

    pid: int
    parent: int
    name: str


def pss(pid: int) -> int | None:
    """Bytes of a process, pages that it shares counted in parts (proc(5), smaps_rollup)."""
    try:
        lines = (PROC / str(pid) / "smaps_rollup").read_text().splitlines()
    except OSError:
        return None
    return next((int(line.split()[1]) * 1024 for line in lines if line.startswith("Pss:")), None)


def is_stopped(pid: int) -> bool:
    """Whether a process was stopped (SIGSTOP) and not continued."""
    try:
        return (PROC / str(pid) / "stat").read_text().rpartition(")")[2].split()[:1] == ["T"]
    except OSError:
        return False


def below(chip: int) -> Iterator[Child]:
    """The processes below the chip: the spawner, its enclaves and guests, and VMs."""
    everybody = list(_everybody())
    for child in everybody:
        if child.parent != chip:
            continue
        if _VM in _command_line(child.pid):
            yield Child(child.pid, child.parent, "vm")
            continue
        yield Child(child.pid, child.parent, "parent")
        for grandchild in everybody:
            if grandchild.parent == child.pid:
                name = "guest" if _runs_engine(grandchild.pid) else "enclave"
                yield Child(grandchild.pid, grandchild.parent, name)


def _runs_engine(pid: int) -> bool:
    """By its command line, since some kernels name a process that was executed by a descriptor after that."""
    return [Path(os.fsdecode(word)).name for word in _command_line(pid)[:1]] == ["deno"]


def _command_line(pid: int) -> list[bytes]:
    """The arguments that a process was started with; empty where it has ended."""
    try:
        return (PROC / str(pid) / "cmdline").read_bytes().split(b"\0")
    except OSError:
        return []


def _everybody() -> Iterator[Child]:
    for folder in PROC.glob("[0-9]*"):
        try:
            head, _, tail = (folder / "stat").read_text().rpartition(")")
        except OSError:
            continue  # it has just ended
        state, parent = tail.split()[:2]
        if state != "Z":
            yield Child(int(folder.name), int(parent), head.partition("(")[2])
