"""The tables of the page of figures: written from a run, and those of the benchmark."""

import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from bench.figures import Kind, Row, Stats, Target
from bench.markdown import MET, MISSED, TABLES, UnusableRunError, rewritten, table
from bench.report import PAGE, Conditions
from bench.sections import SECTIONS

TEXT = PAGE.read_text()
EMPTY = "by hand\n" + "".join(f"<!-- table of {name} -->\n<!-- end of {name} -->\nby hand\n" for name in TABLES)
LAUNCH = Row("launch", "cold", "ms", Stats.of([123]), "bare", Stats.of([10]), Target(Kind.VALUE, 100, "≤ 100 ms"))
CALL = Row("call", "p50", "ms", Stats.of([1]), target=Target(Kind.VALUE, 2, "≤ 2 ms"))


def run_of(*rows: Row, quick: bool = False) -> dict[str, Any]:
    conditions = Conditions(quick, real_time=True, seconds=1.0, load_before=0.5, load_after=0.6)
    return {"conditions": conditions.document(), "rows": [row.document() for row in rows]}


def test_each_row_of_the_benchmark_has_its_figure() -> None:
    rows = [cells[:2] for cells in table(TEXT, "rows")]
    assert [cells[:2] for cells in table(TEXT, "run")] == rows
    assert list(dict.fromkeys(section for section, _ in rows)) == list(SECTIONS)
    assert [section for section, _ in table(TEXT, "conditions")] == list(SECTIONS)


def test_a_target_that_was_measured_was_judged() -> None:
    for row, figure in zip(table(TEXT, "rows"), table(TEXT, "run"), strict=True):
        measured = not figure[2].startswith("not measured")
        assert (figure[-1] in (MET, MISSED)) is (row[-1] != "" and measured), row


def test_a_run_is_written_between_the_markers() -> None:
    page = rewritten(EMPTY, run_of(LAUNCH, CALL))
    assert table(page, "rows") == [("launch", "cold", "bare", "≤ 100 ms"), ("call", "p50", "", "≤ 2 ms")]
    assert table(page, "run") == [
        ("launch", "cold", "123 ms", "123 … 123", "10.0 ms", "12.30", "missed"),
        ("call", "p50", "1 ms", "1 … 1", "", "", "met"),
    ]
    assert "Of 2 targets, 1 were met and 1 were missed." in page
    assert page.count("by hand") == EMPTY.count("by hand")


def test_a_second_writing_changes_nothing() -> None:
    run = run_of(LAUNCH, CALL)
    for page in (EMPTY, TEXT):
        once = rewritten(page, run)
        assert once != page
        assert rewritten(once, run) == once


def test_a_run_of_one_section_keeps_the_others() -> None:
    page = rewritten(rewritten(EMPTY, run_of(LAUNCH, CALL)), run_of(Row("call", "p99", "ms", Stats.of([7]))))
    assert [cells[:3] for cells in table(page, "run")] == [("launch", "cold", "123 ms"), ("call", "p99", "7 ms")]


def test_the_lines_of_a_section_that_is_gone_are_dropped(monkeypatch: pytest.MonkeyPatch) -> None:
    page = rewritten(EMPTY, run_of(LAUNCH, CALL))
    monkeypatch.delitem(SECTIONS, "launch")
    assert [cells[0] for cells in table(rewritten(page, run_of(CALL)), "rows")] == ["call"]


def test_a_figure_that_could_not_be_measured_is_shown_with_its_reason() -> None:
    page = rewritten(EMPTY, run_of(Row("memory", "chip", "MiB", None, note="readable by root alone")))
    assert table(page, "run") == [("memory", "chip", "not measured: readable by root alone", "", "", "", "")]


@pytest.mark.parametrize(
    ("change", "refusal"),
    [
        (lambda run: run | {"conditions": run["conditions"] | {"quick": True}}, "--quick"),
        (lambda run: {"rows": run["rows"]}, "not the JSON"),
        (lambda run: run | {"rows": [{"section": "call"}]}, "not the JSON"),
        (lambda run: run | {"rows": 7}, "not the JSON"),
        (lambda run: run | {"rows": [CALL.document() | {"section": "weather"}]}, "weather"),
        (lambda run: [run], "not the JSON"),
    ],
)
def test_refuses_what_is_not_a_full_run(change: Callable[[Any], Any], refusal: str) -> None:
    with pytest.raises(UnusableRunError, match=refusal):
        rewritten(EMPTY, change(run_of(CALL)))


def test_refuses_a_page_without_markers() -> None:
    with pytest.raises(UnusableRunError, match="no markers for its table of rows"):
        rewritten("by hand", run_of(CALL))


@pytest.mark.parametrize("content", [b"{", b"\xff", b"{}"])
def test_the_command_says_what_is_wrong_and_leaves_the_page(tmp_path: Path, content: bytes) -> None:
    run = tmp_path / "run.json"
    run.write_bytes(content)
    command = [sys.executable, "-m", "bench.report", "--page", str(run)]
    ended = subprocess.run(command, cwd=PAGE.parents[1], capture_output=True, text=True, check=False)
    assert (ended.returncode, ended.stderr.count("\n")) == (1, 1)
    assert str(run) in ended.stderr
    assert PAGE.read_text() == TEXT
