"""The rows as a table on the terminal, as JSON, and in the documentation.

``python -m bench.report --page RUN.json`` writes the tables of ``docs/benchmarks.md`` from a run's JSON.
"""

import argparse
import itertools
import json
import os
import platform
import re
import sys
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from rich import box
from rich.console import Console
from rich.table import Table
from rich.text import Text

from bench.figures import Row, digits
from bench.markdown import UnusableRunError, rewritten

PAGE = Path(__file__).parents[1] / "docs" / "benchmarks.md"
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
            "date": datetime.now(UTC).date().isoformat(),
            "seconds": round(self.seconds, 1),
            "processors": os.cpu_count(),
            "processor": _processor(),
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
        Text("not measured" if figure is None else f"{digits(figure.median)} {row.unit}"),
        Text("" if figure is None else f"{digits(figure.p10)} … {digits(figure.p90)}", "dim"),
        Text("" if figure is None else str(figure.count), "dim"),
        Text("" if row.baseline is None else f"{digits(row.baseline.median)} {row.unit}"),
        Text("" if ratio is None else f"{ratio:.2f}"),
        Text("" if row.target is None else row.target.words),
        verdict,
    )


def _processor() -> str:
    """The processor's name, as Linux gives it."""
    found = re.search(r"^model name\s*: (.*)$", Path("/proc/cpuinfo").read_text(), re.MULTILINE)
    return found[1] if found else platform.machine()


def main() -> int:
    """Writes the page's tables; exits with 1 and leaves the page as it is if the run cannot be used."""
    parser = argparse.ArgumentParser(prog="python -m bench.report", description="Writes the tables of the page.")
    parser.add_argument("--page", required=True, type=Path, metavar="RUN.json", help="output of python -m bench --json")
    run: Path = parser.parse_args().page
    try:
        PAGE.write_text(rewritten(PAGE.read_text(), json.loads(run.read_text())))
    except (OSError, json.JSONDecodeError, UnicodeDecodeError, UnusableRunError) as error:
        print(f"{run}: {error}", file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
