"""Parsers of strangers' bytes outside the chip: work and memory stay in proportion to the input."""

import sys

import pytest
from tests.hostile.costs import Cost, Meter, Where, faults_of

from casemate.wire.json_text import MAX_ITEMS, parse_json

pytestmark = [
    pytest.mark.alone,
    pytest.mark.skipif(sys.platform != "linux", reason="peak memory is read from /proc/self"),
]

MIB = 2**20


def _json(text: bytes) -> object:
    return parse_json("it", text, limit=16 * MIB)


def _json_objects(count: int) -> bytes:
    return b"[" + b",".join([b'{"a":1}'] * count) + b"]"


COSTS = (Cost("JSON: objects", Where.ELSEWHERE, _json, _json_objects, MAX_ITEMS // 2 - 1),)


@pytest.mark.parametrize("cost", COSTS, ids=lambda cost: cost.name)
def test_costs_stay_in_proportion_to_the_input(meter: Meter, cost: Cost) -> None:
    assert faults_of(cost, meter.measure(__name__, cost)) == []
