"""DRAM: a file of the host's, whose offsets are system physical addresses.

It is read and written, never mapped: the host may truncate the file at any time. Then pread fails with an error; an
access to a mapping would raise SIGBUS.
"""

import os

from casemate.vm.errors import DramError
from casemate.wire.errors import os_error_text
from casemate.wire.snp.page_info import PAGE_SIZE


class Dram:
    """The DRAM of one VM, which to this VM is all of its host's."""

    def __init__(self, descriptor: int, pages: int) -> None:
        self._descriptor = descriptor
        self.size = pages * PAGE_SIZE
        """In bytes; system physical addresses are below it."""

    def holds(self, spa: int, size: int = PAGE_SIZE) -> bool:
        """Whether all of ``size`` bytes at ``spa`` are inside DRAM."""
        return spa >= 0 and spa + size <= self.size

    def read(self, spa: int, size: int = PAGE_SIZE) -> bytes:
        """The bytes at ``spa``; :class:`DramError` where the file ends early."""
        try:
            content = os.pread(self._descriptor, size, spa)
        except OSError as error:
            raise DramError(f"DRAM at SPA {spa:#x} cannot be read: {os_error_text(error)}") from None
        if len(content) != size:
            raise DramError(f"DRAM ends within {size} bytes at SPA {spa:#x}: its file was cut short")
        return content

    def write(self, spa: int, content: bytes) -> None:
        """Stores ``content`` at ``spa``; :class:`DramError` where that fails."""
        try:
            written = os.pwrite(self._descriptor, content, spa)
        except OSError as error:
            raise DramError(f"DRAM at SPA {spa:#x} cannot be written: {os_error_text(error)}") from None
        if written != len(content):
            raise DramError(f"DRAM at SPA {spa:#x} took {written} of {len(content)} bytes")
