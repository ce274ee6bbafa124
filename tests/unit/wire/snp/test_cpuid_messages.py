import pytest
from hypothesis import given
from hypothesis import strategies as st

from casemate.wire.errors import WireError
from casemate.wire.snp.cpuid_messages import CpuidRequest, CpuidResponse
from casemate.wire.snp.cpuid_page import CpuidFunction
from casemate.wire.snp.guest_message import MessageStatus

U32 = st.integers(0, 2**32 - 1)
FUNCTIONS = st.lists(st.builds(CpuidFunction, eax_in=U32, ecx_in=U32, eax=U32, edx=U32), max_size=64).map(tuple)
MESSAGES = st.builds(CpuidRequest, FUNCTIONS) | st.builds(CpuidResponse, st.sampled_from(MessageStatus), FUNCTIONS)


@given(MESSAGES, st.data())
def test_a_message_comes_back_or_is_refused(value: CpuidRequest | CpuidResponse, data: st.DataObject) -> None:
    encoded = bytearray(value.encode())
    assert type(value).parse(bytes(encoded)) == value
    encoded[data.draw(st.integers(0, len(encoded) - 1))] = data.draw(st.integers(0, 255))
    try:
        assert type(value).parse(bytes(encoded)).encode() == encoded
    except WireError:
        assert encoded != value.encode()


@given(st.sampled_from([CpuidRequest, CpuidResponse]), st.binary(max_size=200))
def test_any_bytes_are_a_message_or_refused(cls: type[CpuidRequest | CpuidResponse], data: bytes) -> None:
    try:
        assert cls.parse(data).encode() == data
    except WireError:
        return


def test_fields_are_where_the_specification_has_them() -> None:
    function = CpuidFunction(eax_in=0x8000001F, eax=2)
    assert CpuidRequest((function,)).encode() == b"\x01" + bytes(15) + function.encode()
    response = CpuidResponse(MessageStatus.INVALID_PARAM, (function,)).encode()
    assert response == b"\x16\0\0\0\x01" + bytes(11) + function.encode()


def test_more_than_64_functions_are_refused() -> None:
    with pytest.raises(WireError, match=r"MSG_CPUID_REQ\.count is 65"):
        CpuidRequest.parse(CpuidRequest((CpuidFunction(eax_in=0),) * 65).encode())
