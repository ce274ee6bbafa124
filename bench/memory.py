"""Memory of a machine at rest: proportional set sizes (a shared page counts in equal parts to its processes)."""

import os
import time
from array import array
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from bench.figures import Kind, Row, Stats, Target
from bench.lab import ARGUMENTS, ENTRY, Lab
from bench.processes import PROC, Family, at_rest
from casemate.client import Client, connect

TOGETHER = Target(Kind.VALUE, 64, "≤ 64 MiB")
ONE_MORE = Target(Kind.VALUE, 24, "≤ 24 MiB")
MIB = 1 << 20
ROWS: tuple[tuple[str, Target | None], ...] = (
    ("chip, parent and one enclave, together", TOGETHER),
    ("one enclave more", ONE_MORE),
    ("the chip", None),
    ("the pre-warmed parent", None),
    ("an enclave without its guest", None),
    ("a guest, one of two", None),
    ("the host", None),
    ("the supervisor", None),
)
LOOKS = 3
"""Number of measurements, half a second apart."""

_PAGE = os.sysconf("SC_PAGE_SIZE")
_PRESENT = 1 << 63
_FRAME = (1 << 55) - 1


class UnreadableError(Exception):
    """This user may not read the memory maps of the chip, which is not dumpable."""


@dataclass(frozen=True, slots=True)
class Look:
    """One measurement: the bytes of each process, by process id."""

    pss: dict[int, float]
    how: str


def memory(lab: Lab) -> list[Row]:
    """Memory with one enclave that has answered a call, then with one more."""
    try:
        with connect(lab.machine.host_socket) as client:
            try:
                one = _grown(lab, client, 1)
                two = _grown(lab, client, 2)
            finally:
                for enclave in client.enclaves():
                    client.destroy(enclave.enclave)
    except UnreadableError:
        return [Row("memory", what, "MiB", None, target=target, note="readable by root alone") for what, target in ROWS]
    trusted = one.of(one.family.chip, one.family.parent, *one.family.enclaves)
    grown = two.of(two.family.chip, two.family.parent, *two.family.enclaves)
    figures = (
        trusted,
        [after - before for before, after in zip(trusted, grown, strict=True)],
        one.of(one.family.chip),
        one.of(one.family.parent),
        one.of(*one.family.enclaves),
        [size / len(one.family.guests) for size in one.of(*one.family.guests)],
        one.of(one.family.host),
        one.of(one.family.supervisor),
    )
    how = one.looks[0].how
    return [
        Row("memory", what, "MiB", Stats.of(sizes), target=target, note=how if target is TOGETHER else "")
        for (what, target), sizes in zip(ROWS, figures, strict=True)
    ]


@dataclass(frozen=True, slots=True)
class _Rest:
    """Repeated measurements of a machine at rest."""

    family: Family
    looks: list[Look]

    def of(self, *pids: int) -> list[float]:
        """The sum of these processes' memory in each measurement (MiB)."""
        return [sum(look.pss[pid] for pid in pids) / MIB for look in self.looks]


def _grown(lab: Lab, client: Client, enclaves: int) -> _Rest:
    """Measures with one more enclave; ``enclaves`` is their number then."""
    client.attest(client.launch(lab.image), lab.policy).call(ENTRY, ARGUMENTS)
    family = at_rest(lab.machine, enclaves=enclaves, spare_guests=1)
    time.sleep(lab.rounds.settle)
    return _Rest(family, _looks(family))


def _looks(family: Family) -> list[Look]:
    looks = []
    for _ in range(LOOKS):
        looks.append(look(family.all))
        time.sleep(0.5)
    return looks


def look(pids: Sequence[int]) -> Look:
    """Measures these processes as if no other machine ran here: other machines share pages of the same runtime files.

    Only root may read page frame numbers, which show the processes that share a page. Other users get the kernel's
    proportional set size.
    """
    frames = {pid: _frames(pid) for pid in pids}
    if all(frames.values()):
        sharers = Counter(frame for held in frames.values() for frame in held)
        pss = {pid: sum(_PAGE / sharers[frame] for frame in held) for pid, held in frames.items()}
        return Look(pss, "PSS, counted by page frames: shared pages are shared with this machine's processes alone")
    return Look({pid: _rollup(pid) for pid in pids}, "PSS of smaps_rollup: other machines may share pages, too")


def _rollup(pid: int) -> float:
    for line in _read(PROC / str(pid) / "smaps_rollup").splitlines():
        if line.startswith(b"Pss:"):
            return int(line.split()[1]) * 1024
    raise UnreadableError


def _frames(pid: int) -> set[int]:
    """The page frames that a process has mapped (Documentation/admin-guide/mm/pagemap.rst); empty if not permitted."""
    found: set[int] = set()
    try:
        opened = (PROC / str(pid) / "pagemap").open("rb", buffering=0)
    except OSError:
        raise UnreadableError from None
    with opened as pagemap:
        for start, end in _resident(pid):
            pagemap.seek(start // _PAGE * 8)
            entries = array("Q", pagemap.read((end - start) // _PAGE * 8))
            found.update(entry & _FRAME for entry in entries if entry & _PRESENT)
    found.discard(0)
    return found


def _resident(pid: int) -> list[tuple[int, int]]:
    """The mappings with at least one page in memory: engines reserve far more than they use."""
    found = []
    start = end = 0
    for line in _read(PROC / str(pid) / "smaps").splitlines():
        head = line.split(None, 1)[0]
        if b"-" in head:
            start, end = (int(part, 16) for part in head.split(b"-"))
        elif head == b"Rss:" and int(line.split()[1]):
            found.append((start, end))
    return found


def _read(path: Path) -> bytes:
    try:
        return path.read_bytes()
    except OSError:
        raise UnreadableError from None
