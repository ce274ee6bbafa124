import pytest
from hypothesis import given
from hypothesis import strategies as st

from casemate.wire.errors import WireError
from casemate.wire.snp.guest_message import (
    ALL_GUEST_FIELDS,
    HEADER_SIZE,
    KeyRequest,
    KeyResponse,
    KeySelect,
    MessageHeader,
    MessageStatus,
    MessageType,
    ReportRequest,
    ReportResponse,
    RootKeySelect,
    payload_of,
)
from casemate.wire.snp.report import REPORT_SIZE

HEADERS = st.builds(
    MessageHeader,
    authtag=st.binary(min_size=16, max_size=16),
    msg_seqno=st.integers(0, 2**64 - 1),
    msg_type=st.sampled_from(MessageType),
    msg_version=st.integers(0, 255),
    msg_size=st.integers(0, 4000),
    msg_vmpck=st.integers(0, 3),
)
MESSAGES = st.one_of(
    HEADERS,
    st.builds(
        ReportRequest,
        st.binary(min_size=64, max_size=64),
        st.integers(0, 2**32 - 1),
        st.sampled_from(KeySelect),
    ),
    st.builds(ReportResponse, st.just(MessageStatus.SUCCESS), st.binary(min_size=REPORT_SIZE, max_size=REPORT_SIZE)),
    st.builds(ReportResponse, st.sampled_from([MessageStatus.INVALID_PARAM, MessageStatus.INVALID_KEY])),
    st.builds(
        KeyRequest,
        st.sampled_from(RootKeySelect),
        st.integers(0, ALL_GUEST_FIELDS),
        st.integers(0, 2**32 - 1),
        st.integers(0, 2**32 - 1),
        st.binary(min_size=8, max_size=8),
    ),
    st.builds(KeyResponse, st.sampled_from(MessageStatus), st.binary(min_size=32, max_size=32)),
)
Message = MessageHeader | ReportRequest | ReportResponse | KeyRequest | KeyResponse


@given(MESSAGES)
def test_every_message_comes_back(value: Message) -> None:
    assert type(value).parse(value.encode()) == value


@given(MESSAGES, st.data())
def test_any_bytes_are_a_message_or_refused(value: Message, data: st.DataObject) -> None:
    changed = bytearray(value.encode())
    for _ in range(3):
        changed[data.draw(st.integers(0, len(changed) - 1))] = data.draw(st.integers(0, 255))
    try:
        parsed = type(value).parse(bytes(changed))
    except WireError:
        return
    assert parsed.encode() == changed


@given(st.sampled_from([MessageHeader, ReportRequest, ReportResponse, KeyRequest, KeyResponse]), st.binary())
def test_other_sizes_are_refused(cls: type[Message], data: bytes) -> None:
    try:
        assert cls.parse(data).encode() == data
    except WireError:
        return


def test_the_header_is_where_the_specification_has_it() -> None:
    header = MessageHeader(
        authtag=b"T" * 16, msg_seqno=0x0102, msg_type=MessageType.REPORT_REQ, msg_size=0x60, msg_vmpck=2
    )
    encoded = header.encode()
    assert encoded[:0x30] == b"T" * 16 + bytes(16) + b"\x02\x01" + bytes(14)
    assert encoded[0x30:0x40] == bytes.fromhex("01 01 6000 05 01 6000 00000000 02 000000")
    assert len(encoded) == HEADER_SIZE
    assert header.nonce == b"\x02\x01" + bytes(10)
    assert header.authenticated == encoded[0x30:]


@pytest.mark.parametrize(
    ("at", "byte", "field"),
    [
        (0x10, 1, "authtag_unused"),
        (0x28, 1, "reserved"),
        (0x30, 2, "algo"),
        (0x31, 2, "hdr_version"),
        (0x32, 0x61, "hdr_size"),
        (0x34, 0, "msg_type"),
        (0x34, 19, "msg_type"),
        (0x37, 0xFF, "msg_size"),
        (0x38, 1, "reserved"),
        (0x3C, 4, "msg_vmpck"),
        (0x5F, 1, "reserved"),
    ],
)
def test_a_header_that_is_none_is_refused_by_the_field(at: int, byte: int, field: str) -> None:
    header = bytearray(MessageHeader(msg_seqno=1, msg_type=MessageType.KEY_REQ, msg_size=0, msg_vmpck=0).encode())
    header[at] = byte
    with pytest.raises(WireError, match=rf"Message Header\.{field} "):
        MessageHeader.parse(bytes(header))


def test_unknown_guest_fields_are_refused() -> None:
    request = KeyRequest(RootKeySelect.VCEK, 1 << 6, 0, 0, bytes(8))
    with pytest.raises(WireError, match="guest_field_select"):
        KeyRequest.parse(request.encode())


def test_a_payload_ends_where_its_header_says() -> None:
    header = MessageHeader(msg_seqno=1, msg_type=MessageType.KEY_REQ, msg_size=3, msg_vmpck=0)
    assert payload_of(header.encode() + b"abcdef", header) == b"abc"
    with pytest.raises(WireError, match="payload"):
        payload_of(header.encode() + b"ab", header)


def test_a_response_does_not_show_its_key() -> None:
    assert "4b4b" not in repr(KeyResponse(MessageStatus.SUCCESS, b"K" * 32))
    assert "KKK" not in repr(KeyResponse(MessageStatus.SUCCESS, b"K" * 32))


def test_a_refusal_has_no_report() -> None:
    encoded = ReportResponse(MessageStatus.INVALID_PARAM).encode()
    assert encoded == b"\x16" + bytes(31)
    with pytest.raises(WireError, match="report"):
        ReportResponse.parse(encoded + bytes(REPORT_SIZE))
