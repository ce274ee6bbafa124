import pytest
from hypothesis import given
from hypothesis import strategies as st

from casemate.wire.encodings.fields import Reader, exactly
from casemate.wire.errors import WireError


@given(st.binary(max_size=64), st.lists(st.integers(0, 16), max_size=8))
def test_what_is_taken_and_what_remains_is_the_whole(data: bytes, sizes: list[int]) -> None:
    reader = Reader("X", data)
    taken = b""
    for size in sizes:
        try:
            taken += reader.take("field", size)
        except WireError:
            assert reader.remaining < size
            break
        assert reader.offset + reader.remaining == len(data)
    assert taken == data[: reader.offset]


def test_integers_are_little_endian() -> None:
    assert Reader("X", b"\x01\x02\x00\x00").uint("field", 4) == 0x201


@pytest.mark.parametrize("size", [1, 2, 4, 8])
def test_refuses_a_short_field_and_names_it(size: int) -> None:
    with pytest.raises(WireError, match=rf"X\.field is {size - 1} bytes"):
        Reader("X", bytes(size - 1)).uint("field", size)


def test_refuses_a_constant_that_is_another() -> None:
    with pytest.raises(WireError, match=r"X\.magic is 6262, the format wants 6161"):
        Reader("X", b"bb").expect("magic", b"aa")


def test_refuses_reserved_bytes_that_are_not_zero() -> None:
    with pytest.raises(WireError, match=r"X\.reserved is 01 at its byte 1"):
        Reader("X", b"\x00\x01").zero("reserved", 2)


def test_refuses_bytes_after_the_end() -> None:
    reader = Reader("X", b"ab")
    reader.take("field", 1)
    with pytest.raises(WireError, match="1 bytes after its end"):
        reader.end()


def test_a_size_is_exact() -> None:
    assert exactly("X", b"abc", 3) == b"abc"
    with pytest.raises(WireError, match="X is 3 bytes, the format wants 2 bytes"):
        exactly("X", b"abc", 2)
