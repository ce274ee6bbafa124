"""Confidential VMs on a host: launched, run, looked at and attested. All but a report is the host's word."""

from dataclasses import dataclass
from typing import TypeVar

from casemate.client.asking import Ask, Transport
from casemate.client.timeouts import ASK_TIMEOUT, LAUNCH_TIMEOUT
from casemate.wire.messages.hypervisor import MAX_COPY, Done, MemoryIs, RmpEntry, RmpIs
from casemate.wire.messages.vms import (
    AttestVm,
    ConsoleIs,
    DestroyVm,
    Door,
    EncryptVm,
    FinishVm,
    GetVm,
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
from casemate.wire.snp.vmsa import Vmsa

UNLIMITED = (1 << 64) - 1
"""A budget of instructions that is none; any other has each instruction counted, which is slow."""

T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class Budget:
    """When a run ends at the latest."""

    time: float = 10.0
    """Seconds."""
    instructions: int = UNLIMITED
    console: int = 1 << 20
    """Bytes that the guest may print."""


class Vms:
    """All VMs of one host. Errors are those of :class:`~casemate.client.sync.Client`."""

    def __init__(self, transport: Transport) -> None:
        self._transport = transport

    def launch(self, wanted: LaunchVm) -> VmIs:
        """A new VM."""
        return self._ask(wanted, VmIs, LAUNCH_TIMEOUT)

    def all(self) -> tuple[VmIs, ...]:
        """Those that there are."""
        return self._ask(ListVms(), VmsAre).vms

    def get(self, vm: int) -> VmIs:
        """One of them."""
        return self._ask(GetVm(vm), VmIs)

    def encrypt(self, vm: int, gpa: int, content: bytes) -> VmIs:
        """Adds pages to a launch that is not finished."""
        return self._ask(EncryptVm(vm, gpa, content), VmIs, LAUNCH_TIMEOUT)

    def finish(self, vm: int) -> VmIs:
        """Ends a launch."""
        return self._ask(FinishVm(vm), VmIs, LAUNCH_TIMEOUT)

    def run(self, vm: int, vcpu: int = 0, budget: Budget = Budget()) -> VmRan:
        """Lets a vCPU run until it halts, cannot go on, or its budget ends."""
        time_ms = int(budget.time * 1000)
        asked = RunVm(vm, vcpu, budget.instructions, time_ms, budget.console)
        return self._ask(asked, VmRan, ASK_TIMEOUT + budget.time)

    def pause(self, vm: int) -> VmIs:
        """Ends a run that is under way."""
        return self._ask(PauseVm(vm), VmIs)

    def destroy(self, vm: int) -> VmIs:
        """Ends a VM: its keys are gone when this returns."""
        return self._ask(DestroyVm(vm), VmIs)

    def console(self, vm: int, start: int = 0) -> ConsoleIs:
        """What it has printed, from byte ``start`` on, as much as one answer holds."""
        return self._ask(ReadConsole(vm, start), ConsoleIs)

    def memory(self, vm: int, address: int, size: int, view: View = View.HYPERVISOR) -> bytes:
        """Memory through one pair of eyes: the hypervisor's by SPA, the guest's by GPA."""
        found = b""
        while len(found) < size:
            piece = VmMemory(vm, view, address + len(found), min(MAX_COPY, size - len(found)))
            found += self._ask(piece, MemoryIs).content
        return found

    def rmp(self, vm: int, spa: int, count: int) -> tuple[RmpEntry, ...]:
        """Entries of the reverse map table."""
        return self._ask(VmRmp(vm, spa, count), RmpIs).entries

    def registers(self, vm: int, vcpu: int = 0) -> Vmsa:
        """A vCPU's registers, where its mode or its policy lets the host see them."""
        return Vmsa.parse(self._ask(VmRegisters(vm, vcpu), MemoryIs).content)

    def attest(self, vm: int, report_data: bytes) -> VmEvidenceIs:
        """A report over 64 bytes, unverified, and the certificates to appraise it with."""
        return self._ask(AttestVm(vm, report_data), VmEvidenceIs, LAUNCH_TIMEOUT)

    def write(self, vm: int, door: Door, spa: int, content: bytes) -> None:
        """A hostile host's hand on a VM's memory."""
        self._ask(WriteVm(vm, door, spa, content), Done)

    def map(self, vm: int, gpa: int, spa: int) -> None:
        """A hostile host's hand on the nested page table."""
        self._ask(MapVm(vm, gpa, spa), Done)

    def _ask(self, question: object, wanted: type[T], timeout: float = ASK_TIMEOUT) -> T:
        return self._transport.ask(Ask(question, wanted, timeout))
