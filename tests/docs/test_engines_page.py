"""docs/engines.md has a column for each engine, no feature that one of them lacks, and tests that are there."""

import re
import subprocess
import sys
from collections.abc import Iterator
from typing import NamedTuple

import pytest
from tests.rigs.docs.markdown import ROOT, anchors, links, table

from casemate.engines.registry import ENGINES

PAGE = (ROOT / "docs" / "engines.md").read_text()
TEST = re.compile(r"<br>`tests/([\w/]+\.py)::(\w+)(?:\[(\w+)\])?`")
NODE = re.compile(r"^tests/(\S+?\.py)::(?:\w+::)*(\w+)(?:\[(.*)\])?$", re.MULTILINE)
NO_FEATURES = {"writing-functions", "a-worked-example-sealed-bids", "a-second-one-a-word-count"}
"""Headings of the page on writing functions that are none: its title and its examples."""


class Named(NamedTuple):
    """A test that a cell names."""

    file: str
    function: str
    engine: str
    """In brackets; or nothing."""


class Cell(NamedTuple):
    feature: str
    engine: str
    words: str
    tests: list[Named]


SECTIONS = [part for part in re.split(r"^## ", PAGE, flags=re.MULTILINE) if "\n| feature |" in part]


def engines_of(section: str) -> list[str]:
    """The engines that the section's table has a column for."""
    heading = next(line for line in section.splitlines() if line.startswith("| feature |"))
    return [title.strip().lower() for title in heading.strip("| ").split(" | ")[1:]]


def cells() -> Iterator[Cell]:
    for section in SECTIONS:
        for feature, *row in table(section, "feature"):
            for engine, cell in zip(engines_of(section), row, strict=False):
                yield Cell(feature, engine, TEST.sub("", cell), [Named(*found) for found in TEST.findall(cell)])


CELLS = list(cells())


@pytest.fixture(scope="module")
def parameters() -> dict[tuple[str, str], list[set[str]]]:
    """The parameters' names of each test in the files that the page names, as pytest collects them."""
    files = sorted({f"tests/{test.file}" for cell in CELLS for test in cell.tests})
    command = [sys.executable, "-m", "pytest", "--collect-only", "-q", "-p", "no:cacheprovider", *files]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=300, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    found: dict[tuple[str, str], list[set[str]]] = {}
    for file, function, names in NODE.findall(done.stdout):
        found.setdefault((file, function), []).append(set(names.split("-")))
    return found


def test_every_engine_has_a_column() -> None:
    assert len(SECTIONS) > 1
    for section in SECTIONS:
        assert sorted(engines_of(section)) == sorted(ENGINES)
        assert {len(row) for row in table(section, "feature")} == {1 + len(ENGINES)}


def test_every_test_that_is_named_is_there(parameters: dict[tuple[str, str], list[set[str]]]) -> None:
    missing = [
        (cell.feature, test)
        for cell in CELLS
        for test in cell.tests
        if not any(test.engine in names | {""} for names in parameters.get((test.file, test.function), []))
    ]
    assert missing == []


def test_a_test_that_runs_with_several_engines_is_named_with_that_of_its_column(
    parameters: dict[tuple[str, str], list[set[str]]],
) -> None:
    for cell in CELLS:
        for test in cell.tests:
            runs_with = set().union(*parameters[test.file, test.function]) & set(ENGINES)
            allowed = {cell.engine} if len(runs_with) > 1 else {cell.engine, ""}
            assert test.engine in allowed, (cell.feature, test)


def test_no_engine_lacks_what_another_has() -> None:
    for cell in CELLS:
        assert cell.words, (cell.feature, cell.engine)
        assert not re.match(r"(no|not|later)\b", cell.words, re.IGNORECASE), cell
        assert cell.tests, f"{cell.feature} in {cell.engine}: {cell.words}; name the test that shows it"


def test_one_test_of_one_engine_shows_nothing_of_another() -> None:
    of = {engine: {test for cell in CELLS if cell.engine == engine for test in cell.tests} for engine in ENGINES}
    assert not set.intersection(*of.values())


def test_every_chapter_on_writing_functions_has_its_row() -> None:
    chapters = anchors((ROOT / "docs" / "writing-functions.md").read_text()) - NO_FEATURES
    assert chapters <= {link.removeprefix("writing-functions.md#") for link in links(PAGE)}
