import hashlib

import pytest
from hypothesis import given
from hypothesis import strategies as st

from casemate.testing.firmware import SECTIONS, make_ovmf
from casemate.wire.errors import WireError
from casemate.wire.snp.kernel_hashes import KernelHashes
from casemate.wire.snp.launch import GuestShape, Part, digest_of, launch_digest, page_count, plan
from casemate.wire.snp.ovmf import Section, SectionType, parse_ovmf
from casemate.wire.snp.page_info import (
    VMSA_GPA,
    LaunchPage,
    PageInfo,
    PageType,
    extend,
    extend_run,
    hash_pages,
)
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


def written_out(digest: bytes, page: LaunchPage) -> bytes:
    """The digest after a page, by the table of PAGE_INFO."""
    hashed = hashlib.sha384(page.content).digest() if page.page_type in (PageType.NORMAL, PageType.VMSA) else bytes(48)
    gpa = VMSA_GPA if page.page_type is PageType.VMSA else page.gpa
    return hashlib.sha384(PageInfo(digest, hashed, 0x70, page.page_type, 0, 0, 0, 0, gpa).encode()).digest()


@given(
    st.binary(min_size=48, max_size=48), st.sampled_from(PageType), st.integers(0, (1 << 52) - 1), st.binary(max_size=9)
)
def test_a_page_extends_the_digest_as_the_table_says(
    digest: bytes, kind: PageType, number: int, content: bytes
) -> None:
    page = LaunchPage(kind, number * 4096, content.ljust(4096, b"\0"))
    assert extend(digest, page) == written_out(digest, page)


@given(st.binary(min_size=48, max_size=48), st.tuples(*[st.integers(0, 15)] * 3), st.integers(1, 4))
def test_a_run_of_pages_is_its_pages_one_after_another(digest: bytes, perms: tuple[int, int, int], count: int) -> None:
    contents, at, want = [bytes([number]) * 48 for number in range(count)], 0x8000, digest
    for number, hashed in enumerate(contents):
        info = PageInfo(want, hashed, 0x70, PageType.NORMAL, 0, *perms, at + number * 4096)
        want = hashlib.sha384(info.encode()).digest()
    assert extend_run(digest, contents, PageType.NORMAL, at, perms) == want


@given(st.lists(st.sampled_from([b"\x00", b"\xff", b"ab"]), max_size=12))
def test_pages_that_repeat_have_the_hashes_of_any_others(pages: list[bytes]) -> None:
    contents = [(page * 4096)[:4096] for page in pages]
    assert hash_pages(b"".join(contents)) == [hashlib.sha384(content).digest() for content in contents]


@pytest.mark.parametrize("vmm", Vmm)
@pytest.mark.parametrize(("pages", "kernel"), [(1, None), (130, None), (300, KERNEL)])
def test_the_digest_is_that_of_the_planned_pages(vmm: Vmm, pages: int, kernel: KernelHashes | None) -> None:
    image = b"\xff" * 4096 * pages + make_ovmf(pages)
    ovmf, shape = parse_ovmf(image), GuestShape(2, 0xA00F11, vmm, kernel=kernel)
    planned = list(plan(ovmf, shape))
    assert launch_digest(ovmf, shape) == digest_of(each.page for each in planned)
    assert page_count(ovmf, shape) == len(planned)


def test_a_digest_is_refused_where_a_plan_is() -> None:
    with pytest.raises(WireError, match="no place for kernel hashes"):
        launch_digest(parse_ovmf(make_ovmf(1, hash_table_gpa=None)), GuestShape(1, 0, Vmm.QEMU, kernel=KERNEL))
