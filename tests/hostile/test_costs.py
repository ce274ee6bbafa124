"""Parsers of strangers' bytes outside the chip: work and memory stay in proportion to the input.

``make nightly`` measures the rows of ``MORE``, too.
"""

import itertools
import sys
from collections.abc import Callable, Iterable

import pytest
from tests.hostile.costs import Cost, Meter, Where, faults_of

from casemate.wire.json_text import MAX_ITEMS, parse_json
from casemate.wire.toml_text import MAX_KEYS, MAX_PARTS, MAX_TOML, MAX_WORD, parse_toml

pytestmark = [
    pytest.mark.alone,
    pytest.mark.skipif(sys.platform != "linux", reason="peak memory is read from /proc/self"),
]

MIB = 2**20


def _toml(text: bytes) -> object:
    return parse_toml("it", text)


def _json(text: bytes) -> object:
    return parse_json("it", text, limit=16 * MIB)


def _filled(pieces: Iterable[bytes], size: int, before: bytes = b"", after: bytes = b"") -> bytes:
    """As many of the pieces as fit into so many bytes."""
    made = bytearray(before)
    for piece in pieces:
        if len(made) + len(piece) + len(after) > size:
            break
        made += piece
    return bytes(made + after)


def _repeated(piece: bytes, before: bytes = b"", after: bytes = b"") -> Callable[[int], bytes]:
    return lambda size: _filled(itertools.repeat(piece), size, before, after)


def _numbered(pattern: bytes, before: bytes = b"") -> Callable[[int], bytes]:
    return lambda size: _filled((pattern % at for at in itertools.count()), size, before)


DEEP = b".a" * (MAX_PARTS - 7)


def _tables(parts: int) -> bytes:
    return b"".join(b"[a%d" % at + DEEP + b"]\n" for at in range(parts // (MAX_PARTS - 6)))


def _header_and_lines(parts: int) -> bytes:
    lines = parts // (MAX_PARTS - 6) - 2
    return b"[x" + DEEP + b"]\n" + b"".join(b"a%d" % at + DEEP + b"=[]\n" for at in range(lines))


def _json_objects(count: int) -> bytes:
    return b"[" + b",".join([b'{"a":1}'] * count) + b"]"


ELSEWHERE = Where.ELSEWHERE

COSTS = (
    Cost("TOML: a key of many parts", ELSEWHERE, _toml, _repeated(b".a", b"a", b"=1"), MAX_TOML, accepted=False),
    Cost("TOML: a header of many parts, many lines", ELSEWHERE, _toml, _header_and_lines, MAX_KEYS),
    Cost("TOML: many tables", ELSEWHERE, _toml, _tables, MAX_KEYS),
    Cost("TOML: many keys", ELSEWHERE, _toml, _numbered(b"a%06d=1\n"), 10 * MAX_KEYS),
    Cost("TOML: many items", ELSEWHERE, _toml, _repeated(b"1,", b"a=[", b"]"), MAX_TOML),
    Cost("JSON: objects", ELSEWHERE, _json, _json_objects, MAX_ITEMS // 2 - 1),
)

MORE = (
    Cost("TOML: strings", ELSEWHERE, _toml, _repeated(b'"",', b"a=[", b"]"), MAX_TOML),
    Cost("TOML: escapes", ELSEWHERE, _toml, _repeated(b"\\n", b'a="', b'"'), MAX_TOML),
    Cost("TOML: quotation marks", ELSEWHERE, _toml, _repeated(b'""\\"', b'a="""', b'"""'), MAX_TOML),
    Cost("TOML: comments", ELSEWHERE, _toml, _repeated(b"#\n"), MAX_TOML),
    Cost("TOML: comments in an array", ELSEWHERE, _toml, _repeated(b"#\n", b"a=[", b"]"), MAX_TOML),
    Cost("TOML: numbers", ELSEWHERE, _toml, _repeated(b"0x" + b"f" * (MAX_WORD - 2) + b",", b"a=[", b"]"), MAX_TOML),
    Cost("TOML: line feeds", ELSEWHERE, _toml, _repeated(b"\n"), MAX_TOML),
    Cost("TOML: nesting", ELSEWHERE, _toml, _repeated(b"[" * 15 + b"]" * 15 + b",", b"a=[", b"]"), MAX_TOML),
    Cost("TOML: brackets", ELSEWHERE, _toml, _repeated(b"[", b"a="), MAX_TOML, accepted=False),
    Cost("TOML: dots", ELSEWHERE, _toml, _repeated(b"."), MAX_TOML, accepted=False),
    Cost("TOML: open strings", ELSEWHERE, _toml, _repeated(b'"\n'), MAX_TOML, accepted=False),
)


@pytest.mark.parametrize("cost", COSTS, ids=lambda cost: cost.name)
def test_costs_stay_in_proportion_to_the_input(meter: Meter, cost: Cost) -> None:
    assert faults_of(cost, meter.measure(__name__, cost)) == []


@pytest.mark.nightly
@pytest.mark.parametrize("cost", MORE, ids=lambda cost: cost.name)
def test_costs_of_more_inputs_stay_in_proportion(meter: Meter, cost: Cost) -> None:
    assert faults_of(cost, meter.measure(__name__, cost)) == []
