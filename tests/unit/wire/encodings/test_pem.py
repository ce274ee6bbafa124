import pytest
from hypothesis import given
from hypothesis import strategies as st

from casemate.wire.encodings.pem import MAX_CERTIFICATE, MAX_CERTIFICATES, encode_chain, parse_chain
from casemate.wire.errors import WireError

ONE = encode_chain(b"one")


def test_chain_round_trips_with_the_place_of_each_certificate() -> None:
    text = encode_chain(b"leaf", b"a" * 300, b"root")
    blocks = parse_chain("chain", text)
    assert [block.der for block in blocks] == [b"leaf", b"a" * 300, b"root"]
    assert [parse_chain("block", text[block.offset : block.offset + block.size])[0].der for block in blocks] == [
        b"leaf",
        b"a" * 300,
        b"root",
    ]


@pytest.mark.parametrize("end", [b"\x00", b"\n\x00", b"\r\n", b"", b"\n\n\x00\x00"])
def test_takes_the_ends_that_real_quotes_have(end: bytes) -> None:
    assert parse_chain("chain", ONE + end)[0].der == b"one"


def test_takes_windows_line_ends() -> None:
    assert parse_chain("chain", ONE.replace(b"\n", b"\r\n"))[0].der == b"one"


@pytest.mark.parametrize(
    "text",
    [
        b"",
        b"\x00",
        b"nothing of the kind",
        b"a comment\n" + ONE,
        ONE + b"a comment",
        ONE.replace(b"CERTIFICATE", b"PRIVATE KEY"),
        ONE.replace(b"b25l", b"b2"),
        ONE.replace(b"b25l", b"b2*l"),
        ONE.replace(b"b25l", b""),
        ONE[:-20],
        ONE * (MAX_CERTIFICATES + 1),
        encode_chain(bytes(MAX_CERTIFICATE + 1)),
    ],
)
def test_refuses_all_else(text: bytes) -> None:
    with pytest.raises(WireError):
        parse_chain("chain", text)


@given(st.lists(st.binary(min_size=1, max_size=200), min_size=1, max_size=MAX_CERTIFICATES))
def test_any_certificates_round_trip(ders: list[bytes]) -> None:
    assert [block.der for block in parse_chain("chain", encode_chain(*ders))] == ders


@given(st.binary(max_size=200), st.integers(0, len(ONE)))
def test_damaged_text_gives_certificates_or_a_wire_error(junk: bytes, at: int) -> None:
    try:
        parse_chain("chain", ONE[:at] + junk + ONE[at:])
    except WireError:
        return
