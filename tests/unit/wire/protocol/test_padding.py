import pytest
from hypothesis import given
from hypothesis import strategies as st

from casemate.wire.errors import WireError
from casemate.wire.protocol.padding import FLOOR, pad, padded_size, unpad


@given(st.binary(max_size=5000))
def test_unpadding_gives_back_what_was_padded(text: bytes) -> None:
    assert unpad(pad(text)) == text


@given(st.binary(max_size=1100) | st.binary(max_size=FLOOR).map(lambda tail: pad(b"x")[: -len(tail) or None] + tail))
def test_any_bytes_unpad_to_their_one_text_or_are_refused(padded: bytes) -> None:
    try:
        text = bytes(unpad(padded))
    except WireError:
        return
    assert pad(text) == padded


@given(st.integers(0, 1 << 30))
def test_a_length_grows_by_at_most_an_eighth_and_has_few_bits(size: int) -> None:
    padded = padded_size(size)
    assert padded >= max(size, FLOOR)
    assert padded <= max(FLOOR, size + size // 8 + 1)
    assert padded_size(padded) == padded
    assert (padded // (padded & -padded)).bit_length() <= padded.bit_length().bit_length() + 1


def test_all_short_texts_have_one_length() -> None:
    assert {len(pad(bytes(size))) for size in range(FLOOR - 3)} == {FLOOR}


@pytest.mark.parametrize("padded", [b"", b"\x00", pad(b"abc")[:-1], pad(b"abc") + b"\x00", pad(b"abc")[:-1] + b"\x01"])
def test_refuses_other_paddings(padded: bytes) -> None:
    with pytest.raises(WireError, match="padding"):
        unpad(padded)
