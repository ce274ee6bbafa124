"""A client's launch request, read and checked: pages in their order, sizes, and how the launch ends."""

from collections.abc import Iterator
from dataclasses import dataclass, replace

from casemate.host.vm.memory import MAX_MEMORY_MIB, MIB, MIN_MEMORY_MIB, MemoryPlan
from casemate.wire.messages.snp_firmware import LaunchFinish
from casemate.wire.messages.vm.host import LaunchVm
from casemate.wire.protocol.faults import Code, refuse
from casemate.wire.snp.kernel_hashes import KernelHashes
from casemate.wire.snp.launch import GuestShape, Part, PlannedPage, plan
from casemate.wire.snp.ovmf import Ovmf, parse_ovmf
from casemate.wire.snp.page_info import PAGE_SIZE
from casemate.wire.snp.sev_features import SIMULATED_FEATURES, check_features

MAX_VCPUS = 8


@dataclass(frozen=True, slots=True)
class LaunchPlan:
    """A launch that this host can carry out; :func:`plan_launch` makes it."""

    wanted: LaunchVm
    ovmf: Ovmf
    shape: GuestShape
    memory: MemoryPlan

    def before_registers(self) -> Iterator[PlannedPage]:
        """The pages before the vCPUs' registers: firmware and what its metadata ask for.

        An iterator, since that may be all of RAM.
        """
        return (page for page in plan(self.ovmf, self.shape) if page.part is not Part.VMSA)

    def registers(self) -> Iterator[PlannedPage]:
        """One page for each vCPU."""
        bare = plan(replace(self.ovmf, sections=()), replace(self.shape, kernel=None))
        return (page for page in bare if page.part is Part.VMSA)

    def registers_of(self, vcpu: int) -> bytes:
        """The registers of one vCPU; FaultError where there is no such vCPU."""
        pages = [planned.page.content for planned in self.registers()]
        if vcpu >= len(pages):
            raise refuse(Code.MALFORMED, f"this VM has {len(pages)} vCPUs, from 0 on")
        return pages[vcpu]

    def finish(self, vm: int) -> LaunchFinish:
        """LAUNCH_FINISH for the VM with that number."""
        wanted = self.wanted
        return LaunchFinish(
            vm=vm,
            host_data=wanted.host_data,
            id_block=wanted.id_block,
            id_auth=wanted.id_auth,
            author_key=wanted.author_key,
        )


def plan_launch(wanted: LaunchVm) -> LaunchPlan:
    """Reads and checks a launch request.

    Raises:
        WireError: the firmware is not an image, or has no place for what is wanted; no processor runs such
            SEV_FEATURES.
        FaultError: this host does not serve such sizes.
    """
    if not 1 <= wanted.vcpus <= MAX_VCPUS:
        raise refuse(Code.MALFORMED, f"{wanted.vcpus} vCPUs: 1 to {MAX_VCPUS}")
    if not MIN_MEMORY_MIB <= wanted.memory_mib <= MAX_MEMORY_MIB:
        raise refuse(Code.MALFORMED, f"{wanted.memory_mib} MiB of memory: {MIN_MEMORY_MIB} to {MAX_MEMORY_MIB}")
    ovmf = parse_ovmf(wanted.firmware)
    kernel = None
    if wanted.kernel is not None:
        kernel = KernelHashes.of(wanted.kernel, wanted.initrd or b"", _command_line(wanted.append or b""))
    check_features(wanted.guest_features, snp=wanted.mode.has_rmp, supported=SIMULATED_FEATURES)
    shape = GuestShape(wanted.vcpus, wanted.vcpu_signature, wanted.vmm, wanted.guest_features, kernel)
    memory = MemoryPlan(wanted.memory_mib * MIB, len(ovmf.content), wanted.vcpus)
    next(plan(ovmf, shape))  # raises where the firmware lacks a place for something
    _check_places(ovmf, memory)
    return LaunchPlan(wanted, ovmf, shape, memory)


def _check_places(ovmf: Ovmf, memory: MemoryPlan) -> None:
    """Checks that the sections in the firmware's metadata lie in the guest's memory, and fit into it together."""
    for section in ovmf.sections:
        last = section.size - PAGE_SIZE
        if memory.spa(section.gpa + last) - memory.spa(section.gpa) != last:
            raise refuse(Code.MALFORMED, f"{section.size:#x} bytes at GPA {section.gpa:#x} are not all memory")
    wanted = sum(section.size for section in ovmf.sections)
    if wanted > memory.ram + memory.firmware:
        raise refuse(Code.MALFORMED, f"the firmware's sections are {wanted:#x} bytes together, more than there are")


def _command_line(append: bytes) -> str:
    try:
        return append.decode()
    except UnicodeDecodeError:
        raise refuse(Code.MALFORMED, "the kernel's command line is no UTF-8") from None
