"""The tables of ``docs/benchmarks.md``, written from the JSON of a run.

A run may be of some sections alone: their lines are replaced, and those of all other sections stay as they are. Lines
of sections that the benchmark no longer has are dropped. All text outside the markers is written by hand and kept.
"""

import re
from collections.abc import Iterable
from datetime import date
from typing import Any

from bench.figures import digits
from bench.sections import SECTIONS

TABLES = {
    "rows": ("section", "figure", "baseline", "target"),
    "run": ("run of", "figure", "median", "10 % … 90 %", "baseline", "ratio", "target"),
    "conditions": ("conditions of", "measured"),
}
"""The name in the markers, and the columns. The first column is the section in each table."""
MET, MISSED = "met", "missed"


class UnusableRunError(Exception):
    """The run, or the page, is not one that tables can be written from."""


def rewritten(page: str, run: dict[str, Any]) -> str:
    """The page with its tables written from the run.

    Raises:
        UnusableRunError: The run was quick or not the JSON of ``python -m bench --json``, or the page has no markers.
    """
    try:
        if run["conditions"]["quick"]:
            raise UnusableRunError("this run was made with --quick, so its figures mean nothing")
        sections = {row["section"] for row in run["rows"]}
        measured: dict[str, list[tuple[str, ...]]] = {
            "rows": [row_cells(row) for row in run["rows"]],
            "run": [_figure_cells(row) for row in run["rows"]],
            "conditions": [(section, _words(run["conditions"])) for section in SECTIONS if section in sections],
        }
        if not sections <= SECTIONS.keys():
            raise UnusableRunError(f"the run has sections that are not of this benchmark: {sections - SECTIONS.keys()}")
    except (KeyError, TypeError, ValueError, AttributeError) as error:
        raise UnusableRunError("this is not the JSON of `python -m bench --json`") from error
    for name, columns in TABLES.items():
        lines = _merged(table(page, name), measured[name])
        text = "\n".join(_line(cells) for cells in (columns, ("---",) * len(columns), *lines))
        if name == "run":
            verdicts = [cells[-1] for cells in lines]
            met, missed = verdicts.count(MET), verdicts.count(MISSED)
            text += f"\n\nOf {met + missed} targets, {met} were met and {missed} were missed."
        start, end = _span(page, name)
        page = f"{page[:start]}\n{text}\n\n{page[end:]}"
    return page


def table(page: str, name: str) -> list[tuple[str, ...]]:
    """The cells of one of the page's tables, without its head.

    Raises:
        UnusableRunError: The page has no such table.
    """
    lines = [line for line in page[slice(*_span(page, name))].splitlines() if line.startswith("|")]
    return [tuple(cell.strip() for cell in re.split(r"(?<!\\)\|", line)[1:-1]) for line in lines[2:]]


def row_cells(row: dict[str, Any]) -> tuple[str, ...]:
    """What a row of the run says of itself: section, figure, baseline, target."""
    return row["section"], row["what"], (row["baseline"] or {}).get("name", ""), row["target"] or ""


def _figure_cells(row: dict[str, Any]) -> tuple[str, ...]:
    figure, baseline, unit = row["figure"], row["baseline"], row["unit"]
    if figure is None:
        return row["section"], row["what"], f"not measured: {row['note']}", "", "", "", ""
    return (
        row["section"],
        row["what"],
        f"{digits(figure['median'])} {unit}",
        f"{digits(figure['p10'])} … {digits(figure['p90'])}",
        "" if baseline is None else f"{digits(baseline['median'])} {unit}",
        "" if baseline is None else f"{row['ratio']:.2f}",
        {None: "", True: MET, False: MISSED}[row["met"]],
    )


def _words(conditions: dict[str, Any]) -> str:
    day = date.fromisoformat(conditions["date"])
    before, after = conditions["load"]
    facts = (
        f"{day.day} {day:%B %Y}",
        f"{conditions['processors']} x {conditions['processor']}",
        f"Linux {conditions['kernel']}",
        f"Python {conditions['python']}",
        "root" if conditions["root"] else "not root",
        *(["`--real-time`"] if conditions["real_time"] else []),
        f"load {before:.1f} before and {after:.1f} after",
    )
    return ", ".join(facts)


def _merged(old: list[tuple[str, ...]], new: list[tuple[str, ...]]) -> list[tuple[str, ...]]:
    replaced = {cells[0] for cells in new}
    kept = [cells for cells in old if cells[0] in SECTIONS and cells[0] not in replaced]
    return sorted([*kept, *new], key=lambda cells: list(SECTIONS).index(cells[0]))  # stable within a section


def _line(cells: Iterable[str]) -> str:
    return "".join(f"| {cell} " if cell else "| " for cell in cells) + "|"


def _span(page: str, name: str) -> tuple[int, int]:
    """Where a table's text is in the page: between its two markers."""
    found = re.search(rf"(?<=<!-- table of {name} -->\n).*?(?=<!-- end of {name} -->)", page, re.DOTALL)
    if found is None:
        raise UnusableRunError(f"the page has no markers for its table of {name}")
    return found.span()
