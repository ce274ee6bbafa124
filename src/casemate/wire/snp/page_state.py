"""Page State Change: a request to make pages private or shared, in the shared buffer of a GHCB.

The hypervisor handles the entries from ``cur_entry`` to ``end_entry``. It advances ``cur_entry``, and ``cur_page``
within an entry of 2 MiB, so that a guest can repeat a request that was interrupted. Source: AMD 56421 revision 2.03,
4.1.6 "SNP Page State Change", tables 8 and 9.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from enum import IntEnum
from typing import Self

from casemate.wire.encodings.fields import exactly
from casemate.wire.errors import WireError
from casemate.wire.snp.ghcb import SHARED_BUFFER_SIZE
from casemate.wire.snp.page_info import PAGE_SIZE

HEADER_SIZE = 8
ENTRY_SIZE = 8
MAX_ENTRIES = (SHARED_BUFFER_SIZE - HEADER_SIZE) // ENTRY_SIZE
"""253."""
PAGES_OF_LARGE = 512
"""Pages of 4 KiB in one of 2 MiB."""

_CUR_PAGE_MASK = 0xFFF
_GFN_SHIFT, _GFN_MASK = 12, (1 << 40) - 1
_OPERATION_SHIFT, _OPERATION_MASK = 52, 0xF
_LARGE_SHIFT = 56
_RESERVED_SHIFT = 57


class PageOperation(IntEnum):
    """The requested state of a page."""

    PRIVATE = 1
    SHARED = 2
    PSMASH = 3
    """Splits a large page in the RMP; a hint."""
    UNSMASH = 4
    """Joins small pages in the RMP to a large one; a hint."""


@dataclass(frozen=True, slots=True)
class PageStateEntry:
    """One page of 4 KiB or 2 MiB."""

    gfn: int
    """Guest physical address / 4096."""
    operation: PageOperation
    large: bool = False
    cur_page: int = 0
    """The pages of 4 KiB within a large one that are already handled."""

    @classmethod
    def parse(cls, data: bytes) -> Self:
        value = int.from_bytes(exactly("PSC entry", data, ENTRY_SIZE), "little")
        operation, large = value >> _OPERATION_SHIFT & _OPERATION_MASK, bool(value >> _LARGE_SHIFT & 1)
        gfn, cur_page = value >> _GFN_SHIFT & _GFN_MASK, value & _CUR_PAGE_MASK
        if value >> _RESERVED_SHIFT:
            raise WireError("PSC entry.reserved", got=f"{value >> _RESERVED_SHIFT:#x}", want="0")
        if operation not in set(PageOperation):
            raise WireError("PSC entry.operation", got=operation, want="1 to 4")
        if cur_page > (PAGES_OF_LARGE if large else 1):
            raise WireError("PSC entry.cur_page", got=cur_page, want="within the page")
        if large and gfn % PAGES_OF_LARGE:
            raise WireError("PSC entry.gfn", got=f"{gfn:#x}", want="a multiple of 512 for a page of 2 MiB")
        return cls(gfn, PageOperation(operation), large, cur_page)

    def encode(self) -> bytes:
        value = self.cur_page | self.gfn << _GFN_SHIFT | self.operation << _OPERATION_SHIFT | self.large << _LARGE_SHIFT
        return value.to_bytes(ENTRY_SIZE, "little")

    @property
    def gpa(self) -> int:
        """The guest physical address."""
        return self.gfn * PAGE_SIZE

    @property
    def pages(self) -> int:
        """Its size in pages of 4 KiB."""
        return PAGES_OF_LARGE if self.large else 1


@dataclass(frozen=True, slots=True)
class PageStateChange:
    """Header and entries."""

    cur_entry: int
    """The next entry to be handled."""
    entries: tuple[PageStateEntry, ...]
    """All entries up to ``end_entry``, which is the number of the last; handled ones included."""

    @classmethod
    def parse(cls, shared_buffer: bytes) -> Self:
        """Parses the shared buffer; ignores bytes after the last entry."""
        exactly("PSC", shared_buffer, SHARED_BUFFER_SIZE)
        cur_entry, end_entry, reserved = (
            int.from_bytes(shared_buffer[at : at + size], "little") for at, size in ((0, 2), (2, 2), (4, 4))
        )
        if reserved:
            raise WireError("PSC header.reserved", got=f"{reserved:#x}", want="0")
        if end_entry >= MAX_ENTRIES:
            raise WireError("PSC header.end_entry", got=end_entry, want=f"below {MAX_ENTRIES}")
        if cur_entry > end_entry:
            raise WireError("PSC header.cur_entry", got=cur_entry, want=f"at most end_entry, {end_entry}")
        return cls(cur_entry, tuple(PageStateEntry.parse(entry) for entry in _cut(shared_buffer, end_entry + 1)))

    def encode(self) -> bytes:
        """Encodes a whole shared buffer, with zeros after the last entry; there has to be an entry."""
        numbers = ((self.cur_entry, 2), (len(self.entries) - 1, 2), (0, 4))
        header = b"".join(number.to_bytes(size, "little") for number, size in numbers)
        return (header + b"".join(entry.encode() for entry in self.entries)).ljust(SHARED_BUFFER_SIZE, b"\0")


def _cut(shared_buffer: bytes, count: int) -> Iterator[bytes]:
    for at in range(HEADER_SIZE, HEADER_SIZE + count * ENTRY_SIZE, ENTRY_SIZE):
        yield shared_buffer[at : at + ENTRY_SIZE]
