"""PVALIDATE and RMPADJUST: what a guest says about its own pages (APM volume 3)."""

from collections.abc import Callable

from casemate.vm.errors import NestedFaultError, NotValidatedError
from casemate.vm.nested import NestedPageTable
from casemate.vm.page_cache import Access
from casemate.vm.rmp import NPF_ENC, NPF_PRESENT, NPF_RMP, VMPLS, ReverseMapTable
from casemate.vm.vcpu.context import Context
from casemate.vm.vcpu.exceptions import PROTECTION, GuestFault
from casemate.vm.vcpu.guest_memory import GuestMemory, Paging
from casemate.wire.encodings.fields import MAX_U32
from casemate.wire.snp.page_info import PAGE_SIZE

_CARRY = 1
_FAIL_INPUT, _FAIL_PERMISSION, _FAIL_SIZE_MISMATCH = 1, 2, 6
_LOW = MAX_U32
_IS_LARGE = 1


class SnpInstructions:
    """Executes both on the reverse map table of one VM."""

    def __init__(
        self,
        nested: NestedPageTable,
        rmp: ReverseMapTable,
        evict: Callable[[int], None],
        forget: Callable[[int], None],
    ) -> None:
        """Works on the tables of one VM.

        Args:
            nested: GPA to SPA.
            rmp: the owners of pages.
            evict: called with a page's SPA before its state changes, so that the guest's stores reach DRAM.
            forget: called with a page's GPA when it has become valid: its earlier content must not count.
        """
        self._nested = nested
        self._rmp = rmp
        self._evict = evict
        self._forget = forget

    def pvalidate(self, context: Context, memory: GuestMemory) -> None:
        """RAX: linear address; ECX: page size; EDX: 1 to validate, 0 to rescind. Sets EAX and CF to the result.

        Raises:
            GuestFault: #GP outside of VMPL 0.
            AccessError: the page is not mapped, or is not the guest's.
        """
        if memory.vmpl:
            raise GuestFault(PROTECTION)
        linear, size = context.general("rax"), context.general("rcx") & _LOW
        if size > _IS_LARGE or linear % PAGE_SIZE:
            context.set_general("rax", _FAIL_INPUT)
        elif size == _IS_LARGE:
            context.set_general("rax", _FAIL_SIZE_MISMATCH)  # SIMULATED: this reverse map table has 4 KiB pages only
        else:
            gpa, spa = self._own_page(linear, memory, context.paging)
            wanted = bool(context.general("rdx") & 1)
            self._evict(spa)
            changed = self._rmp.set_validated(spa, validated=wanted)
            context.rflags = context.rflags & ~_CARRY | (0 if changed else _CARRY)
            context.set_general("rax", 0)
            if changed and wanted:
                self._forget(gpa)

    def rmpadjust(self, context: Context, memory: GuestMemory) -> None:
        """RAX: linear address; RCX: page size; RDX: VMPL, permissions and VMSA. Sets EAX to the result.

        Raises:
            AccessError: the page is not mapped, or is not the guest's.
        """
        linear, size, wanted = context.general("rax"), context.general("rcx"), context.general("rdx")
        vmpl, perms, vmsa = wanted & 0xFF, wanted >> 8 & 0xFF, bool(wanted >> 16 & 1)
        if size > _IS_LARGE or linear % PAGE_SIZE or vmpl >= VMPLS or perms > 0xF:
            context.set_general("rax", _FAIL_INPUT)
        elif size == _IS_LARGE:
            context.set_general("rax", _FAIL_SIZE_MISMATCH)
        else:
            gpa, spa = self._own_page(linear, memory, context.paging)
            if not self._rmp.is_validated(spa):
                raise NotValidatedError(gpa)
            own = self._rmp.permissions(spa, memory.vmpl)
            if vmpl <= memory.vmpl or (vmsa and memory.vmpl) or perms & ~own:
                context.set_general("rax", _FAIL_PERMISSION)
            else:
                self._evict(spa)
                self._rmp.adjust(spa, vmpl, perms, vmsa=vmsa)
                context.set_general("rax", 0)

    def _own_page(self, linear: int, memory: GuestMemory, paging: Paging) -> tuple[int, int]:
        gpa = memory.translate(linear, Access.READ, paging).gpa & -PAGE_SIZE
        spa = self._nested.spa(gpa, NPF_ENC)
        if self._rmp.gpa_of(spa) != gpa:
            code = NPF_RMP | NPF_PRESENT | NPF_ENC
            raise NestedFaultError(gpa, code, "the page is not the guest's, or has another GPA")
        return gpa, spa
