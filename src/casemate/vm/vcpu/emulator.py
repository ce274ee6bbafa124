"""The emulator: Unicorn asks here for each page, and stops before every instruction that it must not execute."""

import ctypes
from typing import Any

from unicorn import UC_ARCH_X86, UC_HOOK_CODE, UC_HOOK_INSN_INVALID, UC_HOOK_INTR, UC_HOOK_TLB_FILL, UC_MODE_64, Uc
from unicorn import unicorn_const as unicorn
from unicorn import x86_const as x86
from unicorn.unicorn import UcError

from casemate.vm.errors import AccessError, CacheChangedError, DramError
from casemate.vm.page_cache import Access, PageCache
from casemate.vm.vcpu.code_pages import CodePages
from casemate.vm.vcpu.context import Context
from casemate.vm.vcpu.exceptions import UNDEFINED, GuestFault, ShutdownError
from casemate.vm.vcpu.guest_memory import CR0_PE, EFER_LMA, GuestMemory, Paging
from casemate.vm.vcpu.instructions import MAX_LENGTH, Instruction, InstructionKind, decode
from casemate.vm.vcpu.model_specific import EFER, NATIVE
from casemate.wire.messages.vm.hypervisor import UNLIMITED
from casemate.wire.snp.page_info import PAGE_SIZE

Stopped = AccessError | CacheChangedError | DramError | GuestFault | ShutdownError | Instruction | None
"""Why the emulation has ended: an access or fault that needs help, or an instruction that is executed outside the
emulator; None where :meth:`Emulator.stop` has ended it."""

_TRANSLATIONS = 32 * 1024 * 1024
_ACCESSES = {
    unicorn.UC_MEM_READ: Access.READ,
    unicorn.UC_MEM_WRITE: Access.WRITE,
    unicorn.UC_MEM_FETCH: Access.FETCH,
}
_PERMISSIONS = {
    Access.READ: unicorn.UC_PROT_READ,
    Access.WRITE: unicorn.UC_PROT_READ | unicorn.UC_PROT_WRITE,
    Access.FETCH: unicorn.UC_PROT_READ | unicorn.UC_PROT_EXEC,
}
"""What an access grants: no more than it asked for, so that the first store to each page is noticed."""


class Emulator:
    """The emulator of one VM.

    Exceptions cannot pass through Unicorn, so its callbacks keep them and stop the emulation.
    """

    def __init__(self, cache: PageCache) -> None:
        self._cache = cache
        self.memory = GuestMemory(cache)
        """The guest's memory, by linear addresses."""
        self._uc = uc = Uc(UC_ARCH_X86, UC_MODE_64)
        uc.ctl_set_cpu_model(x86.UC_CPU_X86_EPYC)
        uc.ctl_set_tcg_buffer_size(_TRANSLATIONS)
        uc.ctl_set_tlb_mode(unicorn.UC_TLB_VIRTUAL)
        uc.ctl_exits_enabled(enable=True)
        self._mapped = (ctypes.c_char * len(cache.memory)).from_buffer(cache.memory)
        uc.mem_map_ptr(0, len(cache.memory), unicorn.UC_PROT_ALL, ctypes.addressof(self._mapped))
        self.context = Context(uc)
        """The registers; the emulator has copies of its own within :meth:`emulate`."""
        self._code = CodePages(uc, cache, self._on_intercepted)
        uc.hook_add(UC_HOOK_TLB_FILL, self._on_tlb_miss)
        uc.hook_add(UC_HOOK_INTR, self._on_exception)
        uc.hook_add(UC_HOOK_INSN_INVALID, self._on_invalid)
        self._stopped: Stopped | _CodeChangedError = None
        self._efer = 0
        self.counted = 0
        """Instructions since :meth:`count`, if they are counted."""
        self._most = UNLIMITED
        self._counting: Any = None

    def stop(self) -> None:
        """Ends an emulation that is under way; to be called from another thread."""
        self._uc.emu_stop()

    def count(self, most: int) -> None:
        """Limits the instructions from now on; :data:`UNLIMITED` for no limit."""
        self.counted, self._most = 0, most
        if (self._counting is None) is not (most == UNLIMITED):
            if self._counting is not None:
                self._uc.hook_del(self._counting)
            begin, end = 1, 0  # every address
            counts = most != UNLIMITED
            self._counting = self._uc.hook_add(UC_HOOK_CODE, self._on_any, begin=begin, end=end) if counts else None
            self._uc.ctl_flush_tb()

    def forget_translations(self) -> None:
        """Has the emulator ask for every page again."""
        self._uc.ctl(unicorn.UC_CTL_TLB_FLUSH, unicorn.UC_CTL_IO_WRITE)

    def emulate(self) -> Stopped:
        """Executes from the registers in :attr:`context`, and leaves the new ones there.

        An access or a fault is reported before its instruction, which is not counted; an :class:`Instruction` is the
        next one. The caller has to deal with every result except None.
        """
        while True:
            stopped = self._emulate()
            if isinstance(stopped, (AccessError, CacheChangedError, _CodeChangedError)) and self._most != UNLIMITED:
                self.counted = max(0, self.counted - 1)
            if not isinstance(stopped, _CodeChangedError):
                return stopped
            try:
                self._learn(stopped.linear)
            except (AccessError, CacheChangedError, DramError) as error:
                return error

    def _emulate(self) -> "Stopped | _CodeChangedError":
        self._stopped = None
        self._efer = self.context.paging.efer
        self.context.restore()
        try:
            self._uc.emu_start(self.context.rip, 0)
        except UcError as error:
            if self._stopped is None:
                self._stopped = ShutdownError(f"the emulator gives up: {error}")
        self.context.save()
        return self._stopped

    def _learn(self, linear: int) -> None:
        """Sets the stops in a page of code, and in the next page, into which an instruction may run."""
        paging = self.context.paging
        self._code.learn(linear, self.memory.place(linear, Access.FETCH, paging))
        following = linear + PAGE_SIZE
        try:
            self._code.learn(following, self.memory.place(following, Access.FETCH, paging))
        except (AccessError, CacheChangedError):
            return  # it is learned when it is executed

    def _on_tlb_miss(self, uc: Any, linear: int, access: int, entry: Any, _data: object) -> bool:
        wanted = _ACCESSES[access]
        try:
            place = self.memory.place(linear, wanted, self._paging(uc)) & -PAGE_SIZE
            if wanted is Access.FETCH and not self._code.knows(linear & -PAGE_SIZE, place):
                raise _CodeChangedError(linear & -PAGE_SIZE)
        except (AccessError, CacheChangedError, DramError, _CodeChangedError) as error:
            self._stopped = error
            return False
        entry.paddr, entry.perms = place, _PERMISSIONS[wanted]
        return True

    def _on_intercepted(self, uc: Any, linear: int, _size: int, _data: object) -> None:
        is_long = bool(uc.reg_read(x86.UC_X86_REG_MSR, EFER) & EFER_LMA)
        instruction = decode(self._code.code(linear, MAX_LENGTH), long_mode=is_long)
        if instruction is None:
            return
        if (
            instruction.kind in (InstructionKind.RDMSR, InstructionKind.WRMSR)
            and uc.reg_read(x86.UC_X86_REG_ECX) in NATIVE
        ):
            if instruction.kind is InstructionKind.WRMSR and uc.reg_read(x86.UC_X86_REG_ECX) == EFER:
                low, high = uc.reg_read_batch((x86.UC_X86_REG_EAX, x86.UC_X86_REG_EDX))
                self._efer = low | high << 32
            return
        self._stopped = instruction
        uc.emu_stop()

    def _on_any(self, uc: Any, _linear: int, _size: int, _data: object) -> None:
        if self.counted >= self._most:
            uc.emu_stop()
        elif self._stopped is None:
            self.counted += 1

    def _on_exception(self, uc: Any, vector: int, _data: object) -> None:
        self._stopped = GuestFault(vector)
        uc.emu_stop()

    def _on_invalid(self, uc: Any, _data: object) -> bool:
        self._stopped = GuestFault(UNDEFINED)
        uc.emu_stop()
        return True

    def _paging(self, uc: Any) -> Paging:
        """The registers for translation, read from the emulator while it runs."""
        cr0, cr3, cr4, cs = uc.reg_read_batch(_PAGING_REGISTERS)
        return Paging(cr0, cr3, cr4, self._efer, cs & 3 if cr0 & CR0_PE else 0)


_PAGING_REGISTERS = (x86.UC_X86_REG_CR0, x86.UC_X86_REG_CR3, x86.UC_X86_REG_CR4, x86.UC_X86_REG_CS)


class _CodeChangedError(Exception):
    """The emulator is about to execute a page that changed since it was learned."""

    def __init__(self, linear: int) -> None:
        self.linear = linear
