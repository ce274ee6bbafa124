import pytest
from hypothesis import given
from hypothesis import strategies as st

from casemate.wire.errors import WireError
from casemate.wire.snp.cpuid_page import CpuidFunction, CpuidPage

U32 = st.integers(0, 2**32 - 1)
U64 = st.integers(0, 2**64 - 1)
FUNCTIONS = st.builds(
    CpuidFunction, eax_in=U32, ecx_in=U32, xcr0_in=U64, xss_in=U64, eax=U32, ebx=U32, ecx=U32, edx=U32
)


@given(st.lists(FUNCTIONS, max_size=64), st.integers(0, 4095), st.integers(0, 255))
def test_a_page_comes_back_or_is_refused(functions: list[CpuidFunction], at: int, byte: int) -> None:
    page = CpuidPage(tuple(functions))
    encoded = bytearray(page.encode())
    assert CpuidPage.parse(bytes(encoded)) == page
    encoded[at] = byte
    try:
        assert CpuidPage.parse(bytes(encoded)).encode() == encoded
    except WireError:
        assert encoded != page.encode()


def test_functions_are_where_guests_look_for_them() -> None:
    page = CpuidPage((CpuidFunction(eax_in=0x8000001F, ecx_in=1, xcr0_in=2, xss_in=3, eax=4, ebx=5, ecx=6, edx=7),))
    encoded = page.encode()
    assert len(encoded) == 4096
    assert encoded[:16] == b"\x01" + bytes(15)
    assert encoded[16:64] == bytes.fromhex(
        "1f000080 01000000 0200000000000000 0300000000000000 04000000 05000000 06000000 07000000 0000000000000000"
    )
    assert not any(encoded[64:])


@pytest.mark.parametrize(
    ("page", "field"),
    [
        (b"\x41" + bytes(4095), "count"),
        (bytes(16) + b"\x01" + bytes(4079), "CPUID Page"),
        (b"\x01" + bytes(15 + 0x28) + b"\x01" + bytes(4095 - 15 - 0x28 - 1), "CPUID_FUNCTION.reserved"),
        (bytes(4) + b"\x01" + bytes(4091), "CPUID Page.reserved"),
        (bytes(4095), "CPUID Page"),
    ],
)
def test_what_is_no_page_is_refused(page: bytes, field: str) -> None:
    with pytest.raises(WireError, match=field):
        CpuidPage.parse(page)


def test_more_than_64_functions_are_refused() -> None:
    with pytest.raises(WireError, match="65"):
        CpuidPage((CpuidFunction(eax_in=0),) * 65).encode()
