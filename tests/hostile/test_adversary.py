"""Every attempt of the adversary's table, carried out; and what docs/threat-model.md says of those that relay."""

import pytest
from tests.rigs.adversary import SUCCEEDS, TABLE, Attempt
from tests.rigs.docs.markdown import ROOT, table

PAGE = (ROOT / "docs" / "threat-model.md").read_text()


@pytest.mark.parametrize("attempt", TABLE, ids=lambda attempt: f"{attempt.way}: {attempt.name}")
def test_comes_to_what_the_table_says(attempt: Attempt) -> None:
    assert attempt.carry_out() == attempt.outcome


def test_no_attempt_stands_twice() -> None:
    names = [(attempt.who, attempt.way, attempt.name) for attempt in TABLE]
    assert len(names) == len(set(names))


def test_what_succeeds_says_what_bounds_it_and_what_to_demand() -> None:
    for attempt in TABLE:
        assert bool(attempt.limit) == (attempt.outcome == SUCCEEDS), attempt.name
        assert attempt.demand or attempt.outcome != SUCCEEDS, attempt.name


def test_the_threat_model_shows_each() -> None:
    shown = {tuple(row) for row in table(PAGE, "who")}
    assert shown == {_row(attempt) for attempt in TABLE}


def _row(attempt: Attempt) -> tuple[str, ...]:
    outcome = (attempt.limit and f"**succeeds**: {attempt.limit}") or f"refused: `{attempt.outcome}`"
    return (attempt.who, attempt.way, attempt.name, outcome, attempt.demand)
