from enum import STRICT, IntEnum, IntFlag

import pytest
from hypothesis import given
from hypothesis import strategies as st

from casemate.wire.encodings.spans import (
    Layout,
    Span,
    as_hex,
    as_number,
    as_text,
    as_zeros,
    constant,
    number,
    raw,
    zeros,
)
from casemate.wire.errors import WireError


class _Kind(IntEnum):
    ONE = 1


class _Bits(IntFlag, boundary=STRICT):
    LOW = 1


class _Value:
    kind = _Kind.ONE
    bits = _Bits.LOW
    tail = b"abc"


LAYOUT = Layout(
    "PAIR",
    "an example",
    (
        constant(0, "tag", b"P"),
        number(1, 2, "kind", _Kind),
        number(3, 1, "bits", _Bits),
        zeros(4, 2),
        raw(6, 3, "tail"),
    ),
)
ENCODED = b"P\x01\x00\x01\x00\x00abc"


def test_a_table_parses_and_encodes() -> None:
    assert LAYOUT.size == 9
    assert LAYOUT.encode(_Value()) == ENCODED
    assert LAYOUT.parse(ENCODED) == {"kind": _Kind.ONE, "bits": _Bits.LOW, "tail": b"abc"}


@pytest.mark.parametrize(
    ("at", "byte", "field"),
    [(0, b"Q", "tag"), (1, b"\x02", "kind"), (2, b"\x01", "kind"), (3, b"\x02", "bits"), (5, b"\x01", "reserved")],
)
def test_refuses_a_byte_that_the_table_does_not_allow(at: int, byte: bytes, field: str) -> None:
    with pytest.raises(WireError, match=rf"PAIR\.{field}"):
        LAYOUT.parse(ENCODED[:at] + byte + ENCODED[at + 1 :])


@pytest.mark.parametrize("data", [b"", ENCODED[:-1], ENCODED + b"\x00"])
def test_refuses_another_size(data: bytes) -> None:
    with pytest.raises(WireError, match="9 bytes"):
        LAYOUT.parse(data)


@pytest.mark.parametrize(("name", "cell"), [("tail", b"ab"), ("tail", b"abcd"), ("kind", 1 << 16), ("bits", -1)])
def test_refuses_to_encode_what_does_not_fit(name: str, cell: object) -> None:
    value = _Value()
    setattr(value, name, cell)
    with pytest.raises(WireError, match=rf"PAIR\.{name}"):
        LAYOUT.encode(value)


def test_a_table_with_a_gap_is_a_mistake() -> None:
    with pytest.raises(TypeError, match="ends at 1"):
        Layout("GAP", "", (raw(0, 1, "a"), raw(2, 1, "b")))


def test_spans_cover_every_byte_and_say_what_it_means() -> None:
    shown = {span.name: span.render(ENCODED) for span in LAYOUT.spans}
    assert b"".join(span.cut(ENCODED) for span in LAYOUT.spans) == ENCODED
    assert shown == {"tag": "50", "kind": "1 ONE", "bits": "1 LOW", "reserved": "2 zero bytes", "tail": "616263"}


def test_a_span_can_be_found_and_moved() -> None:
    assert LAYOUT.span("tail").moved(10, "inner.") == Span("inner.tail", 16, 3, "an example")


def test_unknown_values_are_shown_as_such() -> None:
    assert LAYOUT.span("kind").show(b"\x07\x00") == "7 UNKNOWN"
    assert as_zeros(b"\x00\x01") == "NOT ZERO: 0001"
    assert as_number(b"\x00\x01") == "256 (0x100)"


@given(st.binary(max_size=200))
def test_any_bytes_can_be_shown_on_one_line(run: bytes) -> None:
    for show in (as_hex, as_text, as_number, as_zeros):
        assert "\n" not in show(run)
