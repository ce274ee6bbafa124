"""A VM's process, driven as its chip and its hypervisor drive it."""

import pytest

from casemate.testing.lone_vm import LoneVm
from casemate.wire.messages.vm.hypervisor import Done, ExitReason, HostStore, VcpuExit, Vmrun
from casemate.wire.protocol.faults import Code, FaultError
from casemate.wire.snp.launch import GuestShape
from casemate.wire.snp.mode import VmMode
from casemate.wire.snp.ovmf import Ovmf
from casemate.wire.snp.page_info import PAGE_SIZE
from casemate.wire.snp.vmm import Vmm

RAM = 1 << 20
OUT, HALT = bytes.fromhex("baf803 b041 ee"), bytes.fromhex("f4 ebfe")
"""Real mode: an A to COM1; HLT, and a loop."""
ALL_MODES = pytest.mark.parametrize("mode", VmMode)


def firmware(code: bytes) -> Ovmf:
    """One page, which begins with ``code``, to which the reset vector jumps."""
    page = bytearray(code.ljust(PAGE_SIZE, b"\x90"))
    page[-16:-13] = bytes.fromhex("e90df0")
    return Ovmf(bytes(page), (), None, None)


def shape(mode: VmMode) -> GuestShape:
    """One vCPU."""
    return GuestShape(1, 0xA00F11, Vmm.QEMU, int(mode.has_rmp))


@ALL_MODES
def test_a_guest_starts_at_the_reset_vector_and_halts(mode: VmMode) -> None:
    with LoneVm.launched(mode, firmware(HALT), shape(mode), memory=RAM) as vm:
        assert vm.run(instructions=1).reason is ExitReason.INSTRUCTIONS
        ended = vm.run()
        assert (ended.reason, ended.detail) == (ExitReason.HALT, "")


def test_under_sev_the_hypervisor_gets_port_io_and_under_es_the_guest_must_handle_it() -> None:
    with LoneVm.launched(VmMode.SEV, firmware(OUT + HALT), shape(VmMode.SEV), memory=RAM) as vm:
        ended = vm.run()
        assert ended.reason is ExitReason.PORT
        assert ended.info_1 >> 16 == 0x3F8
    with LoneVm.launched(VmMode.SEV_ES, firmware(OUT + HALT), shape(VmMode.SEV_ES), memory=RAM) as vm:
        ended = vm.run()
        assert ended.reason is ExitReason.SHUTDOWN
        assert "exception 29" in ended.detail


@ALL_MODES
def test_a_guest_that_loops_is_stopped_by_its_time_and_its_instructions(mode: VmMode) -> None:
    with LoneVm.launched(mode, firmware(bytes.fromhex("ebfe")), shape(mode), memory=RAM) as vm:
        assert vm.run(time_ms=50).reason is ExitReason.TIME
        ended = vm.run(instructions=1000)
        assert (ended.reason, ended.executed) == (ExitReason.INSTRUCTIONS, 1000)


@pytest.mark.parametrize("mode", [VmMode.SEV_SNP, VmMode.AUTHENTICATED])
def test_a_store_of_the_hosts_cpu_to_a_guests_page_faults(mode: VmMode) -> None:
    with LoneVm.launched(mode, firmware(HALT), shape(mode), memory=RAM) as vm:
        with pytest.raises(FaultError) as refused:
            vm.store(vm.vmsas[0], b"x")
        assert refused.value.fault.code is Code.RMP_FAULT


def test_what_is_no_vmsa_does_not_run() -> None:
    with LoneVm.launched(VmMode.SEV_SNP, firmware(HALT), shape(VmMode.SEV_SNP), memory=RAM) as vm:
        ended = vm.ask(Vmrun(0, 1, 1000, None), VcpuExit)
        assert ended.reason is ExitReason.INVALID


def test_a_store_beyond_dram_is_refused() -> None:
    with LoneVm.launched(VmMode.SEV, firmware(HALT), shape(VmMode.SEV), memory=RAM) as vm:
        with pytest.raises(FaultError) as refused:
            vm.ask(HostStore(vm.size - 1, b"xx"), Done)
        assert refused.value.fault.code is Code.WRONG_STATE
