"""Samples, their statistics, and the targets they are compared with."""

import gc
import statistics
import time
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from enum import StrEnum
from typing import Any


@dataclass(frozen=True, slots=True)
class Stats:
    """Statistics of samples, in the row's unit."""

    count: int
    median: float
    p10: float
    p90: float
    p99: float

    @classmethod
    def of(cls, samples: Iterable[float]) -> "Stats":
        """The statistics of at least one sample."""
        ordered = sorted(samples)
        return cls(
            len(ordered), statistics.median(ordered), at(ordered, 0.10), at(ordered, 0.90), at(ordered, 0.99)
        )  # fmt: skip

    @classmethod
    def of_seconds(cls, samples: Iterable[float]) -> "Stats":
        """The statistics of durations in seconds, as milliseconds."""
        return cls.of(sample * 1000 for sample in samples)


def at(ordered: list[float], share: float) -> float:
    """The nearest-rank percentile of sorted samples."""
    return ordered[min(len(ordered) - 1, int(share * len(ordered)))]


class Kind(StrEnum):
    """The comparison that a target makes; always of medians."""

    VALUE = "value"
    RATIO = "ratio"  # ours divided by the baseline
    OVER = "over"  # ours minus the baseline


@dataclass(frozen=True, slots=True)
class Target:
    """A target: the compared value is at most ``limit``."""

    kind: Kind
    limit: float
    words: str


@dataclass(frozen=True, slots=True)
class Row:
    """A row of the report: a figure, its baseline and its target."""

    section: str
    what: str
    unit: str
    """``ms``, ``MiB``, or ``x`` for a ratio."""
    figure: Stats | None
    """None if it cannot be measured here; the note says why."""
    baseline_name: str = ""
    baseline: Stats | None = None
    target: Target | None = None
    note: str = ""

    @property
    def ratio(self) -> float | None:
        """Our median divided by the baseline's; None without either."""
        if self.figure is None or self.baseline is None:
            return None
        return self.figure.median / self.baseline.median

    @property
    def met(self) -> bool | None:
        """True if the target is met; None without a target or a figure."""
        if self.target is None or self.figure is None:
            return None
        compared = self.figure.median
        if self.target.kind is not Kind.VALUE:
            if self.baseline is None:
                raise TypeError(f"{self.what}: a target without its baseline")
            base = self.baseline.median
            compared = compared / base if self.target.kind is Kind.RATIO else compared - base
        return compared <= self.target.limit

    def document(self) -> dict[str, Any]:
        """The row as JSON for ``--json``."""
        return {
            "section": self.section,
            "what": self.what,
            "unit": self.unit,
            "figure": None if self.figure is None else _document(self.figure),
            "baseline": None if self.baseline is None else {"name": self.baseline_name, **_document(self.baseline)},
            "ratio": self.ratio,
            "target": None if self.target is None else self.target.words,
            "met": self.met,
            "note": self.note,
        }


def digits(value: float) -> str:
    """The value with three significant digits."""
    return f"{value:.0f}" if value >= 100 else f"{value:.1f}" if value >= 10 else f"{value:.3g}"


def _document(stats: Stats) -> dict[str, float]:
    return {name: getattr(stats, name) for name in Stats.__slots__}


Arm = Callable[[], float]
"""Does its work once; returns the seconds it took without preparations."""


def timed(work: Callable[[], object], prepare: Callable[[], object] | None = None) -> Arm:
    """An arm that times ``work``, after ``prepare``, which is not timed."""

    def arm() -> float:
        if prepare is not None:
            prepare()
        began = time.perf_counter()
        work()
        return time.perf_counter() - began

    return arm


def interleave(rounds: int, *arms: Arm, warm_up: int = 1) -> list[list[float]]:
    """The samples of each arm. The arms take turns, in alternating order, so that all see the same noise."""
    samples: list[list[float]] = [[] for _ in arms]
    for _ in range(warm_up):
        for arm in arms:
            arm()
    gc.collect()
    for round_number in range(rounds):
        order = range(len(arms)) if round_number % 2 == 0 else reversed(range(len(arms)))
        for number in order:
            samples[number].append(arms[number]())
    return samples
