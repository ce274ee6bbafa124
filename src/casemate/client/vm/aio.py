"""Confidential VMs on a host, for asyncio: launched, run, looked at and attested. All but a report is the host's word.

``casemate.client.vm.sync`` is made from this file by ``make fix``.
"""

from casemate.client.transport import AsyncTransport
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
    """All VMs of one host. Errors are those of :class:`~casemate.client.aio.Client`, which makes this."""

    def __init__(self, transport: AsyncTransport) -> None:
        self._transport = transport

    async def launch(self, wanted: LaunchVm) -> VmIs:
        """Launches a VM."""
        return await self._transport.answer(wanted)

    async def all(self) -> tuple[VmIs, ...]:
        """All VMs."""
        return (await self._transport.answer(ListVms())).vms

    async def get(self, vm: int) -> VmIs:
        """One VM."""
        return await self._transport.answer(GetVm(vm))

    async def encrypt(self, vm: int, gpa: int, content: bytes) -> VmIs:
        """Adds pages to a launch that is not finished."""
        return await self._transport.answer(EncryptVm(vm, gpa, content))

    async def finish(self, vm: int) -> VmIs:
        """Ends a launch."""
        return await self._transport.answer(FinishVm(vm))

    async def run(self, vm: int, vcpu: int = 0, budget: Budget = USUAL) -> VmRan:
        """Lets a vCPU run until it halts, cannot go on, or its budget ends.

        Where the caller gives up before, a gateway pauses the vCPU; a host's socket lets it use up its budget.
        """
        request = RunVm(vm, vcpu, budget.instructions, int(budget.time * 1000), budget.console)
        return await self._transport.answer(request, ASK_TIMEOUT + budget.time)

    async def pause(self, vm: int) -> VmIs:
        """Ends a run that is under way."""
        return await self._transport.answer(PauseVm(vm))

    async def destroy(self, vm: int) -> VmIs:
        """Ends a VM: its keys are gone when this returns."""
        return await self._transport.answer(DestroyVm(vm))

    async def console(self, vm: int, start: int = 0) -> ConsoleIs:
        """The guest's console output from byte ``start`` on, as much as fits into one answer."""
        found = await self._transport.answer(ReadConsole(vm, start))
        if found.start < start:  # a caller that goes on from there would never come to the end
            raise WireError("console.start", got=found.start, want=f"at least {start}")
        return found

    async def give(self, vm: int, content: bytes) -> None:
        """Gives the guest bytes to read on its second serial port."""
        await self._transport.answer(GiveVm(vm, content))

    async def memory(self, vm: int, address: int, size: int, view: View = View.HYPERVISOR) -> bytes:
        """Memory, however long: as the hypervisor sees it by SPA, or as the guest does by GPA."""
        found = b""
        while len(found) < size:
            piece = min(MAX_COPY, size - len(found))
            said = await self._transport.answer(VmMemory(vm, view, address + len(found), piece))
            if len(said.content) != piece:
                raise WireError("memory", got=f"{len(said.content)} bytes", want=piece)
            found += said.content
        return found

    async def rmp(self, vm: int, spa: int, count: int) -> tuple[RmpEntry, ...]:
        """Entries of the reverse map table, of ``count`` pages from ``spa`` on."""
        found = await self._transport.answer(VmRmp(vm, spa, count))
        if len(found.entries) != count:
            raise WireError("rmp", got=f"{len(found.entries)} entries", want=count)
        return found.entries

    async def registers(self, vm: int, vcpu: int = 0) -> Vmsa:
        """A vCPU's registers: while it is launching; then where its mode or its policy lets the host see them."""
        return Vmsa.parse((await self._transport.answer(VmRegisters(vm, vcpu))).content)

    async def attest(self, vm: int, report_data: bytes) -> VmEvidenceIs:
        """A report over 64 bytes, unverified, and the certificates to appraise it with."""
        return await self._transport.answer(AttestVm(vm, report_data))

    async def write(self, vm: int, path: AttackPath, spa: int, content: bytes) -> None:
        """Writes to a VM's memory, as a hostile host does."""
        await self._transport.answer(WriteVm(vm, path, spa, content))

    async def map(self, vm: int, gpa: int, spa: int) -> None:
        """Points a guest's page at another page of DRAM in the nested page table, as a hostile host does."""
        await self._transport.answer(MapVm(vm, gpa, spa))

    async def assign(self, vm: int, spa: int, gpa: int | None) -> None:
        """Changes the reverse map table, as a hostile host does: the page is the guest's at ``gpa``, or the host's."""
        await self._transport.answer(AssignVm(vm, spa, gpa))
