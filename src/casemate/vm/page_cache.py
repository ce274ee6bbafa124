"""The memory controller's cache: the plaintext of pages in use, where the emulator addresses them.

A private page is at its GPA, a shared page at its GPA plus the size of the address space: to the emulator, the C-bit is
one more address bit. Before the hypervisor may read or change DRAM, everything is written back and forgotten.
"""

import mmap
import sys
from dataclasses import dataclass
from enum import Enum, auto

from casemate.vm.dram import Dram
from casemate.vm.errors import CacheChangedError, NestedFaultError
from casemate.vm.nested import NestedPageTable
from casemate.vm.page_cipher import PageCipher
from casemate.vm.rmp import (
    NPF_ENC,
    NPF_FETCH,
    NPF_PRESENT,
    NPF_USER,
    NPF_WRITE,
    Permissions,
    ReverseMapTable,
)
from casemate.wire.snp.page_info import PAGE_SIZE

CACHE_PAGES = 16_384
"""64 MiB. When the cache is full, all of it is written back and forgotten."""

_NO_RESERVE = getattr(mmap, "MAP_NORESERVE", 0x4000 if sys.platform == "linux" else 0x40)


class Access(Enum):
    """The kinds of memory access."""

    READ = auto()
    WRITE = auto()
    FETCH = auto()


@dataclass(frozen=True, slots=True)
class Privilege:
    """The privilege with which an access is made."""

    vmpl: int
    user: bool
    """CPL 3."""


@dataclass(slots=True)
class _Line:
    spa: int
    gpa: int
    private: bool
    dirty: bool = False


class PageCache:
    """Serves a guest's accesses from DRAM, page by page: nested page table, reverse map table, encryption."""

    def __init__(
        self, dram: Dram, nested: NestedPageTable, rmp: ReverseMapTable | None, cipher: PageCipher, top: int
    ) -> None:
        self._dram = dram
        self._nested = nested
        self._rmp = rmp
        self._cipher = cipher
        self._top = top
        self._lines: dict[int, _Line] = {}
        self._by_spa: dict[int, int] = {}
        flags = mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS | _NO_RESERVE
        self.memory = mmap.mmap(-1, 2 * top, flags=flags)
        """The plaintext; only pages that :meth:`place` has returned are valid."""

    def place(self, gpa: int, access: Access, privilege: Privilege, *, private: bool) -> int:
        """The offset in :attr:`memory` of the page at ``gpa``, after checking that the guest may make this access.

        A store marks the page as changed, so that it is written back.

        Raises:
            NestedFaultError, NotValidatedError, IntegrityError: the access is refused.
            CacheChangedError: call :meth:`flush`, and try again.
            DramError: the host has truncated DRAM.
        """
        gpa &= -PAGE_SIZE
        spa = self._nested.spa(gpa, _error_code(access, privilege, private=private))
        if not self._dram.holds(spa):
            code = _error_code(access, privilege, private=private)
            raise NestedFaultError(gpa, code, f"the nested page table points beyond DRAM, to SPA {spa:#x}")
        if self._rmp is not None:
            if private:
                self._rmp.check_private(spa, gpa, privilege.vmpl, _wanted(access, privilege))
            else:
                self._rmp.check_shared(spa, gpa, write=access is Access.WRITE)
        place = gpa if private else gpa + self._top
        line = self._lines.get(place)
        if line is None:
            line = self._fill(place, spa, gpa, private=private)
        if access is Access.WRITE:
            line.dirty = True
        return place

    def evict(self, spa: int) -> bool:
        """Writes back the page at ``spa`` and forgets it.

        True if it was cached, so that the emulator may have translated it.
        """
        place = self._by_spa.get(spa)
        if place is None:
            return False
        self._write_back(place, self._lines[place])
        del self._by_spa[spa], self._lines[place]
        return True

    def flush(self) -> None:
        """Writes back what the guest has changed, encrypted, and forgets everything."""
        for place, line in self._lines.items():
            self._write_back(place, line)
        if len(self._lines) > CACHE_PAGES // 2:
            self.memory.madvise(mmap.MADV_DONTNEED)
        self._lines.clear()
        self._by_spa.clear()

    def _write_back(self, place: int, line: _Line) -> None:
        if line.dirty:
            content = self.memory[place : place + PAGE_SIZE]
            self._dram.write(line.spa, self._cipher.encrypt(line.spa, line.gpa, content) if line.private else content)

    def _fill(self, place: int, spa: int, gpa: int, *, private: bool) -> _Line:
        if spa in self._by_spa or len(self._lines) >= CACHE_PAGES:
            raise CacheChangedError  # cached under another address, or the cache is full
        content = self._dram.read(spa)
        self.memory[place : place + PAGE_SIZE] = self._cipher.decrypt(spa, gpa, content) if private else content
        line = self._lines[place] = _Line(spa, gpa, private)
        self._by_spa[spa] = place
        return line


def _wanted(access: Access, privilege: Privilege) -> Permissions:
    match access:
        case Access.READ:
            return Permissions.READ
        case Access.WRITE:
            return Permissions.WRITE
        case Access.FETCH:
            return Permissions.USER_EXECUTE if privilege.user else Permissions.SUPERVISOR_EXECUTE


def _error_code(access: Access, privilege: Privilege, *, private: bool) -> int:
    return (
        (NPF_WRITE if access is Access.WRITE else 0)
        | (NPF_FETCH if access is Access.FETCH else 0)
        | (NPF_USER if privilege.user else 0)
        | (NPF_ENC if private else 0)
    ) & ~NPF_PRESENT
