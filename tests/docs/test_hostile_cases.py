"""The table of hostile functions in docs/threat-model.md: all that it names is tried."""

import re

import pytest
from tests.rigs.docs.markdown import ROOT, table

from casemate.testing.hostile_guests import HOSTILE_GUESTS
from casemate.testing.hostile_python import HOSTILE_PYTHON

PAGE = (ROOT / "docs" / "threat-model.md").read_text()
ROWS = table(PAGE.partition("## Hostile functions that are tried")[2], "case")
JAVASCRIPT = {guest.name for guest in HOSTILE_GUESTS}
RAW = {guest.name for guest in HOSTILE_PYTHON if "(raw)" in guest.name}
PLAIN = {guest.name for guest in HOSTILE_PYTHON} - RAW


@pytest.mark.parametrize(("column", "names"), [(1, JAVASCRIPT), (2, PLAIN), (3, RAW)], ids=["js", "python", "raw"])
def test_each_case_of_a_column_is_tried(column: int, names: set[str]) -> None:
    named = [name for row in ROWS for name in re.findall("`(.+?)`", row[column])]
    assert len(named) > 20
    assert set(named) <= names


def test_each_cell_names_a_case_or_says_why_there_is_none() -> None:
    assert len(ROWS) > 20
    for row in ROWS:
        assert all(cell.strip() for cell in row), row
