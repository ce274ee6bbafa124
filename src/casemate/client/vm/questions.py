"""What a client asks about confidential VMs, for both clients: questions, and journeys of several."""

from dataclasses import dataclass

from casemate.client.asking import Ask, Journey
from casemate.client.timeouts import ASK_TIMEOUT, LAUNCH_TIMEOUT
from casemate.wire.errors import WireError
from casemate.wire.messages.vm.host import (
    AssignVm,
    AttackPath,
    AttestVm,
    ConsoleIs,
    DestroyVm,
    EncryptVm,
    FinishVm,
    GetVm,
    GiveVm,
    LaunchVm,
    ListVms,
    MapVm,
    PauseVm,
    ReadConsole,
    RunVm,
    View,
    VmEvidenceIs,
    VmIs,
    VmMemory,
    VmRan,
    VmRegisters,
    VmRmp,
    VmsAre,
    WriteVm,
)
from casemate.wire.messages.vm.hypervisor import MAX_COPY, Done, MemoryIs, RmpEntry, RmpIs
from casemate.wire.snp.vmsa import Vmsa

UNLIMITED = (1 << 64) - 1
"""A budget of instructions that is none; any other has each instruction counted, which is slow."""


@dataclass(frozen=True, slots=True)
class Budget:
    """When a run ends at the latest."""

    time: float = 10.0
    """Seconds."""
    instructions: int = UNLIMITED
    console: int = 1 << 20
    """Bytes that the guest may print."""


USUAL = Budget()
"""Where nobody says."""


def launch(wanted: LaunchVm) -> Ask[VmIs]:
    """A new VM."""
    return Ask(wanted, VmIs, LAUNCH_TIMEOUT)


def everything() -> Journey[tuple[VmIs, ...]]:
    """Those that there are."""
    found: VmsAre = yield Ask(ListVms(), VmsAre, ASK_TIMEOUT)
    return found.vms


def get(vm: int) -> Ask[VmIs]:
    """One of them."""
    return Ask(GetVm(vm), VmIs, ASK_TIMEOUT)


def encrypt(vm: int, gpa: int, content: bytes) -> Ask[VmIs]:
    """Adds pages to a launch that is not finished."""
    return Ask(EncryptVm(vm, gpa, content), VmIs, LAUNCH_TIMEOUT)


def finish(vm: int) -> Ask[VmIs]:
    """Ends a launch."""
    return Ask(FinishVm(vm), VmIs, LAUNCH_TIMEOUT)


def run(vm: int, vcpu: int, budget: Budget) -> Ask[VmRan]:
    """Lets a vCPU run."""
    question = RunVm(vm, vcpu, budget.instructions, int(budget.time * 1000), budget.console)
    return Ask(question, VmRan, ASK_TIMEOUT + budget.time)


def pause(vm: int) -> Ask[VmIs]:
    """Ends a run that is under way."""
    return Ask(PauseVm(vm), VmIs, ASK_TIMEOUT)


def destroy(vm: int) -> Ask[VmIs]:
    """Ends a VM."""
    return Ask(DestroyVm(vm), VmIs, ASK_TIMEOUT)


def console(vm: int, start: int) -> Journey[ConsoleIs]:
    """What it has printed, as much as one answer holds."""
    found: ConsoleIs = yield Ask(ReadConsole(vm, start), ConsoleIs, ASK_TIMEOUT)
    if found.start < start:  # whoever goes on from there would never come to the end
        raise WireError("console.start", got=found.start, want=f"at least {start}")
    return found


def memory(vm: int, address: int, size: int, view: View) -> Journey[bytes]:
    """Memory, however long."""
    found = b""
    while len(found) < size:
        piece = min(MAX_COPY, size - len(found))
        said: MemoryIs = yield Ask(VmMemory(vm, view, address + len(found), piece), MemoryIs, ASK_TIMEOUT)
        if len(said.content) != piece:
            raise WireError("memory", got=f"{len(said.content)} bytes", want=piece)
        found += said.content
    return found


def rmp(vm: int, spa: int, count: int) -> Journey[tuple[RmpEntry, ...]]:
    """Entries of the reverse map table."""
    found: RmpIs = yield Ask(VmRmp(vm, spa, count), RmpIs, ASK_TIMEOUT)
    if len(found.entries) != count:
        raise WireError("rmp", got=f"{len(found.entries)} entries", want=count)
    return found.entries


def registers(vm: int, vcpu: int) -> Journey[Vmsa]:
    """A vCPU's registers."""
    found: MemoryIs = yield Ask(VmRegisters(vm, vcpu), MemoryIs, ASK_TIMEOUT)
    return Vmsa.parse(found.content)


def attest(vm: int, report_data: bytes) -> Ask[VmEvidenceIs]:
    """A report, unverified."""
    return Ask(AttestVm(vm, report_data), VmEvidenceIs, LAUNCH_TIMEOUT)


def write(vm: int, path: AttackPath, spa: int, content: bytes) -> Ask[Done]:
    """A hostile host's hand on a VM's memory."""
    return Ask(WriteVm(vm, path, spa, content), Done, ASK_TIMEOUT)


def map_page(vm: int, gpa: int, spa: int) -> Ask[Done]:
    """A hostile host's hand on the nested page table."""
    return Ask(MapVm(vm, gpa, spa), Done, ASK_TIMEOUT)


def give(vm: int, content: bytes) -> Ask[Done]:
    """Bytes for the guest, on its second serial port."""
    return Ask(GiveVm(vm, content), Done, ASK_TIMEOUT)


def assign(vm: int, spa: int, gpa: int | None) -> Ask[Done]:
    """A hostile host's hand on the reverse map table."""
    return Ask(AssignVm(vm, spa, gpa), Done, ASK_TIMEOUT)
