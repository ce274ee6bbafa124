import pytest
from hypothesis import given
from hypothesis import strategies as st

from casemate.wire.encodings import der
from casemate.wire.errors import WireError


@pytest.mark.parametrize(
    ("value", "encoded"),
    [(0, "020100"), (1, "020101"), (127, "02017f"), (128, "02020080"), (255, "020200ff"), (65535, "020300ffff")],
)
def test_writes_integers_with_a_leading_zero_where_the_top_bit_is_set(value: int, encoded: str) -> None:
    assert der.uint(value).hex() == encoded
    assert der.DerReader("x", bytes.fromhex(encoded)).uint("n", 0xFFFF) == value


@pytest.mark.parametrize(
    "encoded",
    [
        "0200",  # no contents
        "02020001",  # a zero too many
        "0201ff",  # negative
        "02030100 00",  # beyond the maximum
        "03020080",  # another tag
    ],
)
def test_refuses_integers_in_any_other_form(encoded: str) -> None:
    with pytest.raises(WireError):
        der.DerReader("x", bytes.fromhex(encoded)).uint("n", 0xFFFF)


@pytest.mark.parametrize(
    ("dotted", "encoded"),
    [
        ("1.2.840.113741.1.13.1", "06092a864886f84d010d01"),
        ("2.5.29.15", "0603551d0f"),
        ("1.3.6.1.4.1.32473", "06082b0601040181fd59"),
    ],
)
def test_writes_object_identifiers_as_openssl_does(dotted: str, encoded: str) -> None:
    assert der.oid(dotted).hex() == encoded
    der.DerReader("x", der.oid(dotted)).oid("oid", dotted)


def test_refuses_another_object_identifier() -> None:
    with pytest.raises(WireError, match=r"2\.5\.29\.16"):
        der.DerReader("x", der.oid("2.5.29.15")).oid("oid", "2.5.29.16")


@pytest.mark.parametrize("size", [0, 1, 127, 128, 255, 256, 65535, 65536])
def test_lengths_round_trip_in_their_shortest_form(size: int) -> None:
    encoded = der.element(der.OCTET_STRING, bytes(size))
    reader = der.DerReader("x", encoded)
    assert reader.octets("bytes", size) == bytes(size)
    reader.end()


@pytest.mark.parametrize(
    "encoded",
    [
        "04810100",  # one byte of length where none is needed
        "0482008000",  # a leading zero in the length
        "0480",  # indefinite
        "048400000001ff",  # more bytes of length than any certificate needs
        "0402ff",  # cut off
        "04",
        "",
    ],
)
def test_refuses_lengths_in_any_other_form(encoded: str) -> None:
    with pytest.raises(WireError):
        der.DerReader("x", bytes.fromhex(encoded)).contents("bytes", der.OCTET_STRING)


@pytest.mark.parametrize("encoded", ["010101", "0100", "0102ffff"])
def test_refuses_booleans_that_are_not_00_or_ff(encoded: str) -> None:
    with pytest.raises(WireError):
        der.DerReader("x", bytes.fromhex(encoded)).boolean("flag")


def test_refuses_text_that_is_no_utf8() -> None:
    with pytest.raises(WireError, match="UTF-8"):
        der.DerReader("x", bytes.fromhex("0c01ff")).text("text")


def test_refuses_bytes_after_the_end() -> None:
    reader = der.DerReader("x", der.boolean(value=True) + b"\x00")
    assert reader.boolean("flag")
    with pytest.raises(WireError, match="1 bytes after its end"):
        reader.end()


@given(st.binary(max_size=64))
def test_random_bytes_give_elements_or_a_wire_error(data: bytes) -> None:
    reader = der.DerReader("x", data)
    try:
        contents = reader.contents("any", data[0] if data else der.SEQUENCE)
    except WireError:
        return
    assert data.startswith(der.element(data[0], contents))
