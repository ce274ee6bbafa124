"""The reverse map table: each page of DRAM's owner, and the GPA at which the owner has it (APM volume 2, 15.36).

A real machine's table covers all guests. A VM's process has the part for its own DRAM, so a page is either this guest's
or the hypervisor's.
"""

from array import array
from collections.abc import Iterator
from enum import IntFlag

from casemate.vm.errors import NestedFaultError, NotValidatedError, RequestError, RmpViolationError
from casemate.wire.messages.vm.hypervisor import RmpEntry
from casemate.wire.snp.page_info import PAGE_SIZE

_ASSIGNED, _VALIDATED, _IMMUTABLE, _VMSA = (1 << bit for bit in range(4))
_PERMS_SHIFT = 16
_GPA_SHIFT = 32
_ALL = 0xF
VMPLS = 4

NPF_PRESENT, NPF_WRITE, NPF_USER, NPF_FETCH = 1 << 0, 1 << 1, 1 << 2, 1 << 4
NPF_RMP, NPF_ENC, NPF_SIZE, NPF_VMPL = 1 << 31, 1 << 34, 1 << 35, 1 << 36
"""EXITINFO1 of a nested page fault (APM volume 2, table 15-42)."""


class Permissions(IntFlag):
    """What a VMPL may do with a page (APM volume 2, table 15-39)."""

    READ = 1
    WRITE = 2
    USER_EXECUTE = 4
    SUPERVISOR_EXECUTE = 8


class ReverseMapTable:
    """The table, an integer for each page.

    Bits 0 to 3 are its state, 16 to 31 its permissions (four bits for each VMPL), 32 to 63 the page number of its GPA.
    """

    def __init__(self, pages: int) -> None:
        self._entries = array("Q", bytes(8 * pages))

    def update(self, spa: int, count: int, gpa: int | None, *, immutable: bool) -> None:
        """RMPUPDATE: assigns ``count`` pages to the guest at ``gpa``, or to the hypervisor where ``gpa`` is None.

        The pages lose their VALIDATED bit: a guest must notice that a page under it was exchanged. VMPL 0 gets all
        permissions for a page that becomes the guest's, the others get none.

        Raises:
            RequestError: a page is immutable: it waits for LAUNCH_UPDATE.
        """
        first = spa // PAGE_SIZE
        for number in range(count):
            if self._entries[first + number] & _IMMUTABLE:
                raise RequestError(f"FAIL_PERMISSION: the page at SPA {spa + number * PAGE_SIZE:#x} is immutable")
        for number in range(count):
            self._entries[first + number] = (
                0
                if gpa is None
                else _ASSIGNED
                | (_IMMUTABLE if immutable else 0)
                | _ALL << _PERMS_SHIFT
                | (gpa // PAGE_SIZE + number) << _GPA_SHIFT
            )

    def is_pre_guest(self, spa: int, gpa: int | None) -> bool:
        """Whether the page is assigned, immutable and not validated, as LAUNCH_UPDATE wants it; ``gpa`` None: any."""
        entry = self._entries[spa // PAGE_SIZE]
        placed = gpa is None or entry >> _GPA_SHIFT == gpa // PAGE_SIZE
        return entry & (_ASSIGNED | _IMMUTABLE | _VALIDATED) == _ASSIGNED | _IMMUTABLE and placed

    def take(self, spa: int, perms: tuple[int, int, int], *, vmsa: bool) -> None:
        """LAUNCH_UPDATE: a pre-guest page becomes the guest's, validated, with the permissions of VMPL 1 to 3."""
        at = spa // PAGE_SIZE
        entry = self._entries[at] & ~_IMMUTABLE | _VALIDATED | (_VMSA if vmsa else 0)
        for vmpl, allowed in enumerate(perms, start=1):
            entry = _with_perms(entry, vmpl, allowed)
        self._entries[at] = entry

    def gpa_of(self, spa: int) -> int | None:
        """The GPA at which the guest has the page."""
        entry = self._entries[spa // PAGE_SIZE]
        return (entry >> _GPA_SHIFT) * PAGE_SIZE if entry & _ASSIGNED else None

    def is_vmsa(self, spa: int) -> bool:
        """Whether the page is the guest's, validated, and marked as a VMSA."""
        wanted = _ASSIGNED | _VALIDATED | _VMSA
        return self._entries[spa // PAGE_SIZE] & wanted == wanted

    def is_validated(self, spa: int) -> bool:
        """The page's VALIDATED bit."""
        return bool(self._entries[spa // PAGE_SIZE] & _VALIDATED)

    def set_validated(self, spa: int, *, validated: bool) -> bool:
        """PVALIDATE; True if the bit changed."""
        at = spa // PAGE_SIZE
        before = self._entries[at]
        self._entries[at] = before | _VALIDATED if validated else before & ~(_VALIDATED | _VMSA)
        return self._entries[at] & _VALIDATED != before & _VALIDATED

    def adjust(self, spa: int, vmpl: int, perms: int, *, vmsa: bool) -> None:
        """RMPADJUST: sets the permissions of ``vmpl``, and whether the page is a VMSA."""
        at = spa // PAGE_SIZE
        entry = self._entries[at] & ~_VMSA | (_VMSA if vmsa else 0)
        self._entries[at] = _with_perms(entry, vmpl, perms)

    def check_host_store(self, spa: int, size: int) -> None:
        """Checks a store by the host's CPU; :class:`RmpViolationError` where the page is assigned to the guest."""
        for at in range(spa // PAGE_SIZE, -(-(spa + size) // PAGE_SIZE)):
            if self._entries[at] & _ASSIGNED:
                raise RmpViolationError(
                    f"#PF with the RMP bit: the page at SPA {at * PAGE_SIZE:#x} is the guest's, and not to be written "
                    "by the host's CPU"
                )

    def check_private(self, spa: int, gpa: int, vmpl: int, wanted: Permissions) -> None:
        """Checks an access of the guest with the C-bit set.

        The GPA is compared because the hypervisor controls the nested page table: it could map two of the guest's pages
        to each other's place.

        Raises:
            NestedFaultError: the page is not the guest's, or has another GPA, or the VMPL may not do that.
            NotValidatedError: the guest has not validated it.
        """
        entry = self._entries[spa // PAGE_SIZE]
        code = NPF_RMP | NPF_PRESENT | NPF_ENC | (NPF_WRITE if wanted is Permissions.WRITE else 0)
        if not entry & _ASSIGNED:
            raise NestedFaultError(gpa, code, "a private access to a page of the hypervisor's")
        if entry >> _GPA_SHIFT != gpa // PAGE_SIZE:
            other = (entry >> _GPA_SHIFT) * PAGE_SIZE
            raise NestedFaultError(gpa, code, f"the reverse map table has this page at GPA {other:#x}")
        if not entry & _VALIDATED:
            raise NotValidatedError(gpa)
        if not entry >> _PERMS_SHIFT + 4 * vmpl & wanted:
            raise NestedFaultError(gpa, code | NPF_VMPL, f"VMPL {vmpl} has no permission to {wanted.name}")
        if entry & _VMSA and wanted is Permissions.WRITE and vmpl:
            raise NestedFaultError(gpa, code | NPF_VMPL, "a VMSA is written by VMPL 0 alone")

    def check_shared(self, spa: int, gpa: int, *, write: bool) -> None:
        """Checks an access of the guest with the C-bit clear.

        :class:`NestedFaultError` for a store to a page that is assigned.
        """
        if write and self._entries[spa // PAGE_SIZE] & _ASSIGNED:
            raise NestedFaultError(gpa, NPF_RMP | NPF_PRESENT | NPF_WRITE, "a shared store to a private page")

    def permissions(self, spa: int, vmpl: int) -> int:
        """What ``vmpl`` may do with the page."""
        return self._entries[spa // PAGE_SIZE] >> _PERMS_SHIFT + 4 * vmpl & _ALL

    def entries(self, spa: int, count: int) -> Iterator[RmpEntry]:
        """The entries of ``count`` pages from ``spa`` (RMPREAD)."""
        for at in range(spa // PAGE_SIZE, spa // PAGE_SIZE + count):
            entry = self._entries[at]
            yield RmpEntry(
                spa=at * PAGE_SIZE,
                assigned=bool(entry & _ASSIGNED),
                gpa=(entry >> _GPA_SHIFT) * PAGE_SIZE,
                validated=bool(entry & _VALIDATED),
                immutable=bool(entry & _IMMUTABLE),
                vmsa=bool(entry & _VMSA),
                perms=tuple(entry >> _PERMS_SHIFT + 4 * vmpl & _ALL for vmpl in range(VMPLS)),
            )


def _with_perms(entry: int, vmpl: int, perms: int) -> int:
    shift = _PERMS_SHIFT + 4 * vmpl
    return entry & ~(_ALL << shift) | (perms & _ALL) << shift
