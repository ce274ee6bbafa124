import json
import subprocess
import sys
from collections.abc import Callable
from itertools import dropwhile, islice, takewhile
from pathlib import Path
from typing import Any

import pytest

ROOT = Path(__file__).parents[2]
PAGE = (ROOT / "docs" / "benchmarks.md").read_text()


@pytest.fixture(scope="module")
def document() -> Any:
    run = subprocess.run(
        [sys.executable, "-m", "bench", "--quick", "--json"], cwd=ROOT, capture_output=True, timeout=300, check=False
    )
    assert run.returncode == 0, run.stderr.decode()
    return json.loads(run.stdout)


@pytest.mark.alone
@pytest.mark.machine
def test_has_the_rows_that_its_page_promises(document: Any) -> None:
    promised = [[cell.strip() for cell in line.strip("|").split("|")] for line in _rows_of("section")]
    for row, cells in zip(document["rows"], promised, strict=True):
        target = row["target"] or ""
        assert [row["section"], row["what"], (row["baseline"] or {}).get("name", ""), target] == cells


@pytest.mark.alone
@pytest.mark.machine
def test_each_row_has_a_figure_or_says_why_not(document: Any) -> None:
    for row in document["rows"]:
        assert row["note"] if row["figure"] is None else row["figure"]["median"] > 0, row


@pytest.mark.alone
@pytest.mark.machine
def test_each_target_is_judged(document: Any) -> None:
    judged = [row for row in document["rows"] if row["target"] and row["figure"]]
    assert len(judged) >= 9
    assert all(isinstance(row["met"], bool) for row in judged)


@pytest.mark.alone
@pytest.mark.machine
def test_says_under_which_conditions(document: Any) -> None:
    assert document["conditions"]["quick"] is True
    assert document["conditions"]["processors"] > 0


def _rows_of(first_column: str) -> list[str]:
    lines = iter(PAGE.splitlines())
    return list(takewhile(lambda line: line.startswith("|"), islice(dropwhile(_is_not(first_column), lines), 2, None)))


def _is_not(first_column: str) -> Callable[[str], bool]:
    return lambda line: not line.startswith(f"| {first_column} |")
