"""Makes firmware images in OVMF's format: a table of GUIDs and SEV metadata, and random bytes in place of code."""

import random
import uuid
from collections.abc import Sequence

from casemate.wire.snp.ovmf import Section, SectionType
from casemate.wire.snp.page_info import PAGE_SIZE

FOOTER = uuid.UUID("96b582de-1fb2-45f7-baea-a366c55a082d")
SEV_HASHES = uuid.UUID("7255371f-3a3b-4b04-927b-1da6efa8d454")
RESET_BLOCK = uuid.UUID("00f771de-1a7e-4fcb-890e-68c77e2fb44e")
METADATA = uuid.UUID("dc886566-984a-4798-a75e-5585a7bf67cc")

HASH_TABLE_GPA = 0x0081_0400
SECTIONS = (
    Section(0x0080_0000, 0x9000, SectionType.SEC_MEMORY),
    Section(0x0080_A000, 0x3000, SectionType.SEC_MEMORY),
    Section(0x0080_D000, 0x1000, SectionType.SECRETS),
    Section(0x0080_E000, 0x1000, SectionType.CPUID),
    Section(0x0080_F000, 0x1000, SectionType.SVSM_CAA),
    Section(0x0081_1000, 0xF000, SectionType.SEC_MEMORY),
)
"""The sections of OVMF for SNP without direct boot."""
DIRECT_BOOT = (*SECTIONS[:5], Section(0x0081_0000, 0x1000, SectionType.KERNEL_HASHES), *SECTIONS[5:])
"""The sections with a page for the hashes of a kernel."""


def make_ovmf(
    pages: int = 4,
    *,
    seed: int = 0,
    sections: Sequence[Section] = DIRECT_BOOT,
    reset_eip: int | None = 0x0080_B004,
    hash_table_gpa: int | None = HASH_TABLE_GPA,
) -> bytes:
    """A firmware image of ``pages`` pages; its table omits a part that is None or empty."""
    noise = bytearray(random.Random(seed).randbytes(pages * PAGE_SIZE))  # noqa: S311 - the same every time
    metadata_at = 0x200
    entries = b""
    if reset_eip is not None:
        entries += _entry(RESET_BLOCK, reset_eip.to_bytes(4, "little"))
    if hash_table_gpa is not None:
        entries += _entry(SEV_HASHES, hash_table_gpa.to_bytes(4, "little") + (0x400).to_bytes(4, "little"))
    if sections:
        written = b"".join(
            part.to_bytes(4, "little")
            for section in sections
            for part in (section.gpa, section.size, int(section.section_type))
        )
        head = b"ASEV" + b"".join(part.to_bytes(4, "little") for part in (16 + len(written), 1, len(sections)))
        noise[metadata_at : metadata_at + 16 + len(written)] = head + written
        entries += _entry(METADATA, (len(noise) - metadata_at).to_bytes(4, "little"))
    table = entries + (len(entries) + 18).to_bytes(2, "little") + FOOTER.bytes_le
    end = len(noise) - 32
    noise[end - len(table) : end] = table
    return bytes(noise)


def _entry(guid: uuid.UUID, data: bytes) -> bytes:
    """A table entry: data, length of the whole entry, GUID. Readers parse the table backwards from its end."""
    return data + (len(data) + 18).to_bytes(2, "little") + guid.bytes_le
