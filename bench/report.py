"""Prints the rows as a table or as JSON."""

import itertools
import json
import os
import platform
from dataclasses import dataclass
from typing import Any

from rich import box
from rich.console import Console
from rich.table import Table
from rich.text import Text

from bench.figures import Row

WIDTH = 132
"""Columns if the output is not a terminal."""


@dataclass(frozen=True, slots=True)
class Conditions:
    """The conditions under which the figures were measured."""

    quick: bool
    real_time: bool
    """True if the benchmark ran with real-time priority, so that other load did not interrupt it."""
    seconds: float
    load_before: float
    load_after: float

    def document(self) -> dict[str, Any]:
        """The conditions as JSON for ``--json``."""
        return {
            "quick": self.quick,
            "real_time": self.real_time,
            "seconds": round(self.seconds, 1),
            "processors": os.cpu_count(),
            "kernel": platform.release(),
            "python": platform.python_version(),
            "root": os.geteuid() == 0,
            "load": [self.load_before, self.load_after],
        }


def as_json(rows: list[Row], conditions: Conditions) -> str:
    """The report as one JSON document."""
    return json.dumps({"conditions": conditions.document(), "rows": [row.document() for row in rows]}, indent=2)


def print_table(rows: list[Row], conditions: Conditions) -> None:
    """Prints the report on standard output."""
    console = Console(highlight=False, markup=False)
    if not console.is_terminal:
        console.width = WIDTH
    table = Table(box=box.SIMPLE_HEAD, pad_edge=False)
    for name in ("", "median", "10 % … 90 %", "n", "baseline", "ratio", "target", ""):
        table.add_column(name, justify="left" if name in ("", "target") else "right")
    for section, group in itertools.groupby(rows, key=lambda row: row.section):
        table.add_row(Text(section, "bold"))
        shown = list(group)
        for index, row in enumerate(shown):
            table.add_row(*_cells(row), end_section=index + 1 == len(shown))
    console.print(table)
    for section, baseline in dict.fromkeys((row.section, row.baseline_name) for row in rows if row.baseline):
        console.print(f"baseline of {section}: {baseline}", style="dim")
    facts = conditions.document()
    console.print(
        f"{facts['seconds']} s on {facts['processors']} processors, Linux {facts['kernel']}, Python {facts['python']}, "
        f"{'root' if facts['root'] else 'not root'}. Load average {conditions.load_before:.1f} before, "
        f"{conditions.load_after:.1f} after, "
        + (
            "but nothing got in between (--real-time)."
            if conditions.real_time
            else "beyond the number of processors, ratios say more than milliseconds."
        )
    )
    if conditions.quick:
        console.print("--quick: too few rounds for figures to mean anything", style="bold")


def _cells(row: Row) -> tuple[Text, ...]:
    what = Text(f"  {row.what}")
    if row.note:
        what.append(f"\n    {row.note}", "dim")
    figure, ratio = row.figure, row.ratio
    verdict = {None: Text(""), True: Text("met", "green"), False: Text("not met", "bold red")}[row.met]
    return (
        what,
        Text("not measured" if figure is None else f"{_number(figure.median)} {row.unit}"),
        Text("" if figure is None else f"{_number(figure.p10)} … {_number(figure.p90)}", "dim"),
        Text("" if figure is None else str(figure.count), "dim"),
        Text("" if row.baseline is None else f"{_number(row.baseline.median)} {row.unit}"),
        Text("" if ratio is None else f"{ratio:.2f}"),
        Text("" if row.target is None else row.target.words),
        verdict,
    )


def _number(value: float) -> str:
    """The value with three significant digits."""
    return f"{value:.0f}" if value >= 100 else f"{value:.1f}" if value >= 10 else f"{value:.3g}"
