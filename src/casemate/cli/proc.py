"""What /proc tells of a machine's processes; nothing where there is no /proc, or where this user may not look."""

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

PROC = Path("/proc")


@dataclass(frozen=True, slots=True)
class Child:
    """A process that the chip or its parent of enclaves has started."""

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


def below(chip: int) -> Iterator[Child]:
    """The parent of enclaves, then enclaves and guests."""
    everybody = list(_everybody())
    parents = [child for child in everybody if child.parent == chip]
    for parent in parents:
        yield Child(parent.pid, parent.parent, "parent")
        for child in everybody:
            if child.parent == parent.pid:
                yield Child(child.pid, child.parent, "guest" if child.name == "deno" else "enclave")


def _everybody() -> Iterator[Child]:
    for folder in PROC.glob("[0-9]*"):
        try:
            head, _, tail = (folder / "stat").read_text().rpartition(")")
        except OSError:
            continue  # it has just ended
        state, parent = tail.split()[:2]
        if state != "Z":
            yield Child(int(folder.name), int(parent), head.partition("(")[2])
