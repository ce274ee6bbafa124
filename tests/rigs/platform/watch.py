"""Watches the memory of a machine's processes while something else happens."""

import statistics
import threading
import time
from collections import defaultdict
from itertools import combinations
from types import TracebackType
from typing import Self

from tests.rigs.platform.processes import Process, family, pss

PERIOD = 1.0
"""Between two looks (seconds)."""
WARM = 0.4
"""The first part of the time, which is not judged: caches fill, heaps find their size."""
MIB = 1 << 20


class MemoryWatch:
    """Looks at the proportional set size of every process from the start of its block to the end."""

    def __init__(self, supervisor: int) -> None:
        self._supervisor = supervisor
        self._sizes: dict[Process, list[tuple[float, int]]] = defaultdict(list)
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._look, daemon=True)
        self.unreadable: set[str] = set()
        """Roles whose memory this user may not see."""

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._stop.set()
        self._thread.join()

    def _look(self) -> None:
        while not self._stop.wait(PERIOD):
            for process in family(self._supervisor):
                size = pss(process.pid)
                if size is not None:
                    self._sizes[process].append((time.monotonic(), size))
                elif process.alive:
                    self.unreadable.add(process.role)

    def growth(self) -> dict[Process, float]:
        """MiB a minute of each process that was there all the time: the median slope between two looks (Theil-Sen)."""
        whole = max(map(len, self._sizes.values()))
        return {
            process: statistics.median(
                (later - size) / (then - moment) * 60 / MIB
                for (moment, size), (then, later) in combinations(sizes[int(len(sizes) * WARM) :], 2)
            )
            for process, sizes in self._sizes.items()
            if len(sizes) > whole * 0.9
        }

    def sizes(self) -> dict[str, float]:
        """MiB of each role together at the last look."""
        found: dict[str, float] = defaultdict(float)
        for process, sizes in self._sizes.items():
            if process.alive:
                found[process.role] += sizes[-1][1] / MIB
        return {role: round(size, 1) for role, size in found.items()}
