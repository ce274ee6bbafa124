"""Many writers at once: their commits share the waits for the disks."""

import statistics
from collections.abc import Callable
from pathlib import Path

import pytest
from bench.lone_store import rates

ROUNDS = 5
LEAST = 8.0
"""So many times as many puts a second by 16 writers as by one."""


@pytest.mark.alone
def test_sixteen_writers_commit_at_least_eight_times_as_much_as_one(
    tmp_path: Path, record_property: Callable[[str, object], None]
) -> None:
    one, many = rates(tmp_path, ROUNDS)
    record_property("commits a second", {"one writer": one, "16 writers": many})
    assert statistics.median(many) >= LEAST * statistics.median(one), (one, many)
