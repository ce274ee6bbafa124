"""Registers through the emulator and back."""

from dataclasses import replace
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from unicorn import UC_ARCH_X86, UC_MODE_64, Uc
from unicorn import x86_const as x86

from casemate.vm.errors import VmsaInvalidError
from casemate.vm.vcpu.context import Context
from casemate.wire.snp.vmm import Vmm
from casemate.wire.snp.vmsa import BSP_EIP, Segment, Vmsa, reset_state

RESET = reset_state(BSP_EIP, Vmm.QEMU, 0xA00F11, 1)
U64 = st.integers(0, (1 << 64) - 1)
GENERAL = ("rax", "rbx", "rcx", "rdx", "rsi", "rdi", "rbp", "rsp", *(f"r{number}" for number in range(8, 16)))


def changed(vmsa: Vmsa, **values: Any) -> Vmsa:
    return replace(vmsa, **values)


@pytest.fixture(scope="module")
def uc() -> Uc:
    made = Uc(UC_ARCH_X86, UC_MODE_64)
    made.ctl_set_cpu_model(x86.UC_CPU_X86_EPYC)
    return made


@pytest.fixture(scope="module")
def context(uc: Uc) -> Context:
    return Context(uc)


def test_a_vcpu_that_has_not_run_leaves_its_registers_as_they_were(context: Context) -> None:
    context.load(RESET)
    context.restore()
    context.save()
    assert context.store(RESET) == RESET


def test_the_emulator_itself_sees_what_was_loaded(uc: Uc, context: Context) -> None:
    context.load(changed(RESET, rbx=0x1122334455667788, cr2=0x99, fpreg_xmm=bytes(range(256))))
    context.restore()
    assert uc.reg_read(x86.UC_X86_REG_RBX) == 0x1122334455667788
    assert uc.reg_read(x86.UC_X86_REG_CR2) == 0x99
    assert uc.reg_read(x86.UC_X86_REG_CR0) == RESET.cr0
    assert uc.reg_read(x86.UC_X86_REG_XMM1) == int.from_bytes(bytes(range(16, 32)), "little")
    assert uc.reg_read(x86.UC_X86_REG_RIP) == RESET.rip


@settings(max_examples=60)
@given(
    values=st.fixed_dictionaries(dict.fromkeys(GENERAL, U64)),
    flags=st.integers(0, 0xFD5).map(lambda bits: bits & 0xCD5 | 0x2),
    xmm=st.binary(min_size=256, max_size=256),
    x87=st.binary(min_size=80, max_size=80),
    bases=st.tuples(U64, U64),
    msrs=st.tuples(U64, U64, U64, U64),
)
def test_what_a_long_mode_guest_has_comes_back(
    context: Context,
    values: dict[str, int],
    flags: int,
    xmm: bytes,
    x87: bytes,
    bases: tuple[int, int],
    msrs: tuple[int, int, int, int],
) -> None:
    vmsa = changed(
        RESET,
        **values,
        rflags=flags,
        fpreg_xmm=xmm,
        fpreg_x87=x87,
        cr0=0x8001_0033,
        cr4=0x660,
        efer=0x1D01,
        cs=Segment(0x18, 0xA9B, 0xFFFF_FFFF, 0),
        fs=Segment(0, 0xC93, 0xFFFF_FFFF, bases[0]),
        gs=Segment(0, 0xC93, 0xFFFF_FFFF, bases[1]),
        star=msrs[0],
        lstar=msrs[1],
        sfmask=msrs[2],
        kernel_gs_base=msrs[3],
    )
    context.load(vmsa)
    context.restore()
    context.save()
    assert context.store(vmsa) == vmsa


@pytest.mark.parametrize(
    "wrong",
    [
        {"efer": 0},
        {"cr0": 0x8000_0010},
        {"efer": 0x1500},
        {"cr0": 0x8000_0011, "efer": 0x1100, "cr4": 0x40},
        {"cr0": 1 << 32 | 0x10},
        {"cpl": 4},
        {"vmpl": 4},
    ],
)
def test_registers_that_no_vcpu_can_have_are_refused(context: Context, wrong: dict[str, int]) -> None:
    with pytest.raises(VmsaInvalidError):
        context.load(changed(RESET, **wrong))
