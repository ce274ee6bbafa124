import pytest
from hypothesis import given
from hypothesis import strategies as st

from casemate.wire.errors import WireError
from casemate.wire.snp.secrets_page import SecretsPage

KEYS = st.binary(min_size=32, max_size=32)


@given(KEYS, KEYS, KEYS, KEYS, st.integers(0, 2**32 - 1), st.integers(0, 4095), st.integers(0, 255))
def test_a_page_comes_back_or_is_refused(
    key0: bytes, key1: bytes, key2: bytes, key3: bytes, fms: int, at: int, byte: int
) -> None:
    page = SecretsPage(fms=fms, vmpck0=key0, vmpck1=key1, vmpck2=key2, vmpck3=key3)
    encoded = bytearray(page.encode())
    assert SecretsPage.parse(bytes(encoded)) == page
    encoded[at] = byte
    try:
        assert SecretsPage.parse(bytes(encoded)).encode() == encoded
    except WireError:
        assert byte


def test_keys_are_where_guests_look_for_them() -> None:
    page = SecretsPage(fms=0x00A00F11, vmpck0=b"0" * 32, vmpck1=b"1" * 32, vmpck2=b"2" * 32, vmpck3=b"3" * 32)
    encoded = page.encode()
    assert len(encoded) == 4096
    assert encoded[:0x20] == bytes.fromhex("03000000 00000000 110fa000 00000000") + bytes(16)
    assert encoded[0x20:0xA0] == b"0" * 32 + b"1" * 32 + b"2" * 32 + b"3" * 32
    assert not any(encoded[0xA0:])


def test_keys_are_not_shown() -> None:
    page = SecretsPage(fms=1, vmpck0=b"K" * 32, vmpck1=b"K" * 32, vmpck2=b"K" * 32, vmpck3=b"K" * 32)
    assert "K" not in repr(page)
    assert "K" not in f"{page}"


@pytest.mark.parametrize("size", [0, 4095, 4097])
def test_other_sizes_are_refused(size: int) -> None:
    with pytest.raises(WireError, match="Secrets Page"):
        SecretsPage.parse(bytes(size))
