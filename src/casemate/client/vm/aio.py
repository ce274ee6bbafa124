"""Confidential VMs for asyncio: as :mod:`casemate.client.vm.sync`, where everything is said; with ``await``."""

from casemate.client.asking import AsyncTransport, go_on
from casemate.client.vm import questions as vm_questions
from casemate.client.vm.questions import USUAL, Budget
from casemate.wire.messages.vm.host import AttackPath, ConsoleIs, LaunchVm, View, VmEvidenceIs, VmIs, VmRan
from casemate.wire.messages.vm.hypervisor import RmpEntry
from casemate.wire.snp.vmsa import Vmsa


class Vms:
    """All VMs of one host; :attr:`casemate.client.aio.Client.vms` makes it."""

    def __init__(self, transport: AsyncTransport) -> None:
        self._transport = transport

    async def launch(self, wanted: LaunchVm) -> VmIs:
        """A new VM."""
        return await self._transport.ask(vm_questions.launch(wanted))

    async def all(self) -> tuple[VmIs, ...]:
        """Those that there are."""
        return await go_on(self._transport, vm_questions.everything())

    async def get(self, vm: int) -> VmIs:
        """One of them."""
        return await self._transport.ask(vm_questions.get(vm))

    async def encrypt(self, vm: int, gpa: int, content: bytes) -> VmIs:
        """Adds pages to a launch that is not finished."""
        return await self._transport.ask(vm_questions.encrypt(vm, gpa, content))

    async def finish(self, vm: int) -> VmIs:
        """Ends a launch."""
        return await self._transport.ask(vm_questions.finish(vm))

    async def run(self, vm: int, vcpu: int = 0, budget: Budget = USUAL) -> VmRan:
        """Lets a vCPU run. Where this is cancelled, a gateway pauses it; a host's socket lets it use up its budget."""
        return await self._transport.ask(vm_questions.run(vm, vcpu, budget))

    async def pause(self, vm: int) -> VmIs:
        """Ends a run that is under way."""
        return await self._transport.ask(vm_questions.pause(vm))

    async def destroy(self, vm: int) -> VmIs:
        """Ends a VM."""
        return await self._transport.ask(vm_questions.destroy(vm))

    async def console(self, vm: int, start: int = 0) -> ConsoleIs:
        """What it has printed."""
        return await go_on(self._transport, vm_questions.console(vm, start))

    async def memory(self, vm: int, address: int, size: int, view: View = View.HYPERVISOR) -> bytes:
        """Memory through one pair of eyes."""
        return await go_on(self._transport, vm_questions.memory(vm, address, size, view))

    async def rmp(self, vm: int, spa: int, count: int) -> tuple[RmpEntry, ...]:
        """Entries of the reverse map table."""
        return await go_on(self._transport, vm_questions.rmp(vm, spa, count))

    async def registers(self, vm: int, vcpu: int = 0) -> Vmsa:
        """A vCPU's registers."""
        return await go_on(self._transport, vm_questions.registers(vm, vcpu))

    async def attest(self, vm: int, report_data: bytes) -> VmEvidenceIs:
        """A report, unverified."""
        return await self._transport.ask(vm_questions.attest(vm, report_data))

    async def write(self, vm: int, path: AttackPath, spa: int, content: bytes) -> None:
        """A hostile host's hand on a VM's memory."""
        await self._transport.ask(vm_questions.write(vm, path, spa, content))

    async def map(self, vm: int, gpa: int, spa: int) -> None:
        """A hostile host's hand on the nested page table."""
        await self._transport.ask(vm_questions.map_page(vm, gpa, spa))

    async def give(self, vm: int, content: bytes) -> None:
        """Bytes for the guest to read on its second serial port."""
        await self._transport.ask(vm_questions.give(vm, content))

    async def assign(self, vm: int, spa: int, gpa: int | None) -> None:
        """A hostile host's hand on the reverse map table."""
        await self._transport.ask(vm_questions.assign(vm, spa, gpa))
