"""XFRM and the SSA frame, against tables that were written down independently from the SDM."""

import pytest

from casemate.wire.errors import WireError
from casemate.wire.sgx.attributes import MiscSelect
from casemate.wire.sgx.xsave import State, check_xfrm, ssa_frame_pages, xsave_size

BITS = (0, 1, 2, 3, 4, 5, 6, 7, 9, 17, 18)
EVERY = sum(1 << bit for bit in BITS)
NONE = MiscSelect(0)


def xsetbv_takes(xfrm: int) -> bool:
    """SDM vol. 2, XSETBV, and vol. 1, 13.3: one line for each sentence."""
    has = {bit: bool(xfrm >> bit & 1) for bit in range(64)}
    good = has[0]
    good &= has[1] or not has[2]
    good &= has[3] == has[4]
    good &= has[5] == has[6] == has[7]
    good &= has[2] or not has[5]
    good &= has[17] == has[18]
    return good and not any(has[bit] for bit in range(64) if bit not in BITS)


def test_every_combination_is_taken_as_xsetbv_and_ecreate_take_it() -> None:
    """ECREATE wants SSE besides (SDM vol. 3D, 38.7.2.2)."""
    for number in range(1 << len(BITS)):
        xfrm = sum(1 << bit for at, bit in enumerate(BITS) if number >> at & 1)
        try:
            check_xfrm(xfrm, supported=EVERY)
            taken = True
        except WireError:
            taken = False
        assert taken is (xsetbv_takes(xfrm) and bool(xfrm & 2)), f"{xfrm:#x}"


@pytest.mark.parametrize("bit", [8, 10, 11, 16, 19, 62, 63])
def test_bits_that_are_no_user_state_are_refused(bit: int) -> None:
    with pytest.raises(WireError):
        check_xfrm(3 | 1 << bit, supported=2**64 - 1)


def test_what_the_processor_lacks_is_refused() -> None:
    check_xfrm(0x1F, supported=EVERY)
    with pytest.raises(WireError, match="this processor has no others"):
        check_xfrm(0x1F, supported=0x602E7)


@pytest.mark.parametrize(
    ("xfrm", "size"),
    [(0x3, 576), (0x7, 832), (0x1B, 1088), (0x1F, 1088), (0xE7, 2688), (0x2E7, 2696), (0x207, 2696), (0x602E7, 11008)],
)
def test_xsave_area_has_the_size_that_processors_enumerate(xfrm: int, size: int) -> None:
    """CPUID leaf 0DH, EBX: 2688 with AVX-512, 2696 with PKRU, 11008 with AMX."""
    assert xsave_size(State(xfrm)) == size


@pytest.mark.parametrize(
    ("xfrm", "misc", "cet", "pages"),
    [(3, NONE, False, 1), (0x2E7, MiscSelect.EXINFO, True, 1), (0x602E7, NONE, False, 3), (0x60003, NONE, False, 3)],
)
def test_frame_holds_registers_too(xfrm: int, misc: MiscSelect, *, cet: bool, pages: int) -> None:
    assert ssa_frame_pages(State(xfrm), misc, cet=cet) == pages
