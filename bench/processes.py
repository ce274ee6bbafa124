"""Finds a machine's processes in /proc."""

import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from casemate.client.local import LocalMachine

PROC = Path("/proc")
QUIET = 0.1
"""Seconds without a change after which a machine counts as settled: an engine takes less to start."""
PATIENCE = 20.0
"""Longest wait until a machine is at rest (seconds)."""


@dataclass(frozen=True, slots=True)
class Family:
    """The process ids of a machine."""

    supervisor: int
    host: int
    chip: int
    parent: int
    enclaves: tuple[int, ...]
    guests: tuple[int, ...]

    @property
    def all(self) -> tuple[int, ...]:
        """Every process of the machine."""
        return (self.supervisor, self.host, self.chip, self.parent, *self.enclaves, *self.guests)


def family_of(machine: LocalMachine) -> Family | None:
    """The machine's processes; None until the parent of enclaves has started."""
    status = machine.status
    parents = list(_children(status.chip_pid))
    if len(parents) != 1:
        return None
    parent = parents[0][0]
    children = list(_children(parent))
    return Family(
        supervisor=status.supervisor_pid,
        host=status.host_pid,
        chip=status.chip_pid,
        parent=parent,
        enclaves=tuple(pid for pid, name in children if name != "deno"),
        guests=tuple(pid for pid, name in children if name == "deno"),
    )


def at_rest(machine: LocalMachine, *, enclaves: int, spare_guests: int) -> Family:
    """Waits until ``enclaves`` enclaves run, each with a warm guest, and ``spare_guests`` more guests are warm."""
    deadline = time.monotonic() + PATIENCE
    while time.monotonic() < deadline:
        family = family_of(machine)
        counted = family is not None and (len(family.enclaves), len(family.guests))
        if family is not None and counted == (enclaves, enclaves + spare_guests) and all(map(_is_warm, family.guests)):
            return family
        time.sleep(0.01)
    raise RuntimeError(f"the machine did not come to rest: {family_of(machine)}")


def settled(machine: LocalMachine) -> Family:
    """Waits until no process of enclaves or guests has come or gone for a while, whatever engines they run."""
    deadline = time.monotonic() + PATIENCE
    before, since = family_of(machine), time.monotonic()
    while time.monotonic() < deadline:
        time.sleep(0.01)
        family = family_of(machine)
        if family != before:
            before, since = family, time.monotonic()
        elif family is not None and time.monotonic() - since > QUIET:
            return family
    raise RuntimeError(f"the machine did not settle: {before}")


def processor_seconds(pid: int) -> float:
    """What a process's threads have used of the processors, those that have ended left out (in seconds).

    Exact to the microsecond (Documentation/scheduler/sched-stats.rst, schedstat), where ``stat`` counts in ticks.
    """
    threads = (PROC / str(pid) / "task").glob("*/schedstat")
    return sum(int(thread.read_text().split()[0]) for thread in threads) / 1e9


def _children(pid: int) -> Iterator[tuple[int, str]]:
    """Ids of the children of ``pid``, and what each was started as (proc(5), stat and cmdline).

    The name in ``stat`` will not do: some kernels make one up for who was executed by a descriptor.
    """
    for folder in PROC.iterdir():
        if folder.name.isdigit():
            try:
                tail = (folder / "stat").read_text().rpartition(")")[2]
                program = (folder / "cmdline").read_text(errors="replace").partition("\0")[0]
            except OSError:
                continue  # the process has just ended
            state, parent = tail.split()[:2]
            if int(parent) == pid and state != "Z":
                yield int(folder.name), Path(program).name


def _is_warm(guest: int) -> bool:
    """True if the guest's engine has started: its parent sets the memory limit at that point."""
    try:
        lines = (PROC / str(guest) / "limits").read_text().splitlines()
    except OSError:
        return False
    return any(line.startswith("Max data size") and "unlimited" not in line for line in lines)
