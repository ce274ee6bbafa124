"""What the hypervisor has of one guest."""

from dataclasses import dataclass

from casemate.host.hypervisor.cpuid import Cpuid
from casemate.host.hypervisor.devices import Devices
from casemate.host.hypervisor.guest_link import GuestLink
from casemate.host.hypervisor.memory import Dram, MemoryPlan
from casemate.wire.snp.mode import VmMode


@dataclass(frozen=True, slots=True)
class Guest:
    """All but its state."""

    mode: VmMode
    plan: MemoryPlan
    dram: Dram
    link: GuestLink
    devices: Devices
    cpuid: Cpuid
