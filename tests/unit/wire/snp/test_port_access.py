import pytest
from hypothesis import given
from hypothesis import strategies as st

from casemate.wire.errors import WireError
from casemate.wire.snp.port_access import PortAccess, PortString


@pytest.mark.parametrize(
    ("info_1", "access"),
    [
        (0x03F8_0210, PortAccess(0x3F8, 1, is_in=False)),
        (0x02FD_0211, PortAccess(0x2FD, 1, is_in=True)),
        (0x0CF8_0221, PortAccess(0xCF8, 2, is_in=True)),
        (0xFFFF_0240, PortAccess(0xFFFF, 4, is_in=False)),
    ],
)
def test_is_as_a_processor_says_it(info_1: int, access: PortAccess) -> None:
    assert PortAccess.parse(info_1) == access
    assert access.encode() == info_1


@pytest.mark.parametrize("bits", [0x0110, 0x0010])
def test_code_of_16_and_32_bits_accesses_ports_too(bits: int) -> None:
    assert PortAccess.parse(0x03F8_0000 | bits) == PortAccess(0x3F8, 1, is_in=False)


@pytest.mark.parametrize(
    "info_1",
    [0, 0x0200, 0x0230, 0x0370, 0x0213, 0x0390, 0x2210, 0x1_0000_0210, -1, 0x0214, 0x021D],
)
def test_refuses_what_is_none_or_is_of_memory(info_1: int) -> None:
    with pytest.raises(WireError, match="EXITINFO1"):
        PortAccess.parse(info_1)


@pytest.mark.parametrize(
    ("info_1", "info_2", "string"),
    [
        (0x03F8_021C, 16, PortString(PortAccess(0x3F8, 1, is_in=False), 16)),
        (0x02F8_022D, 3, PortString(PortAccess(0x2F8, 2, is_in=True), 3)),
        (0x02F8_0214, 9, PortString(PortAccess(0x2F8, 1, is_in=False), 1)),
    ],
)
def test_strings_are_counted_where_they_repeat(info_1: int, info_2: int, string: PortString) -> None:
    assert PortString.parse(info_1, info_2) == string
    assert string.encode() == info_1 | 0xC
    assert string.size == string.count * string.access.size


@pytest.mark.parametrize("info_1", [0x03F8_0210, 0x03F8_0218, 0x03F8_0234, 0x03F8_021E, 0x1_0000_021C, 0x4])
def test_refuses_what_is_no_string(info_1: int) -> None:
    with pytest.raises(WireError, match="EXITINFO1"):
        PortString.parse(info_1, 1)


@pytest.mark.parametrize(("size", "rax"), [(1, 0x1122_3344_5566_77DD), (2, 0x1122_3344_5566_CCDD), (4, 0xAABB_CCDD)])
def test_in_changes_as_much_of_rax_as_a_processor_does(size: int, rax: int) -> None:
    assert PortAccess(0, size, is_in=True).merge(0x1122_3344_5566_7788, 0x99_AABB_CCDD) == rax


@given(st.integers(min_value=0, max_value=(1 << 64) - 1))
def test_any_value_is_an_access_or_refused(info_1: int) -> None:
    for value in (info_1, info_1 & 0xFFFF_1FF1):
        try:
            access = PortAccess.parse(value)
        except WireError:
            continue
        assert PortAccess.parse(access.encode()) == access
