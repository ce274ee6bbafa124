"""kill -9 at random points of a running chain: nothing acknowledged is lost, invented, or half kept."""

import json
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

ROUNDS = 200
SEED = 20261122

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="closes descriptors by way of /proc/self/fd")


def crash(folder: Path, seed: int, rounds: int) -> dict[str, int]:
    """What was counted; fails with what was found wrong."""
    done = subprocess.run(
        [sys.executable, "-m", "tests.crash.chain", str(folder), str(seed), str(rounds)],
        capture_output=True,
        text=True,
        timeout=300,
        check=False,
    )
    said = json.loads(done.stdout)
    assert done.returncode == 0, f"{said} {done.stderr}"
    counted: dict[str, int] = said
    return counted


def test_nothing_acknowledged_is_lost_by_200_kills(
    tmp_path: Path, record_property: Callable[[str, object], None]
) -> None:
    counted = crash(tmp_path, SEED, ROUNDS)
    record_property("counted", counted)
    assert counted["commits"] > ROUNDS
    assert counted["kept though unacknowledged"] > 0  # it was killed between the anchor's step and the answer, too
    assert counted["shared"] > 0  # commits of several writers in one record
    assert counted["fault"] > 0  # and conflicts


@pytest.mark.nightly("ten times 2,000 kills")
@pytest.mark.parametrize("seed", range(10))
def test_nothing_acknowledged_is_lost_by_2000_kills(tmp_path: Path, seed: int) -> None:
    counted = crash(tmp_path, seed, 2000)
    assert counted["commits"] > ROUNDS
