"""The built-in guests' layout: guest physical addresses, for their firmware's metadata and their assembly."""

from casemate.wire.snp.ovmf import FOUR_GIB, Section, SectionType
from casemate.wire.snp.page_info import PAGE_SIZE

IMAGE_SIZE = 8 * PAGE_SIZE
"""Bytes of every built-in image."""
IMAGE = FOUR_GIB - IMAGE_SIZE
SEGMENT = FOUR_GIB - 0x1_0000
"""Base of CS at reset; 16-bit code is relative to it."""

MAX_VCPUS = 8
"""Most vCPUs that get a stack and a GHCB; further ones halt."""

_LOW = 0x1_0000
_STARTED = 0x1C
"""Pages from _LOW on that are validated at launch."""

SYMBOLS = {
    "IMAGE": IMAGE,
    "SEGMENT": SEGMENT,
    "MAX_VCPUS": MAX_VCPUS,
    # Page tables: all of low memory in 2 MiB pages, but its first 2 MiB in pages of 4 KiB; the last GiB below 4 GiB.
    "PML4": _LOW,
    "PDPT": _LOW + 0x1000,
    "PD_LOW": _LOW + 0x2000,
    "PD_HIGH": _LOW + 0x3000,
    "PT_LOW": _LOW + 0x4000,
    "STATE": _LOW + 0x5000,
    "IDT": _LOW + 0x6000,
    # One page for each vCPU; a stack's distance to its GHCB is the same for all.
    "GHCBS": _LOW + 0x8000,
    "STACKS": _LOW + 0x1_0000,
    # Guest messages: as they are shared with the hypervisor, and in the clear.
    "REQUEST": _LOW + 0x1_8000,
    "RESPONSE": _LOW + 0x1_9000,
    "MESSAGE": _LOW + 0x1_A000,
    "ANSWER": _LOW + 0x1_B000,
    "SECRETS": _LOW + 0x1_C000,
    "CPUID_PAGE": _LOW + 0x1_D000,
    # Not in the metadata: guests validate what they use of these.
    "COUNTERS": 0x6_0000,
    "PAGE_A": 0x20_0000,
    "PAGE_B": 0x20_1000,
}

SECTIONS = (
    Section(_LOW, _STARTED * PAGE_SIZE, SectionType.SEC_MEMORY),
    Section(SYMBOLS["SECRETS"], PAGE_SIZE, SectionType.SECRETS),
    Section(SYMBOLS["CPUID_PAGE"], PAGE_SIZE, SectionType.CPUID),
)
"""The sections that a launch prepares."""
