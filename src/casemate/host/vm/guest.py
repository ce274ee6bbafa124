"""The parts of a VM that its hypervisor works with."""

from dataclasses import dataclass

from casemate.host.vm.cpuid import Cpuid
from casemate.host.vm.devices import Devices
from casemate.host.vm.guest_link import GuestLink
from casemate.host.vm.memory import Dram, MemoryPlan
from casemate.wire.snp.mode import VmMode


@dataclass(frozen=True, slots=True)
class Guest:
    """One VM without its state."""

    mode: VmMode
    plan: MemoryPlan
    dram: Dram
    link: GuestLink
    devices: Devices
    cpuid: Cpuid
