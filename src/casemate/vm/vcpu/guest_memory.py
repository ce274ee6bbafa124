"""The guest's linear memory: its page tables walked as the processor walks them (APM volume 2, chapter 5).

Page tables and instructions are always private; of data, the C-bit of the entry that maps it decides; without paging
all is private (APM volume 2, 15.34.5).
"""

from dataclasses import dataclass

from casemate.vm.errors import AccessError
from casemate.vm.page_cache import Access, PageCache, Privilege
from casemate.wire.encodings.fields import MAX_U32, MAX_U64
from casemate.wire.snp.page_info import PAGE_SIZE

CR0_PE, CR0_WP, CR0_PG = 1 << 0, 1 << 16, 1 << 31
CR4_PAE, CR4_SMEP = 1 << 5, 1 << 20
EFER_LME, EFER_LMA, EFER_NXE, EFER_SVME = 1 << 8, 1 << 10, 1 << 11, 1 << 12

C_BIT = 1 << 51
"""The bit of a page table entry that makes the page private: CPUID Fn8000_001F_EBX."""

_PRESENT, _WRITABLE, _USER, _ACCESSED, _DIRTY, _LARGE, _NO_EXECUTE = (1 << bit for bit in (0, 1, 2, 5, 6, 7, 63))
_ADDRESS = (1 << 51) - PAGE_SIZE
_PF_PRESENT, _PF_WRITE, _PF_USER, _PF_FETCH = 1 << 0, 1 << 1, 1 << 2, 1 << 4
_CANONICAL = 1 << 47
_LINEAR = MAX_U64
_PAE_LEVELS = 3
_LARGE_PAGES = (30, 21)


@dataclass(frozen=True, slots=True)
class Paging:
    """The registers that decide how a linear address is translated, at one moment."""

    cr0: int
    cr3: int
    cr4: int
    efer: int
    cpl: int


class PageFaultError(AccessError):
    """#PF, for the guest."""

    def __init__(self, linear: int, error_code: int) -> None:
        super().__init__(f"page fault at {linear:#x}")
        self.linear = linear
        self.error_code = error_code


class NotCanonicalError(AccessError):
    """#GP(0), for the guest."""


class UnsupportedPagingError(AccessError):
    """32-bit paging without PAE. Its entries have no C-bit, so no SEV guest uses it."""


@dataclass(frozen=True, slots=True)
class Translation:
    """The result of a page walk."""

    gpa: int
    private: bool


class GuestMemory:
    """Reads and writes at linear addresses, with the rights of a vCPU's VMPL."""

    def __init__(self, cache: PageCache) -> None:
        self._cache = cache
        self.vmpl = 0

    def place(self, linear: int, access: Access, paging: Paging) -> int:
        """The offset in the cache of the byte at ``linear``.

        Raises:
            PageFaultError, NotCanonicalError: the guest's exceptions.
            NestedFaultError, NotValidatedError, IntegrityError, CacheChangedError, DramError: see :class:`PageCache`.
        """
        found = self.translate(linear, access, paging)
        user = paging.cpl == 3
        private = found.private or access is Access.FETCH
        page = self._cache.place(found.gpa, access, Privilege(self.vmpl, user), private=private)
        return page + found.gpa % PAGE_SIZE

    def read(self, linear: int, size: int, paging: Paging) -> bytes:
        """Reads bytes, which may lie on several pages."""
        found = bytearray()
        while len(found) < size:
            place = self.place(linear + len(found), Access.READ, paging)
            found += self._cache.memory[place : place + min(size - len(found), PAGE_SIZE - place % PAGE_SIZE)]
        return bytes(found)

    def write(self, linear: int, content: bytes, paging: Paging) -> None:
        """Writes bytes, which may lie on several pages: all of them or none."""
        places: list[tuple[int, int, int]] = []
        at = 0
        while at < len(content):
            place = self.place(linear + at, Access.WRITE, paging)
            size = min(len(content) - at, PAGE_SIZE - place % PAGE_SIZE)
            places.append((place, at, size))
            at += size
        for place, at, size in places:
            self._cache.memory[place : place + size] = content[at : at + size]

    def translate(self, linear: int, access: Access, paging: Paging) -> Translation:
        """The guest physical address of ``linear``; sets accessed and dirty bits in the entries that it walks."""
        linear &= _LINEAR
        if not paging.cr0 & CR0_PG:
            return Translation(linear & MAX_U32, private=True)
        if not paging.cr4 & CR4_PAE:
            raise UnsupportedPagingError("32-bit paging without PAE")
        if not paging.efer & EFER_LME:
            shifts: tuple[int, ...] = (30, 21, 12)
            table = paging.cr3 & 0xFFFF_FFE0
            linear &= MAX_U32
        else:
            if (linear + _CANONICAL) & _LINEAR >= 2 * _CANONICAL:
                raise NotCanonicalError(f"{linear:#x} is not canonical")
            shifts, table = (39, 30, 21, 12), paging.cr3 & _ADDRESS
        return self._walk(linear, access, paging, shifts, table)

    def _walk(self, linear: int, access: Access, paging: Paging, shifts: tuple[int, ...], table: int) -> Translation:
        allowed, no_execute = _WRITABLE | _USER, 0
        for shift in shifts:
            is_pae_root = len(shifts) == _PAE_LEVELS and shift == shifts[0]  # four entries, without rights of their own
            at = table + 8 * (linear >> shift & (0x3 if is_pae_root else 0x1FF))
            entry = self._entry(at)
            if not entry & _PRESENT:
                raise PageFaultError(linear, _error_code(access, paging))
            if not is_pae_root:
                allowed &= entry
                no_execute |= entry & _NO_EXECUTE
            if shift == shifts[-1] or (shift in _LARGE_PAGES and entry & _LARGE and not is_pae_root):
                _check(linear, access, paging, allowed, no_execute=bool(no_execute))
                self._mark(at, entry, _ACCESSED | (_DIRTY if access is Access.WRITE else 0))
                within = (1 << shift) - 1
                return Translation(entry & _ADDRESS & ~within | linear & within, bool(entry & C_BIT))
            if not is_pae_root:
                self._mark(at, entry, _ACCESSED)
            table = entry & _ADDRESS
        raise AssertionError("the last level is a leaf")

    def _entry(self, gpa: int) -> int:
        place = self._cache.place(gpa, Access.READ, Privilege(self.vmpl, user=False), private=True) + gpa % PAGE_SIZE
        return int.from_bytes(self._cache.memory[place : place + 8], "little")

    def _mark(self, gpa: int, entry: int, bits: int) -> None:
        if entry & bits != bits:
            privilege = Privilege(self.vmpl, user=False)
            place = self._cache.place(gpa, Access.WRITE, privilege, private=True) + gpa % PAGE_SIZE
            self._cache.memory[place : place + 8] = (entry | bits).to_bytes(8, "little")


def _check(linear: int, access: Access, paging: Paging, allowed: int, *, no_execute: bool) -> None:
    is_user = paging.cpl == 3
    denied = (
        (is_user and not allowed & _USER)
        or (access is Access.WRITE and not allowed & _WRITABLE and (is_user or bool(paging.cr0 & CR0_WP)))
        or (access is Access.FETCH and no_execute and bool(paging.efer & EFER_NXE))
        or (access is Access.FETCH and not is_user and bool(allowed & _USER) and bool(paging.cr4 & CR4_SMEP))
    )
    if denied:
        raise PageFaultError(linear, _error_code(access, paging) | _PF_PRESENT)


def _error_code(access: Access, paging: Paging) -> int:
    tells_fetches = paging.efer & EFER_NXE or paging.cr4 & CR4_SMEP
    return (
        (_PF_WRITE if access is Access.WRITE else 0)
        | (_PF_USER if paging.cpl == 3 else 0)
        | (_PF_FETCH if access is Access.FETCH and tells_fetches else 0)
    )
