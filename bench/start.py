"""Time from an empty state directory to the first verified result."""

import itertools
import time
from pathlib import Path

from bench.figures import Row, Stats
from bench.lab import ARGUMENTS, ENTRY, Lab, policy_for
from casemate.client import connect
from casemate.client.local import local_machine

PARTS = ("machine", "connection and launch", "challenge and appraisal", "call and receipt")


def start(lab: Lab) -> list[Row]:
    """Starts of a new machine (fuses, vendor's roots, certificates), then of the same machine again."""
    fresh: list[list[float]] = []
    again: list[list[float]] = []
    for number in range(lab.rounds.starts):
        state = lab.folder / f"started-{number}"
        fresh.append(_journey(lab, state))
        again.append(_journey(lab, state))
    rows = [
        Row("start", "new machine to first verified result", "ms", Stats.of_seconds(map(sum, fresh))),
        Row("start", "existing machine to first verified result", "ms", Stats.of_seconds(map(sum, again))),
    ]
    rows += [
        Row("start", f"existing machine, its part: {part}", "ms", Stats.of_seconds(seconds))
        for part, seconds in zip(PARTS, zip(*again, strict=True), strict=True)
    ]
    return rows


def _journey(lab: Lab, state: Path) -> list[float]:
    """The seconds that each part took."""
    clock = [time.perf_counter()]
    with local_machine(state) as machine:
        clock.append(time.perf_counter())
        with connect(machine.host_socket) as client:
            number = client.launch(lab.image)
            clock.append(time.perf_counter())
            enclave = client.attest(number, policy_for(lab.image, machine))
            clock.append(time.perf_counter())
            enclave.call(ENTRY, ARGUMENTS)
            clock.append(time.perf_counter())
    return [after - before for before, after in itertools.pairwise(clock)]
