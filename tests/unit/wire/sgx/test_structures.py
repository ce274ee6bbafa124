"""REPORT, TARGETINFO, KEYREQUEST and SIGSTRUCT: offsets as the SDM's tables have them, reserved ranges, round trips."""

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from casemate.wire.errors import WireError
from casemate.wire.sgx.attributes import ALL_ATTRIBUTES, AttributeFlag, AttributeMask, Attributes
from casemate.wire.sgx.keyrequest import KeyRequest
from casemate.wire.sgx.report import Report, ReportBody, TargetInfo
from casemate.wire.sgx.sigstruct import Sigstruct

STRUCTURES: list[Any] = [Attributes, AttributeMask, ReportBody, Report, TargetInfo, KeyRequest, Sigstruct]

# Field, offset and size, copied from the tables of SDM volume 3D and not from the code.
TABLES = {
    ReportBody: """cpu_svn 0 16, misc_select 16 4, cet_attributes 20 1, isv_ext_prod_id 32 16, attributes.flags 48 8,
        attributes.xfrm 56 8, mr_enclave 64 32, mr_signer 128 32, config_id 192 64, isv_prod_id 256 2, isv_svn 258 2,
        config_svn 260 2, isv_family_id 304 16, report_data 320 64""",
    Report: "body.report_data 320 64, key_id 384 32, mac 416 16",
    TargetInfo: """measurement 0 32, attributes.flags 32 8, attributes.xfrm 40 8, cet_attributes 48 1, config_svn 50 2,
        misc_select 52 4, config_id 64 64""",
    KeyRequest: """key_name 0 2, key_policy 2 2, isv_svn 4 2, cet_attributes_mask 6 1, cpu_svn 8 16,
        attribute_mask.flags 24 8, attribute_mask.xfrm 32 8, key_id 40 32, misc_mask 72 4, config_svn 76 2""",
    Sigstruct: """header 0 16, vendor 16 4, date 20 4, header2 24 16, sw_defined 40 4, modulus 128 384, exponent 512 4,
        signature 516 384, misc_select 900 4, misc_mask 904 4, cet_attributes 908 1, cet_attributes_mask 909 1,
        isv_family_id 912 16, attributes.flags 928 8, attributes.xfrm 936 8, attribute_mask.flags 944 8,
        attribute_mask.xfrm 952 8, enclave_hash 960 32, isv_ext_prod_id 1008 16, isv_prod_id 1024 2, isv_svn 1026 2,
        q1 1040 384, q2 1424 384""",
}
SIZES = {
    Attributes: 16,
    AttributeMask: 16,
    ReportBody: 384,
    Report: 432,
    TargetInfo: 512,
    KeyRequest: 512,
    Sigstruct: 1808,
}
CONSTANTS = {
    0: bytes.fromhex("06000000e10000000000010000000000"),
    24: bytes.fromhex("01010000600000006000000001000000"),
    512: b"\x03\x00\x00\x00",
}


def _least(cls: Any) -> bytes:
    """The encoding in which all that can be zero is."""
    data = bytearray(cls.LAYOUT.size)
    if cls is Sigstruct:
        for offset, value in CONSTANTS.items():
            data[offset : offset + len(value)] = value
    return bytes(data)


@pytest.mark.parametrize("cls", STRUCTURES)
def test_sizes_are_the_specifications(cls: Any) -> None:
    assert cls.LAYOUT.size == SIZES[cls]


@pytest.mark.parametrize("cls", TABLES)
def test_fields_lie_where_the_specification_says(cls: Any) -> None:
    got = {span.name: (span.offset, span.size) for span in cls.LAYOUT.spans if not span.name.endswith("reserved")}
    rows = [row.split() for row in TABLES[cls].split(",")]
    want = {name: (int(offset), int(size)) for name, offset, size in rows}
    assert {name: got[name] for name in want} == want
    assert cls is Report or got.keys() == want.keys()


@pytest.mark.parametrize("cls", STRUCTURES)
def test_spans_cover_every_byte_once(cls: Any) -> None:
    at = 0
    for span in cls.LAYOUT.spans:
        assert span.offset == at
        assert span.source
        at = span.end
    assert at == cls.LAYOUT.size


@pytest.mark.parametrize("cls", STRUCTURES)
def test_refuses_each_reserved_byte_that_is_not_zero(cls: Any) -> None:
    least = _least(cls)
    cls.parse(least)
    for span in cls.LAYOUT.spans:
        if not span.name.endswith("reserved"):
            continue
        for at in range(span.offset, span.end):
            with pytest.raises(WireError, match="reserved"):
                cls.parse(least[:at] + b"\x80" + least[at + 1 :])


@pytest.mark.parametrize("cls", STRUCTURES)
@given(data=st.data())
def test_any_bytes_are_a_value_with_this_encoding_or_a_wire_error(cls: Any, data: st.DataObject) -> None:
    encoded = bytearray(_least(cls))
    fields = [span for span in cls.LAYOUT.spans if not span.name.endswith("reserved")]
    for span in data.draw(st.lists(st.sampled_from(fields), max_size=4)):  # random bytes are hardly ever accepted
        few = data.draw(st.sampled_from([0, 1, 2, 4, 0x8086])).to_bytes(384, "little")[: span.size]
        encoded[span.offset : span.end] = data.draw(st.just(few) | st.binary(min_size=span.size, max_size=span.size))
    try:
        value = cls.parse(bytes(encoded))
    except WireError:
        return
    assert value.encode() == encoded


@pytest.mark.parametrize("cls", STRUCTURES)
@given(data=st.binary(max_size=2000))
def test_random_bytes_are_a_value_or_a_wire_error(cls: Any, data: bytes) -> None:
    try:
        assert cls.parse(data).encode() == data
    except WireError:
        return


@pytest.mark.parametrize("bit", [3, 8, 9, 11, 31, 63])
def test_refuses_reserved_attribute_flags(bit: int) -> None:
    with pytest.raises(WireError, match=r"ATTRIBUTES\.flags"):
        Attributes.parse((1 << bit).to_bytes(8, "little") + bytes(8))


def test_debug_is_a_flag() -> None:
    assert Attributes(AttributeFlag.DEBUG | AttributeFlag.INIT, 3).debug
    assert not Attributes(AttributeFlag.INIT, 3).debug


def test_a_mask_lets_its_bits_through() -> None:
    attributes = Attributes(AttributeFlag.INIT | AttributeFlag.DEBUG, 7)
    assert AttributeMask(~2 & 0xFFFF_FFFF_FFFF_FFFF, 3).over(attributes) == bytes.fromhex(
        "01000000000000000300000000000000"
    )
    assert ALL_ATTRIBUTES.over(attributes) == attributes.encode()


@pytest.mark.parametrize(
    ("cls", "offset", "value", "field"),
    [
        (KeyRequest, 0, 5, "key_name"),
        (KeyRequest, 2, 1 << 6, "key_policy"),
        (ReportBody, 16, 4, "misc_select"),
        (ReportBody, 20, 1 << 5, "cet_attributes"),
        (Sigstruct, 16, 1, "vendor"),
    ],
)
def test_refuses_values_that_the_specification_does_not_know(cls: Any, offset: int, value: int, field: str) -> None:
    data = bytearray(_least(cls))
    data[offset] = value
    with pytest.raises(WireError, match=field):
        cls.parse(bytes(data))
