"""The certificate table of an extended guest request: entries of 24 bytes, a zero one, then the certificates.

Source: AMD 56421 (GHCB), section "SNP Extended Guest Request", table "Certificate Table Entry". GUIDs are in the byte
order of RFC 4122's structures in memory: the first three groups little-endian.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import ClassVar, Self
from uuid import UUID

from casemate.wire.encodings.spans import Layout, number, raw
from casemate.wire.errors import WireError

VCEK_GUID = UUID("63da758d-e664-4564-adc5-f4b93be8accd")
VLEK_GUID = UUID("a8074bc2-a25a-483e-aae6-39c045a0b8a1")
ASK_GUID = UUID("4ab7b379-bbac-4fe4-a02f-05aef327c782")
ARK_GUID = UUID("c0b406a4-a803-4952-9743-3fb6014cd0ae")
CRL_GUID = UUID("92f81bc3-5811-4d3d-97ff-d19f88dc67ea")

MAX_ENTRIES = 64
"""Most entries: more than any host sends; bounds the work on a hostile table."""


@dataclass(frozen=True, slots=True)
class _Entry:
    LAYOUT: ClassVar[Layout] = Layout(
        "Certificate Table Entry",
        "AMD 56421 (GHCB), SNP Extended Guest Request",
        (raw(0x00, 16, "guid"), number(0x10, 4, "offset"), number(0x14, 4, "length")),
    )

    guid: bytes
    offset: int
    """Offset from the start of the table."""
    length: int


_ENTRY_SIZE = _Entry.LAYOUT.size
_END = bytes(_ENTRY_SIZE)


@dataclass(frozen=True, slots=True)
class Certificate:
    """A certificate of the table, and the GUID of its kind."""

    guid: UUID
    content: bytes
    """DER."""


@dataclass(frozen=True, slots=True)
class CertificateTable:
    """The table. Each certificate begins where the one before it ends, so each table has one encoding."""

    certificates: tuple[Certificate, ...]

    @classmethod
    def parse(cls, data: bytes) -> Self:
        """Parses a table that ends with its last certificate; the caller removes padding.

        Raises:
            WireError: malformed, or an entry does not begin where the one before it ends.
        """
        certificates, _ = _parse(data)
        return cls(certificates)

    @classmethod
    def parse_pages(cls, data: bytes) -> Self:
        """Parses whole pages, as a guest receives them; zeros may follow the table."""
        certificates, end = _parse(data, padded=True)
        if any(data[end:]):
            raise WireError("certificate table", got="something after its end", want="zeros")
        return cls(certificates)

    def encode(self) -> bytes:
        """Encodes the table without padding."""
        _check_count(len(self.certificates))
        at = _ENTRY_SIZE * (len(self.certificates) + 1)
        entries = []
        for each in self.certificates:
            entries.append(_Entry.LAYOUT.encode(_Entry(each.guid.bytes_le, at, len(each.content))))
            at += len(each.content)
        return b"".join((*entries, _END, *(each.content for each in self.certificates)))


def _parse(data: bytes, *, padded: bool = False) -> tuple[tuple[Certificate, ...], int]:
    entries = tuple(_entries(data))
    at = _ENTRY_SIZE * (len(entries) + 1)
    certificates = []
    for entry in entries:
        if entry.offset != at:
            raise WireError("Certificate Table Entry.offset", got=entry.offset, want=at)
        at += entry.length
        if at > len(data):
            raise WireError("Certificate Table Entry.length", got=entry.length, want="what the table holds")
        certificates.append(Certificate(UUID(bytes_le=entry.guid), data[entry.offset : at]))
    if not padded and at != len(data):
        raise WireError("certificate table", got=f"{len(data)} bytes", want=f"{at} bytes")
    return tuple(certificates), at


def _entries(data: bytes) -> Iterator[_Entry]:
    for number_of in range(MAX_ENTRIES + 1):
        cut = data[number_of * _ENTRY_SIZE : (number_of + 1) * _ENTRY_SIZE]
        if cut == _END:
            return
        _check_count(number_of + 1)
        entry = _Entry(**_Entry.LAYOUT.parse(cut))
        if not any(entry.guid):
            raise WireError("Certificate Table Entry.guid", got="zeros", want="zeros in a last entry alone")
        yield entry


def _check_count(count: int) -> None:
    if count > MAX_ENTRIES:
        raise WireError("certificate table", got=f"more than {MAX_ENTRIES} entries", want="fewer")
