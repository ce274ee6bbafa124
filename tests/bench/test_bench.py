import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from bench.markdown import row_cells, table
from bench.report import PAGE

ROOT = Path(__file__).parents[2]


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
    assert table(PAGE.read_text(), "rows") == [row_cells(row) for row in document["rows"]]


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
