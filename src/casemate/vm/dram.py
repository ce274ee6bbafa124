"""DRAM: a file of the host's, whose offsets are system physical addresses.

It is read and written, never mapped: whoever has the file may cut it short at any time, which is an error here and
would be a signal there.
"""

import os

from casemate.vm.errors import DramError
from casemate.wire.errors import os_error_text
from casemate.wire.snp.page_info import PAGE_SIZE


class Dram:
    """The memory chips of one VM, and of its host as far as this VM can tell."""

    def __init__(self, descriptor: int, pages: int) -> None:
        self._descriptor = descriptor
        self.size = pages * PAGE_SIZE
        """Bytes: system physical addresses are below it."""

    def holds(self, spa: int, size: int = PAGE_SIZE) -> bool:
        """Whether all of ``size`` bytes at ``spa`` are there."""
        return spa >= 0 and spa + size <= self.size

    def read(self, spa: int, size: int = PAGE_SIZE) -> bytes:
        """What is on the chips; :class:`DramError` where the file ends early."""
        try:
            content = os.pread(self._descriptor, size, spa)
        except OSError as error:
            raise DramError(f"DRAM at SPA {spa:#x} cannot be read: {os_error_text(error)}") from None
        if len(content) != size:
            raise DramError(f"DRAM ends within {size} bytes at SPA {spa:#x}: its file was cut short")
        return content

    def write(self, spa: int, content: bytes) -> None:
        """Puts ``content`` on the chips; :class:`DramError` where that fails."""
        try:
            written = os.pwrite(self._descriptor, content, spa)
        except OSError as error:
            raise DramError(f"DRAM at SPA {spa:#x} cannot be written: {os_error_text(error)}") from None
        if written != len(content):
            raise DramError(f"DRAM at SPA {spa:#x} took {written} of {len(content)} bytes")
