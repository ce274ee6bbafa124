"""The layout of a VM's DRAM: RAM, then firmware, then vCPUs' registers, then spare pages."""

import os
from dataclasses import dataclass
from pathlib import Path

from casemate.wire.errors import os_error_text
from casemate.wire.protocol.faults import Code, refuse
from casemate.wire.snp.ovmf import FOUR_GIB
from casemate.wire.snp.page_info import PAGE_SIZE

MIN_MEMORY_MIB = 4
"""The least memory of a VM; the built-in guests need that much."""

MAX_MEMORY_MIB = 2048
SPARE_PAGES = 64
"""Pages of DRAM that no guest gets: for lessons in which a page is copied, moved or remapped."""

MIB = 1024 * 1024


@dataclass(frozen=True, slots=True)
class MemoryPlan:
    """Sizes in bytes. RAM is at the same GPA and SPA."""

    ram: int
    firmware: int
    vcpus: int

    @property
    def pages(self) -> int:
        """All pages of DRAM."""
        return (self.ram + self.firmware) // PAGE_SIZE + self.vcpus + SPARE_PAGES

    def spa(self, gpa: int) -> int:
        """The SPA at which the page is launched.

        A FaultError of code ``malformed`` where the guest has no such page.
        """
        firmware = FOUR_GIB - self.firmware
        if 0 <= gpa < self.ram:
            return gpa
        if firmware <= gpa < FOUR_GIB:
            return self.ram + gpa - firmware
        raise refuse(Code.MALFORMED, f"the guest has no memory at GPA {gpa:#x}: its RAM ends at {self.ram:#x}")

    def check(self, gpa: int, size: int) -> None:
        """Refuses a range that is not all the guest's, as :meth:`spa` does."""
        for page in range(gpa, gpa + size, PAGE_SIZE):
            self.spa(page)

    def vmsa(self, vcpu: int) -> int:
        """SPA of a vCPU's registers."""
        return self.ram + self.firmware + vcpu * PAGE_SIZE

    def vmsa_gpa(self, vcpu: int) -> int:
        """The GPA of a vCPU's registers in the reverse map table: above all addresses that the guest can use."""
        return FOUR_GIB + vcpu * PAGE_SIZE


class Dram:
    """The file that is a VM's DRAM. This host made it and can change it at will, as a host can its memory modules."""

    def __init__(self, path: Path, pages: int) -> None:
        """Makes a sparse file: it takes room on disk as it is written."""
        self._path = path
        flags = os.O_RDWR | os.O_CREAT | os.O_EXCL | getattr(os, "O_CLOEXEC", 0)
        self.descriptor = os.open(path, flags, 0o600)
        try:
            os.ftruncate(self.descriptor, pages * PAGE_SIZE)
        except BaseException:
            self.close()
            raise
        self.size = pages * PAGE_SIZE

    def write(self, spa: int, content: bytes) -> None:
        """A store on the memory bus, as an interposer's or a device's: no CPU checks it."""
        self._check(spa, len(content))
        try:
            os.pwrite(self.descriptor, content, spa)
        except OSError as error:
            raise refuse(Code.UNAVAILABLE, f"DRAM cannot be written: {os_error_text(error)}") from None

    def read(self, spa: int, size: int) -> bytes:
        """A load on the memory bus."""
        self._check(spa, size)
        return os.pread(self.descriptor, size, spa)

    def close(self) -> None:
        """Removes the file."""
        os.close(self.descriptor)
        self._path.unlink(missing_ok=True)

    def _check(self, spa: int, size: int) -> None:
        if not size or spa < 0 or spa + size > self.size:
            raise refuse(Code.MALFORMED, f"{size} bytes at SPA {spa:#x}: this VM's DRAM has {self.size:#x}")
