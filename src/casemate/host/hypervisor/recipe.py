"""What a client wants launched, read and checked: pages in their order, sizes, and how the launch ends."""

from collections.abc import Iterator
from dataclasses import dataclass

from casemate.host.hypervisor.memory import MAX_MEMORY_MIB, MIB, MemoryPlan
from casemate.wire.faults import Code, refuse
from casemate.wire.messages.snp_firmware import LaunchFinish
from casemate.wire.messages.vms import LaunchVm
from casemate.wire.snp.kernel_hashes import KernelHashes
from casemate.wire.snp.launch import GuestShape, Part, PlannedPage, plan
from casemate.wire.snp.ovmf import parse_ovmf

MAX_VCPUS = 8


@dataclass(frozen=True, slots=True)
class Recipe:
    """:func:`read_recipe` makes it."""

    wanted: LaunchVm
    pages: tuple[PlannedPage, ...]
    memory: MemoryPlan

    def before_registers(self) -> Iterator[PlannedPage]:
        """Firmware, and what its metadata ask for."""
        return (page for page in self.pages if page.part is not Part.VMSA)

    def registers(self) -> Iterator[PlannedPage]:
        """One page for each vCPU."""
        return (page for page in self.pages if page.part is Part.VMSA)

    def registers_of(self, vcpu: int) -> bytes:
        """The page of one vCPU; FaultError where there is no such."""
        pages = [planned.page.content for planned in self.registers()]
        if vcpu >= len(pages):
            raise refuse(Code.MALFORMED, f"this VM has {len(pages)} vCPUs, from 0 on")
        return pages[vcpu]

    def finish(self, vm: int) -> LaunchFinish:
        """For the firmware's number of the VM."""
        wanted = self.wanted
        return LaunchFinish(
            vm=vm,
            host_data=wanted.host_data,
            id_block=wanted.id_block,
            id_auth=wanted.id_auth,
            author_key=wanted.author_key,
        )


def read_recipe(wanted: LaunchVm) -> Recipe:
    """What is to be launched.

    Raises:
        WireError: the firmware is no image, or has no place for what is wanted.
        FaultError: sizes that this host does not serve.
    """
    if not 1 <= wanted.vcpus <= MAX_VCPUS:
        raise refuse(Code.MALFORMED, f"{wanted.vcpus} vCPUs: 1 to {MAX_VCPUS}")
    if not 1 <= wanted.memory_mib <= MAX_MEMORY_MIB:
        raise refuse(Code.MALFORMED, f"{wanted.memory_mib} MiB of memory: 1 to {MAX_MEMORY_MIB}")
    ovmf = parse_ovmf(wanted.firmware)
    kernel = None
    if wanted.kernel is not None:
        kernel = KernelHashes.of(wanted.kernel, wanted.initrd or b"", _command_line(wanted.append or b""))
    shape = GuestShape(wanted.vcpus, wanted.vcpu_signature, wanted.vmm, wanted.guest_features, kernel)
    memory = MemoryPlan(wanted.memory_mib * MIB, len(ovmf.content), wanted.vcpus)
    pages = tuple(plan(ovmf, shape))
    for page in pages:
        if page.part is not Part.VMSA:
            memory.spa(page.page.gpa)
    return Recipe(wanted, pages, memory)


def _command_line(append: bytes) -> str:
    try:
        return append.decode()
    except UnicodeDecodeError:
        raise refuse(Code.MALFORMED, "the kernel's command line is no UTF-8") from None
