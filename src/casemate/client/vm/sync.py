"""Confidential VMs on a host: launched, run, looked at and attested. All but a report is the host's word.

Made from ``aio.py`` beside it by ``make fix``: change that.
"""

from casemate.client.transport import Transport
from casemate.client.vm.budget import USUAL, Budget
from casemate.wire.errors import WireError
from casemate.wire.messages.verbs import ASK_TIMEOUT
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
    WriteVm,
)
from casemate.wire.messages.vm.hypervisor import MAX_COPY, UNLIMITED, RmpEntry
from casemate.wire.snp.vmsa import Vmsa

__all__ = ["UNLIMITED", "Budget", "Vms"]


class Vms:
    """All VMs of one host. Errors are those of :class:`~casemate.client.sync.Client`, which makes this."""

    def __init__(self, transport: Transport) -> None:
        self._transport = transport

    def launch(self, wanted: LaunchVm) -> VmIs:
        """Launches a VM."""
        return self._transport.answer(wanted)

    def all(self) -> tuple[VmIs, ...]:
        """All VMs."""
        return (self._transport.answer(ListVms())).vms

    def get(self, vm: int) -> VmIs:
        """One VM."""
        return self._transport.answer(GetVm(vm))

    def encrypt(self, vm: int, gpa: int, content: bytes) -> VmIs:
        """Adds pages to a launch that is not finished."""
        return self._transport.answer(EncryptVm(vm, gpa, content))

    def finish(self, vm: int) -> VmIs:
        """Ends a launch."""
        return self._transport.answer(FinishVm(vm))

    def run(self, vm: int, vcpu: int = 0, budget: Budget = USUAL) -> VmRan:
        """Lets a vCPU run until it halts, cannot go on, or its budget ends.

        Where the caller gives up before, a gateway pauses the vCPU; a host's socket lets it use up its budget.
        """
        request = RunVm(vm, vcpu, budget.instructions, int(budget.time * 1000), budget.console)
        return self._transport.answer(request, ASK_TIMEOUT + budget.time)

    def pause(self, vm: int) -> VmIs:
        """Ends a run that is under way."""
        return self._transport.answer(PauseVm(vm))

    def destroy(self, vm: int) -> VmIs:
        """Ends a VM: its keys are gone when this returns."""
        return self._transport.answer(DestroyVm(vm))

    def console(self, vm: int, start: int = 0) -> ConsoleIs:
        """The guest's console output from byte ``start`` on, as much as fits into one answer."""
        found = self._transport.answer(ReadConsole(vm, start))
        if found.start < start:  # a caller that goes on from there would never come to the end
            raise WireError("console.start", got=found.start, want=f"at least {start}")
        return found

    def give(self, vm: int, content: bytes) -> None:
        """Gives the guest bytes to read on its second serial port."""
        self._transport.answer(GiveVm(vm, content))

    def memory(self, vm: int, address: int, size: int, view: View = View.HYPERVISOR) -> bytes:
        """Memory, however long: as the hypervisor sees it by SPA, or as the guest does by GPA."""
        found = b""
        while len(found) < size:
            piece = min(MAX_COPY, size - len(found))
            said = self._transport.answer(VmMemory(vm, view, address + len(found), piece))
            if len(said.content) != piece:
                raise WireError("memory", got=f"{len(said.content)} bytes", want=piece)
            found += said.content
        return found

    def rmp(self, vm: int, spa: int, count: int) -> tuple[RmpEntry, ...]:
        """Entries of the reverse map table, of ``count`` pages from ``spa`` on."""
        found = self._transport.answer(VmRmp(vm, spa, count))
        if len(found.entries) != count:
            raise WireError("rmp", got=f"{len(found.entries)} entries", want=count)
        return found.entries

    def registers(self, vm: int, vcpu: int = 0) -> Vmsa:
        """A vCPU's registers: while it is launching; then where its mode or its policy lets the host see them."""
        return Vmsa.parse((self._transport.answer(VmRegisters(vm, vcpu))).content)

    def attest(self, vm: int, report_data: bytes) -> VmEvidenceIs:
        """A report over 64 bytes, unverified, and the certificates to appraise it with."""
        return self._transport.answer(AttestVm(vm, report_data))

    def write(self, vm: int, path: AttackPath, spa: int, content: bytes) -> None:
        """Writes to a VM's memory, as a hostile host does."""
        self._transport.answer(WriteVm(vm, path, spa, content))

    def map(self, vm: int, gpa: int, spa: int) -> None:
        """Points a guest's page at another page of DRAM in the nested page table, as a hostile host does."""
        self._transport.answer(MapVm(vm, gpa, spa))

    def assign(self, vm: int, spa: int, gpa: int | None) -> None:
        """Changes the reverse map table, as a hostile host does: the page is the guest's at ``gpa``, or the host's."""
        self._transport.answer(AssignVm(vm, spa, gpa))
