"""A machine's processes from /proc; empty without /proc, or if this user may not read it."""

import os
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

PROC = Path("/proc")
_VM = b"casemate.vm"
"""The module that each VM's process runs."""
_ZYGOTE = b"casemate.zygote"
"""The module of the base that Python guests come from, of their images' processes, and of their own."""


@dataclass(frozen=True, slots=True)
class Child:
    """A process that the chip, or the spawner, has started."""

    pid: int
    parent: int
    name: str
    session: int = field(default=0, compare=False)


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
    """The processes below the chip: the spawner, its enclaves and guests, what Python guests come from, and VMs."""
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
                yield Child(grandchild.pid, grandchild.parent, _name(grandchild, child))


def _name(child: Child, spawner: Child) -> str:
    """What a child of the spawner's is."""
    if _runs_engine(child.pid):
        return "guest"
    if _ZYGOTE not in _command_line(child.pid):
        return "enclave"
    # The base has the spawner's session, an image's process begins one, and its guests are in that.
    if child.session == spawner.session:
        return "base"
    return "image" if child.session == child.pid else "guest"


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
        state, parent, _, session = tail.split()[:4]
        if state != "Z":
            yield Child(int(folder.name), int(parent), head.partition("(")[2], int(session))
