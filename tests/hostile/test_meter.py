"""The meter of costs finds what it is there for."""

import sys

import pytest
from tests.rigs.costs import Cost, Meter, Where

from casemate.wire.errors import WireError

pytestmark = [
    pytest.mark.alone,
    pytest.mark.skipif(sys.platform != "linux", reason="peak memory is read from /proc/self"),
]


def _zeros(size: int) -> bytes:
    return bytes(size)


def _refuse(given: bytes) -> None:
    raise WireError("it", got=given[:4].hex(), want="something else")


def _repeat(given: bytes) -> None:
    raise WireError("it", got=given.hex(), want="something else")


COSTS = (
    Cost("linear", Where.CHIP, bytes.hex, _zeros, 2**20),
    Cost("refused at once", Where.CHIP, _refuse, _zeros, 2**20, accepted=False),
    Cost("quadratic time", Where.CHIP, lambda given: sum(range(len(given) ** 2)), _zeros, 2048),
    Cost("quadratic memory", Where.ELSEWHERE, lambda given: bytearray(len(given) ** 2), _zeros, 4096),
    Cost("no quadratic, but much", Where.CHIP, lambda given: [0] * len(given), _zeros, 4 * 2**20),
    Cost("endless memory", Where.CHIP, lambda given: bytes(len(given) << 30), _zeros, 64),
    Cost("an untyped error", Where.CHIP, lambda given: given[len(given)], _zeros, 64),
    Cost("a long message", Where.CHIP, _repeat, _zeros, 4096, accepted=False),
    Cost("a refusal that is not wanted", Where.CHIP, _refuse, _zeros, 64),
    Cost("an acceptance that is not wanted", Where.CHIP, bytes.hex, _zeros, 64, accepted=False),
)

FAULTS = {
    "linear": "",
    "refused at once": "",
    "quadratic time": "times linearly",
    "quadratic memory": "times linearly",
    "no quadratic, but much": "at most 16.0 is allowed",
    "endless memory": "out of memory",
    "an untyped error": "IndexError",
    "a long message": "an error of",
    "a refusal that is not wanted": "is refused",
    "an acceptance that is not wanted": "the largest input is accepted",
}


@pytest.mark.parametrize("cost", COSTS, ids=lambda cost: cost.name)
def test_finds_what_is_wrong_and_nothing_else(meter: Meter, cost: Cost) -> None:
    faults = meter.faults(__name__, cost)
    if FAULTS[cost.name]:
        assert any(FAULTS[cost.name] in fault for fault in faults), faults
    else:
        assert faults == []
