from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from casemate.wire.encodings.message import encode_fields, encode_message, parse_fields, parse_message
from casemate.wire.errors import WireError
from casemate.wire.messages.state import (
    ListStates,
    StateAppend,
    StateForget,
    StateRead,
    StateRecords,
    StateRefused,
    StatesAre,
    StateStored,
)
from casemate.wire.protocol.sealed_record import (
    MAX_RECORD,
    NO_RECORD,
    TAG_SIZE,
    SealedHeader,
    SealedKind,
    SealedRecord,
    record_digest,
)
from casemate.wire.protocol.state_changes import MAX_KEY, Change, Changes
from casemate.wire.sgx.keyrequest import KeyPolicy

SIZE = 160
U16 = st.integers(0, 2**16 - 1)


def exactly(size: int) -> st.SearchStrategy[bytes]:
    return st.binary(min_size=size, max_size=size)


@st.composite
def headers(draw: st.DrawFn) -> SealedHeader:
    kind = draw(st.sampled_from(SealedKind))
    is_blob = kind is SealedKind.BLOB
    parts = 1 if is_blob else draw(st.integers(1, 2**16 - 1))
    return SealedHeader(
        kind=kind,
        key_policy=draw(st.sampled_from([KeyPolicy.MRENCLAVE, KeyPolicy.MRSIGNER])),
        isv_svn=draw(U16),
        part=draw(st.integers(0, parts - 1)),
        parts=parts,
        tcb=draw(exactly(16)),
        key_id=draw(exactly(32)),
        nonce=draw(exactly(12)),
        namespace=draw(exactly(32)),
        epoch=0 if is_blob else draw(st.integers(1, 2**64 - 1)),
        previous=NO_RECORD if is_blob else draw(exactly(32)),
    )


GOOD = SealedHeader(
    kind=SealedKind.CHANGES, key_policy=KeyPolicy.MRSIGNER, isv_svn=0x0102, part=1, parts=3, tcb=b"c" * 16,
    key_id=b"k" * 32, nonce=b"n" * 12, namespace=b"s" * 32, epoch=0x0304, previous=b"p" * 32,
)  # fmt: skip


def test_header_is_160_bytes_in_this_order() -> None:
    fixed = bytes.fromhex("0100 0200 0201 0100 0300 0000")
    assert GOOD.encode() == (
        b"casemate seal 1\x00" + fixed + b"c" * 16 + b"k" * 32 + b"n" * 12 + b"s" * 32
        + bytes.fromhex("0403000000000000") + b"p" * 32
    )  # fmt: skip
    assert len(GOOD.encode()) == SealedHeader.LAYOUT.size == SIZE


@given(header=headers(), ciphertext=st.binary(min_size=TAG_SIZE, max_size=200))
def test_parse_gives_back_what_was_encoded(header: SealedHeader, ciphertext: bytes) -> None:
    record = SealedRecord(header, ciphertext)
    assert SealedHeader.parse(header.encode()) == header
    assert SealedRecord.parse(record.encode()) == record


@given(data=st.binary(max_size=400))
def test_random_bytes_are_a_record_or_an_error(data: bytes) -> None:
    try:
        record = SealedRecord.parse(data)
    except WireError:
        return
    assert record.encode() == data


@given(at=st.integers(0, SIZE - 1), to=st.integers(0, 255))
def test_changed_header_is_another_header_or_an_error(at: int, to: int) -> None:
    data = bytearray(GOOD.encode())
    data[at] = to
    try:
        header = SealedHeader.parse(bytes(data))
    except WireError:
        return
    assert header.encode() == bytes(data)
    assert (header == GOOD) == (bytes(data) == GOOD.encode())


@pytest.mark.parametrize(
    ("changes", "field"),
    [
        ({"key_policy": KeyPolicy(0)}, "key_policy"),
        ({"key_policy": KeyPolicy.MRENCLAVE | KeyPolicy.MRSIGNER}, "key_policy"),
        ({"key_policy": KeyPolicy.NOISVPRODID}, "key_policy"),
        ({"part": 3}, "part"),
        ({"parts": 0}, "part"),
        ({"epoch": 0}, "epoch"),
        ({"kind": SealedKind.BLOB}, "a blob with a place in a history"),
        ({"kind": SealedKind.BLOB, "epoch": 0, "part": 0, "parts": 1}, "a blob with a place in a history"),
    ],
)
def test_header_that_means_nothing_is_refused(changes: dict[str, object], field: str) -> None:
    with pytest.raises(WireError, match=field):
        SealedHeader.parse(replace(GOOD, **changes).encode())  # type: ignore[arg-type]


@pytest.mark.parametrize("size", [0, SIZE, SIZE + TAG_SIZE - 1, MAX_RECORD + 1])
def test_record_of_another_size_is_refused(size: int) -> None:
    with pytest.raises(WireError, match="sealed record"):
        SealedRecord.parse(GOOD.encode().ljust(size, b"\x00")[:size])


def test_digest_covers_every_byte() -> None:
    record = SealedRecord(GOOD, bytes(TAG_SIZE)).encode()
    changed = {record_digest(record[:at] + bytes((record[at] ^ 1,)) + record[at + 1 :]) for at in range(len(record))}
    assert len(changed | {record_digest(record)}) == len(record) + 1


CHANGES = st.builds(
    Change,
    st.text(st.characters(exclude_categories=["Cs"]), max_size=MAX_KEY // 4),
    st.none() | st.binary(max_size=50),
)


@given(changes=st.lists(CHANGES, max_size=8).map(tuple))
def test_changes_come_back(changes: tuple[Change, ...]) -> None:
    assert parse_fields(Changes, encode_fields(Changes(changes))) == Changes(changes)


@given(data=st.binary(max_size=200))
def test_random_changes_are_changes_or_an_error(data: bytes) -> None:
    try:
        value = parse_fields(Changes, data)
    except WireError:
        return
    assert encode_fields(value) == data


SPOKEN = (
    StateRead, StateRecords, StateAppend, StateStored, StateRefused, StateForget, ListStates, StatesAre,
)  # fmt: skip


@given(tag=st.integers(0xA8, 0xAF), rest=st.binary(max_size=200))
def test_random_messages_are_messages_or_an_error(tag: int, rest: bytes) -> None:
    data = bytes((tag,)) + rest
    try:
        value: object = parse_message(data, *SPOKEN)
    except WireError:
        return
    assert encode_message(value) == data
