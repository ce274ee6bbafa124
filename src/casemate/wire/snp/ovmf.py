"""An OVMF image's table of GUIDs, and its SEV metadata, which list the memory that a launch has to prepare.

Source: edk2, OvmfPkg/ResetVector/Ia16/ResetVectorVtf0.asm (the table) and X64/OvmfSevMetadata.asm (the sections).
"""

import uuid
from dataclasses import dataclass
from enum import IntEnum
from typing import Protocol

from casemate.wire.encodings.fields import Reader
from casemate.wire.errors import WireError
from casemate.wire.snp.page_info import PAGE_SIZE

MAX_OVMF = 64 * 1024 * 1024
"""Longest image (bytes): far above any that is built, and it must lie below 4 GiB."""

FOUR_GIB = 1 << 32
TABLE_END = 32
"""The table ends this many bytes before the image does."""
_HEADER = 2 + 16
_MAX_SECTIONS = 64
_LONGEST_METADATA = 16 + 12 * _MAX_SECTIONS

FOOTER = uuid.UUID("96b582de-1fb2-45f7-baea-a366c55a082d")
SEV_HASHES = uuid.UUID("7255371f-3a3b-4b04-927b-1da6efa8d454")
RESET_BLOCK = uuid.UUID("00f771de-1a7e-4fcb-890e-68c77e2fb44e")
METADATA = uuid.UUID("dc886566-984a-4798-a75e-5585a7bf67cc")
METADATA_SIGNATURE = b"ASEV"


class Content(Protocol):
    """The bytes of an image, or an object that reads them on demand."""

    def __len__(self) -> int:
        """How many."""

    def __getitem__(self, places: slice, /) -> bytes:
        """Some of them."""


class SectionType(IntEnum):
    """The purpose of a section of guest memory."""

    SEC_MEMORY = 1
    """Validated before the firmware runs, zero."""
    SECRETS = 2
    CPUID = 3
    SVSM_CAA = 4
    """The SVSM's calling area, zero."""
    KERNEL_HASHES = 0x10


@dataclass(frozen=True, slots=True)
class Section:
    """A section of the SEV metadata."""

    gpa: int
    size: int
    section_type: SectionType


@dataclass(frozen=True, slots=True)
class Ovmf:
    """A firmware image; :func:`parse_ovmf` makes it."""

    content: Content
    sections: tuple[Section, ...]
    reset_eip: int | None
    """The address at which application processors start (SEV-ES reset block); None where the image has none."""
    hash_table_gpa: int | None
    """The address for the table of kernel hashes; None where the image accepts none."""

    @property
    def gpa(self) -> int:
        """The address at which the image is loaded, so that it ends at 4 GiB."""
        return FOUR_GIB - len(self.content)


def parse_ovmf(content: Content) -> Ovmf:
    """Parses an image.

    Raises:
        WireError: its size is not a multiple of the page size, or its table or metadata are damaged.
    """
    if not len(content) or len(content) % PAGE_SIZE or len(content) > MAX_OVMF:
        raise WireError("OVMF", got=f"{len(content)} bytes", want=f"a whole number of pages, at most {MAX_OVMF} bytes")
    table = _table(content)
    reset, hashes, metadata = (table.get(guid) for guid in (RESET_BLOCK, SEV_HASHES, METADATA))
    return Ovmf(
        content=content,
        sections=() if metadata is None else _sections(content, _number("OVMF.SEV_METADATA.offset", metadata)),
        reset_eip=None if reset is None else _number("OVMF.SEV_ES_RESET_BLOCK.address", reset),
        hash_table_gpa=(None if hashes is None else _number("OVMF.SEV_HASH_TABLE.base", hashes)) or None,
    )


def _table(content: Content) -> dict[uuid.UUID, bytes]:
    """The table's data by GUID. An entry's data come before its length and GUID, and the entries before the footer."""
    end = len(content) - TABLE_END
    size, guid = _header(content, end)
    if guid != FOOTER:
        raise WireError("OVMF.table footer", got=str(guid), want=str(FOOTER))
    start = end - size
    if size < _HEADER or start < 0:
        raise WireError("OVMF.table footer.length", got=size, want=f"{_HEADER} to {end}")
    end -= _HEADER
    found: dict[uuid.UUID, bytes] = {}
    while end > start:
        size, guid = _header(content, end) if end - start >= _HEADER else (0, FOOTER)
        if size < _HEADER or size > end - start:
            raise WireError("OVMF.table entry.length", got=size, want=f"{_HEADER} to {end - start}, what is left")
        if guid in found:
            raise WireError("OVMF.table entry", got=f"{guid} twice", want="each GUID once")
        found[guid] = content[end - size : end - _HEADER]
        end -= size
    return found


def _header(content: Content, end: int) -> tuple[int, uuid.UUID]:
    """The length and GUID that end at ``end``."""
    at = end - _HEADER
    return int.from_bytes(content[at : at + 2], "little"), uuid.UUID(bytes_le=content[at + 2 : end])


def _number(field: str, data: bytes) -> int:
    return Reader(field, data).uint("u32", 4)


def _sections(content: Content, from_end: int) -> tuple[Section, ...]:
    if not 0 < from_end <= len(content):
        raise WireError("OVMF.SEV_METADATA.offset", got=from_end, want=f"1 to {len(content)}, from the image's end")
    start = len(content) - from_end
    reader = Reader("OVMF.SEV_METADATA", content[start : start + _LONGEST_METADATA])
    reader.expect("signature", METADATA_SIGNATURE)
    size = reader.uint("length", 4)
    reader.expect("version", (1).to_bytes(4, "little"))
    count = reader.uint("number of sections", 4)
    wanted = reader.offset + 12 * count
    if count > _MAX_SECTIONS or size != wanted:
        raise WireError(
            "OVMF.SEV_METADATA.length",
            got=f"{size} bytes for {count} sections",
            want=f"16 + 12 each, {_MAX_SECTIONS} at most",
        )
    return tuple(_section(reader) for _ in range(count))


def _section(reader: Reader) -> Section:
    gpa, size, kind = (reader.uint(name, 4) for name in ("gpa", "size", "type"))
    if kind not in set(SectionType):
        known = ", ".join(f"{int(known):#x}" for known in SectionType)
        raise WireError("OVMF.SEV_METADATA.type", got=f"{kind:#x}", want=known)
    if gpa % PAGE_SIZE or size % PAGE_SIZE or not size or gpa + size > FOUR_GIB:
        raise WireError("OVMF.SEV_METADATA.section", got=f"{size:#x} bytes at {gpa:#x}", want="whole pages below 4 GiB")
    return Section(gpa, size, SectionType(kind))
