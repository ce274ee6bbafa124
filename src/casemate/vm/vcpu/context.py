"""Registers between the VMSA and the emulator.

Unicorn starts in one mode and offers no way to set the hidden parts of segment registers, EFER or the flags that follow
from them. A saved context holds them all; its layout is that of QEMU's CPUX86State in Unicorn 2.1, and is checked by
what Unicorn itself says before it is used.
"""

import ctypes
from dataclasses import replace
from typing import Any

from unicorn import Uc
from unicorn import x86_const as x86

from casemate.vm.errors import VmsaInvalidError
from casemate.vm.vcpu.guest_memory import CR0_PE, CR0_PG, CR4_PAE, EFER_LMA, EFER_LME, EFER_SVME, Paging
from casemate.wire.snp.vmsa import Segment, Vmsa

RFLAGS_RESERVED = 0x2
TRAP, INTERRUPTS, DIRECTION, NESTED_TASK, RESUME = 1 << 8, 1 << 9, 1 << 10, 1 << 14, 1 << 16

_ARITHMETIC = 0x8D5  # CF, PF, AF, ZF, SF, OF
_CC_OP_EFLAGS = 1
_LONG, _DEFAULT_SIZE = 1 << 21, 1 << 22  # of a segment's flags
_CPL = 0x3
_CS32, _SS32, _ADDSEG, _PE, _LMA, _CS64, _OSFXSR, _SMAP = (1 << bit for bit in (4, 5, 6, 7, 14, 15, 22, 23))
_MP_TO_HFLAGS, _MP_EM_TS = 8, 0b111 << 9
_MMX_MASK = 0b111


class _Segment(ctypes.Structure):
    selector: int
    base: int
    limit: int
    flags: int

    _fields_ = (
        ("selector", ctypes.c_uint32),
        ("base", ctypes.c_uint64),
        ("limit", ctypes.c_uint32),
        ("flags", ctypes.c_uint32),
    )


class _FloatingPoint(ctypes.Structure):
    low: int
    high: int

    _fields_ = (("low", ctypes.c_uint64), ("high", ctypes.c_uint64))


class _State(ctypes.Structure):
    """The fields of CPUX86State that are used, at their offsets in Unicorn's context."""

    regs: ctypes.Array[ctypes.c_uint64]
    eip: int
    eflags: int
    cc_src: int
    cc_op: int
    df: int
    hflags: int
    segs: ctypes.Array[_Segment]
    ldt: _Segment
    tr: _Segment
    gdt: _Segment
    idt: _Segment
    cr: ctypes.Array[ctypes.c_uint64]
    efer: int
    fp: ctypes.Array[_FloatingPoint]
    zmm: ctypes.Array[ctypes.Array[ctypes.c_uint8]]
    sysenter_cs: int
    sysenter_esp: int
    sysenter_eip: int
    star: int
    lstar: int
    cstar: int
    fmask: int
    kernel_gs_base: int
    tsc_aux: int
    pat: int

    _fields_ = (
        ("_head", ctypes.c_uint8 * 40),
        ("regs", ctypes.c_uint64 * 16),
        ("eip", ctypes.c_uint64),
        ("eflags", ctypes.c_uint64),
        ("cc_dst", ctypes.c_uint64),
        ("cc_src", ctypes.c_uint64),
        ("cc_src2", ctypes.c_uint64),
        ("cc_op", ctypes.c_uint32),
        ("df", ctypes.c_int32),
        ("hflags", ctypes.c_uint32),
        ("hflags2", ctypes.c_uint32),
        ("segs", _Segment * 6),
        ("ldt", _Segment),
        ("tr", _Segment),
        ("gdt", _Segment),
        ("idt", _Segment),
        ("cr", ctypes.c_uint64 * 5),
        ("_to_efer", ctypes.c_uint8 * (632 - 504)),
        ("efer", ctypes.c_uint64),
        ("_to_fp", ctypes.c_uint8 * (664 - 640)),
        ("fp", _FloatingPoint * 8),
        ("_to_xmm", ctypes.c_uint8 * (864 - 792)),
        ("zmm", (ctypes.c_uint8 * 64) * 16),
        ("_to_sysenter", ctypes.c_uint8 * (4840 - 1888)),
        ("sysenter_cs", ctypes.c_uint32),
        ("sysenter_esp", ctypes.c_uint64),
        ("sysenter_eip", ctypes.c_uint64),
        ("star", ctypes.c_uint64),
        ("vm_hsave", ctypes.c_uint64),
        ("lstar", ctypes.c_uint64),
        ("cstar", ctypes.c_uint64),
        ("fmask", ctypes.c_uint64),
        ("kernel_gs_base", ctypes.c_uint64),
        ("_to_tsc_aux", ctypes.c_uint8 * (4936 - 4912)),
        ("tsc_aux", ctypes.c_uint64),
        ("_to_pat", ctypes.c_uint8 * (5320 - 4944)),
        ("pat", ctypes.c_uint64),
        ("_to_dr", ctypes.c_uint8 * (5440 - 5328)),
        ("dr", ctypes.c_uint64 * 8),
    )


_ES, _CS, _SS, _DS, _FS, _GS = range(6)
_SEGMENTS = ("es", "cs", "ss", "ds", "fs", "gs")
_GENERAL = ("rax", "rcx", "rdx", "rbx", "rsp", "rbp", "rsi", "rdi", *(f"r{number}" for number in range(8, 16)))
_RESET_FCW, _RESET_MXCSR = 0x37F, 0x1F80


class Context:
    """A copy of the emulator's registers: :meth:`save` reads them from it, :meth:`restore` writes them back."""

    def __init__(self, uc: Uc) -> None:
        self._uc = uc
        self._saved = uc.context_save()
        if self._saved.size < ctypes.sizeof(_State):
            raise RuntimeError("this Unicorn keeps its registers otherwise than version 2.1 does")
        self._state = _State.from_address(self._saved.context.value)
        self._check_layout()

    def save(self) -> None:
        self._uc.context_update(self._saved)

    def restore(self) -> None:
        self._uc.context_restore(self._saved)

    @property
    def rip(self) -> int:
        """RIP, relative to CS's base."""
        return self._state.eip

    @rip.setter
    def rip(self, value: int) -> None:
        self._state.eip = value

    def general(self, name: str) -> int:
        """A general register, by its 64-bit name."""
        return self._state.regs[_GENERAL.index(name)]

    def set_general(self, name: str, value: int) -> None:
        self._state.regs[_GENERAL.index(name)] = value

    @property
    def rflags(self) -> int:
        flags: int = self._saved.reg_read(x86.UC_X86_REG_RFLAGS)
        return flags

    @rflags.setter
    def rflags(self, value: int) -> None:
        state = self._state
        state.eflags = value | RFLAGS_RESERVED  # the emulator reads them from here when it starts
        state.cc_op = _CC_OP_EFLAGS
        state.cc_src = value & _ARITHMETIC
        state.df = -1 if value & DIRECTION else 1

    @property
    def cpl(self) -> int:
        """Current privilege level."""
        return self._state.hflags & _CPL

    @property
    def cr0(self) -> int:
        return self._state.cr[0]

    @property
    def paging(self) -> Paging:
        """The registers that decide how addresses are translated."""
        state = self._state
        return Paging(state.cr[0], state.cr[3], state.cr[4], state.efer, self.cpl)

    @property
    def cr2(self) -> int:
        return self._state.cr[2]

    @cr2.setter
    def cr2(self, value: int) -> None:
        self._state.cr[2] = value

    @property
    def efer(self) -> int:
        """EFER without SVME, which the emulator does not know."""
        return self._state.efer

    @property
    def is_long(self) -> bool:
        """Whether the vCPU executes 64-bit code in long mode."""
        return bool(self._state.hflags & _CS64)

    @property
    def idt(self) -> tuple[int, int]:
        """IDTR: base and limit."""
        return self._state.idt.base, self._state.idt.limit

    @property
    def gdt(self) -> tuple[int, int]:
        """GDTR: base and limit."""
        return self._state.gdt.base, self._state.gdt.limit

    @property
    def task_base(self) -> int:
        """TR's base."""
        return self._state.tr.base

    @property
    def linear_rip(self) -> int:
        """The linear address of the next instruction."""
        return self._state.eip + (0 if self.is_long else self._state.segs[_CS].base)

    def selector(self, name: str) -> int:
        """A segment register's selector."""
        return self._state.segs[_SEGMENTS.index(name)].selector

    def enter(self, selector: int, flags: int, cpl: int) -> None:
        """Enters 64-bit code in the segment ``selector`` at privilege ``cpl``.

        Where that changes, SS becomes the null segment.

        Args:
            selector: without its privilege level.
            flags: the upper half of its descriptor.
            cpl: 0 to 3.
        """
        state = self._state
        if cpl != self.cpl:
            state.segs[_SS] = _Segment(cpl, 0, 0, 0)
        state.segs[_CS] = _Segment(selector | cpl, 0, 0xFFFF_FFFF, flags)
        state.hflags = state.hflags & ~(_CPL | _ADDSEG) | _CS64 | _CS32 | _SS32 | cpl

    def load(self, vmsa: Vmsa) -> None:
        """Takes the registers of a VMSA, for :meth:`restore`.

        Raises:
            VmsaInvalidError: no vCPU can be in such a state (APM volume 2, 15.5.1, "Canonicalization and Consistency").
        """
        _check(vmsa)
        state = self._state
        for at, name in enumerate(_GENERAL):
            state.regs[at] = getattr(vmsa, name)
        state.eip = vmsa.rip
        self.rflags = vmsa.rflags
        for at, name in enumerate(_SEGMENTS):
            state.segs[at] = _to_emulator(getattr(vmsa, name))
        state.ldt, state.tr = _to_emulator(vmsa.ldtr), _to_emulator(vmsa.tr)
        state.gdt, state.idt = _to_emulator(vmsa.gdtr), _to_emulator(vmsa.idtr)
        state.cr[0], state.cr[2], state.cr[3], state.cr[4] = vmsa.cr0, vmsa.cr2, vmsa.cr3, vmsa.cr4
        state.efer = vmsa.efer & ~EFER_SVME
        state.hflags = _hflags(vmsa)
        for at in range(16):
            start = at * 16
            state.zmm[at][:16] = list(vmsa.fpreg_xmm[start : start + 16])
            state.zmm[at][16:32] = list(vmsa.fpreg_ymm[start : start + 16])
        state.star, state.lstar, state.cstar, state.fmask = vmsa.star, vmsa.lstar, vmsa.cstar, vmsa.sfmask
        state.kernel_gs_base, state.tsc_aux, state.pat = vmsa.kernel_gs_base, vmsa.tsc_aux, vmsa.g_pat
        state.sysenter_cs = vmsa.sysenter_cs & 0xFFFF_FFFF
        state.sysenter_esp, state.sysenter_eip = vmsa.sysenter_esp, vmsa.sysenter_eip
        self._load_floating_point(vmsa)

    def store(self, vmsa: Vmsa) -> Vmsa:
        """``vmsa`` with the current registers; fields that the emulator does not have stay unchanged."""
        state = self._state
        general: dict[str, Any] = {name: state.regs[at] for at, name in enumerate(_GENERAL)}
        segments: dict[str, Any] = {name: _from_emulator(state.segs[at]) for at, name in enumerate(_SEGMENTS)}
        return replace(
            vmsa,
            **general,
            **segments,
            ldtr=_from_emulator(state.ldt),
            tr=_from_emulator(state.tr),
            gdtr=_from_emulator(state.gdt),
            idtr=_from_emulator(state.idt),
            cpl=self.cpl,
            rip=state.eip,
            rflags=self.rflags,
            cr0=state.cr[0],
            cr2=state.cr[2],
            cr3=state.cr[3],
            cr4=state.cr[4],
            efer=state.efer | vmsa.efer & EFER_SVME,
            star=state.star,
            lstar=state.lstar,
            cstar=state.cstar,
            sfmask=state.fmask,
            kernel_gs_base=state.kernel_gs_base,
            tsc_aux=state.tsc_aux & 0xFFFF_FFFF,
            g_pat=state.pat,
            sysenter_cs=state.sysenter_cs,
            sysenter_esp=state.sysenter_esp,
            sysenter_eip=state.sysenter_eip,
            fpreg_xmm=b"".join(bytes(state.zmm[at][:16]) for at in range(16)),
            fpreg_ymm=b"".join(bytes(state.zmm[at][16:32]) for at in range(16)),
            **self._floating_point(),
        )

    def _load_floating_point(self, vmsa: Vmsa) -> None:
        saved = self._saved
        saved.reg_write(x86.UC_X86_REG_MXCSR, vmsa.mxcsr or _RESET_MXCSR)
        saved.reg_write(x86.UC_X86_REG_FPCW, vmsa.x87_fcw or _RESET_FCW)
        saved.reg_write(x86.UC_X86_REG_FPSW, vmsa.x87_fsw)
        saved.reg_write(x86.UC_X86_REG_FPTAG, _wide_tags(vmsa.x87_ftw))
        for register in range(8):
            raw = vmsa.fpreg_x87[register * 10 : register * 10 + 10]
            value = int.from_bytes(raw[:8], "little"), int.from_bytes(raw[8:], "little")
            self._state.fp[register] = _FloatingPoint(*value)

    def _floating_point(self) -> dict[str, Any]:
        saved = self._saved
        return {
            "mxcsr": saved.reg_read(x86.UC_X86_REG_MXCSR),
            "x87_fcw": saved.reg_read(x86.UC_X86_REG_FPCW),
            "x87_fsw": saved.reg_read(x86.UC_X86_REG_FPSW),
            "x87_ftw": _narrow_tags(saved.reg_read(x86.UC_X86_REG_FPTAG)),
            "fpreg_x87": b"".join(bytes(each)[:10] for each in self._state.fp),
        }

    def _check_layout(self) -> None:
        saved, state = self._saved, self._state
        pairs = (
            (x86.UC_X86_REG_R15, "regs", 15),
            (x86.UC_X86_REG_CR3, "cr", 3),
        )
        for register, name, at in pairs:
            before = saved.reg_read(register)
            getattr(state, name)[at] = 0x0123_4567_89AB
            if saved.reg_read(register) != 0x0123_4567_89AB:
                raise RuntimeError("this Unicorn keeps its registers otherwise than version 2.1 does")
            getattr(state, name)[at] = before
        if state.efer != EFER_LME | EFER_LMA:  # the value in an emulator created for 64-bit code
            raise RuntimeError("this Unicorn keeps EFER otherwise than version 2.1 does")


def _check(vmsa: Vmsa) -> None:
    paged, protected, long = vmsa.cr0 & CR0_PG, vmsa.cr0 & CR0_PE, vmsa.efer & EFER_LME
    wrong = (
        "EFER.SVME is clear"
        if not vmsa.efer & EFER_SVME
        else "CR0.PG without CR0.PE"
        if paged and not protected
        else "long mode without CR4.PAE"
        if paged and long and not vmsa.cr4 & CR4_PAE
        else "EFER.LMA is not what EFER.LME and CR0.PG say"
        if bool(vmsa.efer & EFER_LMA) != bool(paged and long)
        else "CR0's upper half is not zero"
        if vmsa.cr0 >> 32
        else "CPL is none"
        if vmsa.cpl > 3
        else "VMPL is none"
        if vmsa.vmpl > 3
        else None
    )
    if wrong is not None:
        raise VmsaInvalidError(f"no vCPU can have these registers: {wrong}")


def _hflags(vmsa: Vmsa) -> int:
    """QEMU's hflags, which it derives from other registers (target/i386/cpu.h describes each bit)."""
    code, stack = _to_emulator(vmsa.cs).flags, _to_emulator(vmsa.ss).flags
    flags = vmsa.cpl
    flags |= _PE if vmsa.cr0 & CR0_PE else 0
    flags |= vmsa.cr0 << _MP_TO_HFLAGS & _MP_EM_TS
    flags |= _OSFXSR if vmsa.cr4 & 1 << 9 else 0
    flags |= _SMAP if vmsa.cr4 & 1 << 21 else 0
    if vmsa.efer & EFER_LMA:
        flags |= _LMA
        if code & _LONG:
            return flags | _CS64 | _CS32 | _SS32
    flags |= _CS32 if code & _DEFAULT_SIZE else 0
    flags |= _SS32 if stack & _DEFAULT_SIZE else 0
    has_bases = any(segment.base for segment in (vmsa.ds, vmsa.es, vmsa.ss))
    return flags | (_ADDSEG if not vmsa.cr0 & CR0_PE or not flags & _CS32 or has_bases else 0)


def _to_emulator(segment: Segment) -> _Segment:
    flags = (segment.attrib & 0xFF) << 8 | (segment.attrib >> 8 & 0xF) << 20
    return _Segment(segment.selector, segment.base, segment.limit, flags)


def _from_emulator(segment: _Segment) -> Segment:
    attrib = segment.flags >> 8 & 0xFF | (segment.flags >> 20 & 0xF) << 8
    return Segment(segment.selector & 0xFFFF, attrib, segment.limit, segment.base)


def _wide_tags(narrow: int) -> int:
    """Two bits a register (3 is empty) from FXSAVE's one bit (1 is used)."""
    return sum((0 if narrow >> at & 1 else 3) << 2 * at for at in range(8))


def _narrow_tags(wide: int) -> int:
    return sum(1 << at for at in range(8) if wide >> 2 * at & 3 != 3)
