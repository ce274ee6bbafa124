import asyncio
from pathlib import Path
from typing import TYPE_CHECKING, cast

from tests.rigs.host.fake_guest import fake_guest

from casemate.host.vm.vm import Shown, Vm
from casemate.wire.messages.vm.host import RunVm, VmState
from casemate.wire.messages.vm.hypervisor import UNLIMITED, ExitReason, VcpuExit, Vmrun

if TYPE_CHECKING:
    from casemate.host.vm.firmware import SevFirmware

SEV_INFORMATION_REQUEST = 0x002
RUN = RunVm(1, 0, UNLIMITED, 10_000, 1 << 16)


def test_a_guest_gets_the_answer_to_its_exit_also_where_the_run_is_paused_before(tmp_path: Path) -> None:
    """The GHCB MSR holds it: lost, the guest would read its own request as the answer."""
    runs: list[Vmrun] = []
    guest, link = fake_guest(tmp_path)
    vm = Vm(Shown(1, "mine", 0x30000, bytes(48)), 1, guest, cast("SevFirmware", None))

    async def run(wanted: Vmrun) -> VcpuExit:
        runs.append(wanted)
        if len(runs) == 1:
            vm.pause()  # while the vCPU runs, which exits for another reason
            return VcpuExit(ExitReason.VMGEXIT, 0, 0, SEV_INFORMATION_REQUEST, 1, "")
        return VcpuExit(ExitReason.HALT, 0, 0, 0, 1, "")

    vars(link)["run"] = run
    vm.become(VmState.LAUNCHED, "")

    async def work() -> None:
        assert (await vm.run(RUN)).reason is ExitReason.PAUSED
        assert (await vm.run(RUN)).reason is ExitReason.HALT
        assert (await vm.run(RUN)).reason is ExitReason.HALT

    asyncio.run(work())
    first, second, third = (wanted.ghcb for wanted in runs)
    assert first is None
    assert second is not None
    assert second & 0xFFF == 0x001  # SEV information, the answer
    assert third is None
