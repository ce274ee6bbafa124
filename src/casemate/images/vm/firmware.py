"""Builds a firmware image in the layout of OVMF around a guest's code.

From its start at 4 GiB - size: the code; then, up against the end, the SEV metadata, the table of GUIDs, and in the
last 16 bytes the reset vector. Source: edk2, OvmfPkg/ResetVector/Ia16/ResetVectorVtf0.asm and X64/OvmfSevMetadata.asm.
"""

import uuid
from collections.abc import Sequence

from casemate.images.vm.assemble import AssemblyError, Program, Source, assemble
from casemate.images.vm.layout import IMAGE, IMAGE_SIZE, SECTIONS, SEGMENT, SYMBOLS
from casemate.wire.snp.ovmf import FOOTER, FOUR_GIB, METADATA, METADATA_SIGNATURE, RESET_BLOCK, TABLE_END, Section

BSP_LABEL = "bsp_reset"
AP_LABEL = "ap_reset"
"""The labels at which the first vCPU, and the others, start in 16-bit code."""

_RESET_VECTOR = FOUR_GIB - 16
_JMP_REL16 = 0xE9
_JMP_SIZE = 3
_METADATA_VERSION = 1
_METADATA_HEADER = 16


def build_firmware(sources: Sequence[Source]) -> bytes:
    """The image of a guest: ``sources`` have the labels ``bsp_reset`` and ``ap_reset``.

    Raises:
        AssemblyError: a source cannot be assembled, has no such label, or they are too long together.
    """
    program = assemble(sources, symbols=SYMBOLS, base=IMAGE)
    metadata = _metadata(SECTIONS)
    tail = _tail(_label(sources, program, AP_LABEL), len(metadata))
    room = IMAGE_SIZE - len(program.content) - len(metadata) - len(tail) - TABLE_END
    if room < 0:
        raise AssemblyError(sources[-1].name, 1, f"the code is {-room} bytes too long for an image of {IMAGE_SIZE}")
    vector = _reset_vector(_label(sources, program, BSP_LABEL))
    between = bytes(TABLE_END - (FOUR_GIB - _RESET_VECTOR))
    return program.content + bytes(room) + metadata + tail + between + vector


def _label(sources: Sequence[Source], program: Program, name: str) -> int:
    """The address of a label at which a vCPU starts."""
    address = program.labels.get(name)
    if address is None or address < SEGMENT:
        raise AssemblyError(sources[0].name, 1, f"the label {name!r} is missing, or not in the last 64 KiB")
    return address


def _reset_vector(target: int) -> bytes:
    """16 bytes: a near jump of 16-bit code."""
    distance = (target - _RESET_VECTOR - _JMP_SIZE) & 0xFFFF
    return (bytes([_JMP_REL16]) + distance.to_bytes(2, "little")).ljust(FOUR_GIB - _RESET_VECTOR, b"\x90")


def _tail(ap_reset: int, metadata_size: int) -> bytes:
    """The table of GUIDs: the SEV-ES reset block, where the metadata are, and the footer."""
    reset = _entry(RESET_BLOCK, ap_reset.to_bytes(4, "little"))
    size = len(reset) + len(_entry(METADATA, bytes(4))) + len(_entry(FOOTER, b""))
    entries = reset + _entry(METADATA, (metadata_size + size + TABLE_END).to_bytes(4, "little"))
    return entries + size.to_bytes(2, "little") + FOOTER.bytes_le


def _entry(guid: uuid.UUID, data: bytes) -> bytes:
    """An entry of the table: data, the length of the entry, GUID. The table is read from its end."""
    return data + (len(data) + 2 + len(guid.bytes_le)).to_bytes(2, "little") + guid.bytes_le


def _metadata(sections: Sequence[Section]) -> bytes:
    listed = b"".join(
        part.to_bytes(4, "little") for one in sections for part in (one.gpa, one.size, int(one.section_type))
    )
    header = (_METADATA_HEADER + len(listed), _METADATA_VERSION, len(sections))
    return METADATA_SIGNATURE + b"".join(part.to_bytes(4, "little") for part in header) + listed
