import pytest
from hypothesis import given
from hypothesis import strategies as st

from casemate.testing.firmware import SECTIONS, make_ovmf
from casemate.wire.errors import WireError
from casemate.wire.snp.kernel_hashes import KernelHashes
from casemate.wire.snp.launch import GuestShape, Part, plan
from casemate.wire.snp.ovmf import Section, SectionType, parse_ovmf
from casemate.wire.snp.page_info import PageInfo
from casemate.wire.snp.vmm import Vmm
from casemate.wire.snp.vmsa import Vmsa, reset_state

KERNEL = KernelHashes.of(b"kernel")


@given(st.binary(min_size=112, max_size=112) | st.binary(max_size=200))
def test_page_info_keeps_every_byte_or_refuses(data: bytes) -> None:
    try:
        value = PageInfo.parse(data)
    except WireError:
        return
    assert value.encode() == data


@given(st.sampled_from(Vmm), st.integers(0, 0xFFFF_FFFF), st.integers(0, 0xFFFF_FFFF), st.integers(0, 0xFFFF))
def test_a_vmsa_keeps_every_byte(vmm: Vmm, eip: int, signature: int, features: int) -> None:
    page = reset_state(eip, vmm, signature, features).encode()
    assert len(page) == 4096
    assert Vmsa.parse(page).encode() == page


def test_a_vmsa_with_something_in_a_reserved_place_is_refused() -> None:
    page = bytearray(4096)
    page[0xD8] = 1
    with pytest.raises(WireError, match=r"VMSA\.reserved"):
        Vmsa.parse(bytes(page))


@pytest.mark.parametrize(
    ("image", "shape", "complaint"),
    [
        (make_ovmf(1, sections=SECTIONS), GuestShape(1, 0, Vmm.QEMU, kernel=KERNEL), "no place for kernel hashes"),
        (make_ovmf(1, hash_table_gpa=None), GuestShape(1, 0, Vmm.QEMU, kernel=KERNEL), "no place for kernel hashes"),
        (make_ovmf(1, hash_table_gpa=0x0081_0FFF), GuestShape(1, 0, Vmm.QEMU, kernel=KERNEL), "SEV_HASH_TABLE"),
        (make_ovmf(1, reset_eip=None), GuestShape(2, 0, Vmm.QEMU), "RESET_BLOCK"),
        (make_ovmf(1), GuestShape(0, 0, Vmm.QEMU), "vCPUs"),
        (make_ovmf(1), GuestShape(513, 0, Vmm.QEMU), "vCPUs"),
        (
            make_ovmf(1, sections=(Section(0x0081_0000, 0x2000, SectionType.KERNEL_HASHES),)),
            GuestShape(1, 0, Vmm.QEMU, kernel=KERNEL),
            "one section of one page",
        ),
    ],
)
def test_refuses_a_guest_that_the_firmware_has_no_place_for(image: bytes, shape: GuestShape, complaint: str) -> None:
    with pytest.raises(WireError, match=complaint):
        list(plan(parse_ovmf(image), shape))


def test_says_where_each_page_comes_from() -> None:
    parts = [planned.part for planned in plan(parse_ovmf(make_ovmf(2)), GuestShape(3, 0, Vmm.QEMU, kernel=KERNEL))]
    assert parts.count(Part.FIRMWARE) == 2
    assert parts.count(Part.KERNEL_HASHES) == 1
    assert parts[-3:] == [Part.VMSA] * 3
