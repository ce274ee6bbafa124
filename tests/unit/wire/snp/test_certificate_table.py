import pytest
from hypothesis import given
from hypothesis import strategies as st

from casemate.wire.errors import WireError
from casemate.wire.snp.certificate_table import ARK_GUID, VCEK_GUID, Certificate, CertificateTable

TABLES = st.builds(
    CertificateTable,
    st.lists(st.builds(Certificate, st.uuids().filter(lambda each: each.int), st.binary(max_size=40)), max_size=5).map(
        tuple
    ),
)


@given(TABLES, st.data())
def test_a_table_comes_back_or_is_refused(table: CertificateTable, data: st.DataObject) -> None:
    encoded = bytearray(table.encode())
    assert CertificateTable.parse(bytes(encoded)) == table
    assert CertificateTable.parse_pages(bytes(encoded) + bytes(50)) == table
    encoded[data.draw(st.integers(0, len(encoded) - 1))] = data.draw(st.integers(0, 255))
    for parse in (CertificateTable.parse, CertificateTable.parse_pages):
        try:
            assert parse(bytes(encoded)).encode() == encoded
        except WireError:
            assert encoded != table.encode()


@given(st.binary(max_size=200))
def test_any_bytes_are_a_table_or_refused(data: bytes) -> None:
    try:
        assert CertificateTable.parse(data).encode() == data
    except WireError:
        return


def test_entries_are_where_guests_look_for_them() -> None:
    encoded = CertificateTable((Certificate(VCEK_GUID, b"vcek"), Certificate(ARK_GUID, b"the ark"))).encode()
    assert encoded[:24] == bytes.fromhex("8d75da63 64e6 6445 adc5 f4b93be8accd 48000000 04000000")
    assert encoded[24:48] == bytes.fromhex("a406b4c0 03a8 5249 9743 3fb6014cd0ae 4c000000 07000000")
    assert encoded[48:] == bytes(24) + b"vcek" + b"the ark"


@pytest.mark.parametrize(
    ("table", "words"),
    [
        (b"", "0 bytes"),
        (bytes(23), "23 bytes"),
        (VCEK_GUID.bytes_le + bytes(8) + bytes(24), "offset is 0, the format wants 48"),
        (VCEK_GUID.bytes_le + bytes([48, 0, 0, 0, 1, 0, 0, 0]) + bytes(24), "length is 1"),
        (bytes(16) + bytes([48, 0, 0, 0, 0, 0, 0, 0]) + bytes(24), "guid"),
        (bytes(25), "25 bytes"),
        (b"\x01" * 24 * 65, "more than 64"),
    ],
)
def test_what_is_no_table_is_refused(table: bytes, words: str) -> None:
    with pytest.raises(WireError, match=words):
        CertificateTable.parse(table)


def test_what_follows_a_table_has_to_be_zeros() -> None:
    encoded = CertificateTable((Certificate(VCEK_GUID, b"vcek"),)).encode()
    with pytest.raises(WireError, match="after its end"):
        CertificateTable.parse_pages(encoded + bytes(3) + b"\x01")
