import pytest
from hypothesis import given
from hypothesis import strategies as st

from casemate.testing.firmware import DIRECT_BOOT, HASH_TABLE_GPA, make_ovmf
from casemate.wire.errors import WireError
from casemate.wire.snp.ovmf import Section, SectionType, parse_ovmf

IMAGE = make_ovmf(2)


def test_finds_what_the_image_says_of_itself() -> None:
    found = parse_ovmf(IMAGE)
    assert (found.sections, found.reset_eip, found.hash_table_gpa) == (DIRECT_BOOT, 0x0080_B004, HASH_TABLE_GPA)
    assert found.gpa == 0xFFFF_E000


def test_an_image_without_sev_support_has_no_sections() -> None:
    found = parse_ovmf(make_ovmf(1, sections=(), reset_eip=None, hash_table_gpa=None))
    assert (found.sections, found.reset_eip, found.hash_table_gpa) == ((), None, None)


@given(st.binary(max_size=64).map(lambda end: bytes(4096 - len(end)) + end) | st.binary(max_size=9000))
def test_any_bytes_are_an_image_or_refused(content: bytes) -> None:
    try:
        parse_ovmf(content)
    except WireError:
        return
    assert len(content) % 4096 == 0


@given(st.data())
def test_a_damaged_image_is_an_image_or_refused(data: st.DataObject) -> None:
    damaged = bytearray(IMAGE)
    tables = [*range(0x200, 0x270), *range(len(IMAGE) - 32 - 120, len(IMAGE) - 32)]
    for _ in range(data.draw(st.integers(1, 4))):
        damaged[data.draw(st.sampled_from(tables))] = data.draw(st.integers(0, 255))
    try:
        found = parse_ovmf(bytes(damaged))
    except WireError:
        return
    assert all(section.gpa + section.size <= 1 << 32 for section in found.sections)


@pytest.mark.parametrize(
    "section",
    [
        Section(0x0080_0001, 0x1000, SectionType.SECRETS),
        Section(0x0080_0000, 0x1001, SectionType.SECRETS),
        Section(0x0080_0000, 0, SectionType.SECRETS),
        Section(0xFFFF_F000, 0x2000, SectionType.SECRETS),
    ],
    ids=["not at a page", "not whole pages", "empty", "beyond 4 GiB"],
)
def test_refuses_a_section_that_no_guest_can_have(section: Section) -> None:
    with pytest.raises(WireError, match=r"SEV_METADATA\.section"):
        parse_ovmf(make_ovmf(1, sections=(section,)))


def test_names_the_footer_that_is_missing() -> None:
    with pytest.raises(WireError, match="footer"):
        parse_ovmf(bytes(4096))


@pytest.mark.parametrize("size", [0, 1, 4095, 4097])
def test_refuses_what_is_no_whole_number_of_pages(size: int) -> None:
    with pytest.raises(WireError, match="whole number of pages"):
        parse_ovmf(bytes(size))
