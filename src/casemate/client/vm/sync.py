"""Confidential VMs on a host: launched, run, looked at and attested. All but a report is the host's word."""

from casemate.client.asking import Transport, go
from casemate.client.vm import questions as vm_questions
from casemate.client.vm.questions import UNLIMITED, USUAL, Budget
from casemate.wire.messages.vm.host import AttackPath, ConsoleIs, LaunchVm, View, VmEvidenceIs, VmIs, VmRan
from casemate.wire.messages.vm.hypervisor import RmpEntry
from casemate.wire.snp.vmsa import Vmsa

__all__ = ["UNLIMITED", "Budget", "Vms"]


class Vms:
    """All VMs of one host. Errors are those of :class:`~casemate.client.sync.Client`, which makes this."""

    def __init__(self, transport: Transport) -> None:
        self._transport = transport

    def launch(self, wanted: LaunchVm) -> VmIs:
        """A new VM."""
        return self._transport.ask(vm_questions.launch(wanted))

    def all(self) -> tuple[VmIs, ...]:
        """Those that there are."""
        return go(self._transport, vm_questions.everything())

    def get(self, vm: int) -> VmIs:
        """One of them."""
        return self._transport.ask(vm_questions.get(vm))

    def encrypt(self, vm: int, gpa: int, content: bytes) -> VmIs:
        """Adds pages to a launch that is not finished."""
        return self._transport.ask(vm_questions.encrypt(vm, gpa, content))

    def finish(self, vm: int) -> VmIs:
        """Ends a launch."""
        return self._transport.ask(vm_questions.finish(vm))

    def run(self, vm: int, vcpu: int = 0, budget: Budget = USUAL) -> VmRan:
        """Lets a vCPU run until it halts, cannot go on, or its budget ends."""
        return self._transport.ask(vm_questions.run(vm, vcpu, budget))

    def pause(self, vm: int) -> VmIs:
        """Ends a run that is under way."""
        return self._transport.ask(vm_questions.pause(vm))

    def destroy(self, vm: int) -> VmIs:
        """Ends a VM: its keys are gone when this returns."""
        return self._transport.ask(vm_questions.destroy(vm))

    def console(self, vm: int, start: int = 0) -> ConsoleIs:
        """What it has printed, from byte ``start`` on, as much as one answer holds."""
        return go(self._transport, vm_questions.console(vm, start))

    def give(self, vm: int, content: bytes) -> None:
        """Bytes for the guest to read on its second serial port."""
        self._transport.ask(vm_questions.give(vm, content))

    def memory(self, vm: int, address: int, size: int, view: View = View.HYPERVISOR) -> bytes:
        """Memory through one pair of eyes: the hypervisor's by SPA, the guest's by GPA."""
        return go(self._transport, vm_questions.memory(vm, address, size, view))

    def rmp(self, vm: int, spa: int, count: int) -> tuple[RmpEntry, ...]:
        """Entries of the reverse map table."""
        return go(self._transport, vm_questions.rmp(vm, spa, count))

    def registers(self, vm: int, vcpu: int = 0) -> Vmsa:
        """A vCPU's registers: while it is launching; then where its mode or its policy lets the host see them."""
        return go(self._transport, vm_questions.registers(vm, vcpu))

    def attest(self, vm: int, report_data: bytes) -> VmEvidenceIs:
        """A report over 64 bytes, unverified, and the certificates to appraise it with."""
        return self._transport.ask(vm_questions.attest(vm, report_data))

    def write(self, vm: int, path: AttackPath, spa: int, content: bytes) -> None:
        """A hostile host's hand on a VM's memory."""
        self._transport.ask(vm_questions.write(vm, path, spa, content))

    def map(self, vm: int, gpa: int, spa: int) -> None:
        """A hostile host's hand on the nested page table."""
        self._transport.ask(vm_questions.map_page(vm, gpa, spa))

    def assign(self, vm: int, spa: int, gpa: int | None) -> None:
        """A hostile host's hand on the reverse map table: the page is the guest's at ``gpa``, or the hypervisor's."""
        self._transport.ask(vm_questions.assign(vm, spa, gpa))
