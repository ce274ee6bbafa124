"""A VM's process that is a dictionary: what the hypervisor's exits read and write, without a VM."""

from pathlib import Path
from typing import TYPE_CHECKING, cast

from casemate.host.vm.cpuid import Cpuid
from casemate.host.vm.devices import Devices
from casemate.host.vm.guest import Guest
from casemate.host.vm.memory import Dram, MemoryPlan
from casemate.wire.messages.vm.hypervisor import RmpUpdate
from casemate.wire.protocol.faults import Code, refuse
from casemate.wire.snp.mode import VmMode

if TYPE_CHECKING:
    from casemate.host.vm.guest_link import GuestLink

RAM = 1 << 20


class FakeLink:
    """Memory, and the RMPUPDATEs that were asked for."""

    def __init__(self) -> None:
        self.memory = bytearray(RAM)
        self.updates: list[RmpUpdate] = []
        self.lost = False

    async def load(self, spa: int, size: int) -> bytes:
        if self.lost:
            raise refuse(Code.LOST, "the VM's process is gone")
        return bytes(self.memory[spa : spa + size])

    async def store(self, spa: int, content: bytes) -> None:
        self.memory[spa : spa + len(content)] = content

    async def update_rmp(self, update: RmpUpdate) -> None:
        self.updates.append(update)


def fake_guest(folder: Path, mode: VmMode = VmMode.SEV_SNP) -> tuple[Guest, FakeLink]:
    """A guest with one MiB of RAM and no firmware."""
    plan, link = MemoryPlan(RAM, 0, 1), FakeLink()
    dram = Dram(folder / "1.dram", plan.pages)
    return Guest(mode, plan, dram, cast("GuestLink", link), Devices(), Cpuid(mode, 0xA00F11)), link
