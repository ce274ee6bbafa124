"""All confidential VMs of this host, and what clients ask of them.

They end with the host's process, as their keys do.
"""

import itertools
from collections.abc import Iterable
from pathlib import Path
from typing import TypeVar

from casemate.host.handlers import Handlers
from casemate.host.vm.console import Console
from casemate.host.vm.cpuid import Cpuid
from casemate.host.vm.devices import Devices
from casemate.host.vm.firmware import SevFirmware
from casemate.host.vm.guest import Guest
from casemate.host.vm.guest_link import GuestLink
from casemate.host.vm.launch_plan import LaunchPlan, plan_launch
from casemate.host.vm.memory import Dram
from casemate.host.vm.revocation_lists import read_revocation_list
from casemate.host.vm.vm import Shown, Vm
from casemate.link.calls import Caller
from casemate.wire.messages.request import Request
from casemate.wire.messages.snp_firmware import (
    Commit,
    LaunchStart,
    LoadVlek,
    PlatformStatus,
    SetConfig,
    VmProcessIs,
)
from casemate.wire.messages.vm.host import (
    MAX_CONSOLE,
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
    VmRegisters,
    VmRmp,
    VmsAre,
    VmState,
    WriteVm,
)
from casemate.wire.messages.vm.hypervisor import MAX_COPY, Done, MemoryIs, RmpUpdate
from casemate.wire.protocol.faults import Code, FaultError, refuse
from casemate.wire.snp.launch import Part, PlannedPage
from casemate.wire.snp.ovmf import FOUR_GIB
from casemate.wire.snp.page_info import DIGEST_SIZE, PAGE_SIZE, LaunchPage, PageType

MAX_VMS = 16

A = TypeVar("A")


class VmTable:
    """All VMs of this host, keyed by host-assigned numbers that are never reused."""

    def __init__(self, chip_link: Caller, directory: Path) -> None:
        """Makes DRAM files in ``directory``; the first launch removes those that an earlier host left."""
        self._firmware = SevFirmware(chip_link)
        self._directory = directory
        self._vms: dict[int, Vm] = {}
        self._plans: dict[int, LaunchPlan] = {}
        """The plans of VMs that are being launched."""
        self._bare: set[int] = set()
        """VMs that are being launched whose firmware pages are not added yet."""
        self._starting = 0
        """Launches that are waiting for the chip and have no VM yet."""
        self._numbers = itertools.count(1)
        self.handlers = self._all_handlers()

    async def answer(self, request: Request[A]) -> A:
        """The answer to a request about VMs or their processor; FaultError where it is refused."""
        return await self.handlers.answer(request)

    def _all_handlers(self) -> Handlers:
        handlers = Handlers()
        handlers.add(LaunchVm, self._launch)
        handlers.add(ListVms, self._list)
        handlers.add(GetVm, self._get)
        handlers.add(EncryptVm, lambda asked: self._encrypt(self.vm(asked.vm), asked.gpa, asked.content))
        handlers.add(FinishVm, lambda asked: self._finish(self.vm(asked.vm)))
        handlers.add(RunVm, lambda asked: self.vm(asked.vm).run(asked))
        handlers.add(PauseVm, lambda asked: self._pause(self.vm(asked.vm)))
        handlers.add(DestroyVm, lambda asked: self._destroy(self.vm(asked.vm)))
        handlers.add(ReadConsole, self._read_console)
        handlers.add(VmMemory, lambda asked: read_memory(self.vm(asked.vm), asked))
        handlers.add(VmRmp, lambda asked: self.vm(asked.vm).guest.link.rmp(asked.spa, asked.count))
        handlers.add(VmRegisters, self._read_registers)
        handlers.add(AttestVm, lambda asked: self._attest(self.vm(asked.vm), asked.report_data))
        handlers.add(WriteVm, lambda asked: write_memory(self.vm(asked.vm), asked))
        handlers.add(MapVm, self._map)
        handlers.add(AssignVm, self._assign)
        handlers.add(GiveVm, self._give)
        handlers.add(PlatformStatus, self._firmware.platform)
        handlers.add(SetConfig, self._firmware.platform)
        handlers.add(Commit, self._firmware.platform)
        handlers.add(LoadVlek, self._firmware.platform)
        return handlers

    def vm(self, number: int) -> Vm:
        """The VM with that number; FaultError of code ``unknown-vm``."""
        try:
            return self._vms[number]
        except KeyError:
            raise refuse(Code.UNKNOWN_VM, f"there is no VM {number} here") from None

    def console(self, number: int) -> Console:
        """The console of a VM; FaultError of code ``unknown-vm``."""
        return self.vm(number).guest.devices.console

    def on_news(self, news: VmProcessIs) -> None:
        """Handles the chip's message that a VM's process has ended by itself."""
        for vm in self._vms.values():
            if vm.number == news.vm and vm.shown.state is not VmState.LOST:
                vm.lose(news.reason)

    def chip_died(self) -> None:
        """Marks every VM as lost, as in a power cut."""
        for vm in self._vms.values():
            vm.lose("the chip died")

    async def _list(self, _asked: ListVms) -> VmsAre:
        return VmsAre(tuple(vm.is_ for vm in self._vms.values()))

    async def _get(self, asked: GetVm) -> VmIs:
        return self.vm(asked.vm).is_

    async def _read_console(self, asked: ReadConsole) -> ConsoleIs:
        console = self.console(asked.vm)
        return ConsoleIs(*console.read(asked.start, MAX_CONSOLE), console.ended)

    async def _read_registers(self, asked: VmRegisters) -> MemoryIs:
        vm, planned = self.vm(asked.vm), self._plans.get(asked.vm)
        return MemoryIs(await read_registers(vm, asked.vcpu) if planned is None else planned.registers_of(asked.vcpu))

    async def _map(self, asked: MapVm) -> Done:
        await self.vm(asked.vm).guest.link.map(asked.gpa, asked.spa, 1)
        return Done()

    async def _assign(self, asked: AssignVm) -> Done:
        assigned = asked.gpa is not None
        update = RmpUpdate(spa=asked.spa, count=1, assigned=assigned, gpa=asked.gpa or 0, immutable=False)
        await self.vm(asked.vm).guest.link.update_rmp(update)
        return Done()

    async def _give(self, asked: GiveVm) -> Done:
        self.vm(asked.vm).guest.devices.data.give(asked.content)
        return Done()

    async def _launch(self, wanted: LaunchVm) -> VmIs:
        if wanted.finish and wanted.firmware_later:
            raise refuse(Code.MALFORMED, "a launch cannot be finished while its firmware is left for later")
        if len(self._vms) + self._starting >= MAX_VMS:
            raise refuse(Code.BUSY, f"{MAX_VMS} VMs are there already, destroy one")
        planned = plan_launch(wanted)
        number = next(self._numbers)
        self._starting += 1
        try:
            vm = await self._start(number, wanted, planned)
            self._vms[number] = vm
        finally:
            self._starting -= 1
        try:
            await vm.launch.map()
            if wanted.firmware_later:
                self._bare.add(number)
            else:
                await self._add(vm, planned.before_registers())
            if wanted.finish:
                await self._finish(vm)
        except BaseException:
            await self._destroy(vm)
            raise
        return vm.is_

    async def _start(self, number: int, wanted: LaunchVm, planned: LaunchPlan) -> Vm:
        """LAUNCH_START; removes the VM again where a step fails."""
        self._make_room(number)
        dram = Dram(self._directory / f"{number}.dram", planned.memory.pages)
        try:
            start = LaunchStart(mode=wanted.mode, policy=wanted.policy, pages=planned.memory.pages, top=FOUR_GIB)
            of_chip, end = await self._firmware.launch_start(start, dram.descriptor)
        except BaseException:
            dram.close()
            raise
        cpuid = Cpuid(wanted.mode, wanted.vcpu_signature)
        guest = Guest(wanted.mode, planned.memory, dram, GuestLink(end), Devices(), cpuid)
        shown = Shown(number, wanted.name, wanted.policy, bytes(DIGEST_SIZE))
        self._plans[number] = planned
        return Vm(shown, of_chip, guest, self._firmware)

    async def _add(self, vm: Vm, pages: Iterable[PlannedPage]) -> None:
        digest = await vm.launch.add(pages)
        vm.shown.digest = digest or vm.shown.digest

    async def _add_firmware(self, vm: Vm) -> None:
        if vm.shown.vm in self._bare:
            self._bare.discard(vm.shown.vm)
            await self._add(vm, self._plans[vm.shown.vm].before_registers())

    async def _encrypt(self, vm: Vm, gpa: int, content: bytes) -> VmIs:
        _check_open(vm)
        async with vm.turn(VmState.LAUNCHING):
            if gpa % PAGE_SIZE or not (content or vm.shown.vm in self._bare):
                raise refuse(
                    Code.MALFORMED, f"{len(content)} bytes at GPA {gpa:#x}: whole pages begin at a multiple of 4096"
                )
            if content:
                vm.guest.plan.check(gpa, len(content))
            await self._add_firmware(vm)
            cuts = range(0, len(content), PAGE_SIZE)
            pages = [content[at : at + PAGE_SIZE].ljust(PAGE_SIZE, b"\0") for at in cuts]
            await self._add(
                vm,
                (
                    PlannedPage(Part.FIRMWARE, LaunchPage(PageType.NORMAL, gpa + at, page))
                    for at, page in zip(cuts, pages, strict=True)
                ),
            )
            return vm.is_

    async def _finish(self, vm: Vm) -> VmIs:
        _check_open(vm)
        async with vm.turn(VmState.LAUNCHING):
            planned = self._plans[vm.shown.vm]
            await self._add_firmware(vm)
            await self._add(vm, planned.registers())
            await vm.launch.give_the_rest()
            vm.shown.digest = await self._firmware.launch_finish(planned.finish(vm.number))
            self._plans.pop(vm.shown.vm, None)  # destroyed meanwhile, it has none
            vm.become(VmState.LAUNCHED, "LAUNCH_FINISH is done, and nothing has run yet")
            return vm.is_

    async def _pause(self, vm: Vm) -> VmIs:
        vm.check(VmState.RUNNING)
        vm.pause()
        await vm.guest.link.pause()
        return vm.is_

    async def _destroy(self, vm: Vm) -> VmIs:
        self._vms.pop(vm.shown.vm, None)
        self._plans.pop(vm.shown.vm, None)
        self._bare.discard(vm.shown.vm)
        try:
            await self._firmware.destroy(vm.number)
        except FaultError as error:
            if error.fault.code not in (Code.LOST, Code.UNKNOWN_VM):
                raise
        finally:
            await vm.close()
        vm.become(VmState.LOST, "destroyed")
        return vm.is_

    async def _attest(self, vm: Vm, report_data: bytes) -> VmEvidenceIs:
        if vm.shown.state is VmState.LAUNCHING:
            await self._finish(vm)
        certificates = await self._firmware.certificates()
        product = (await self._firmware.platform(PlatformStatus())).product
        report = await vm.attest(report_data)
        return VmEvidenceIs(report, certificates, read_revocation_list(self._directory.parent, product))

    def _make_room(self, number: int) -> None:
        self._directory.mkdir(mode=0o700, exist_ok=True)
        if number == 1:
            for left in self._directory.glob("*.dram"):
                left.unlink(missing_ok=True)


def _check_open(vm: Vm) -> None:
    """Refuses a change of a launch that is over."""
    if vm.shown.state not in (VmState.LAUNCHING, VmState.LOST):
        raise refuse(
            Code.WRONG_STATE,
            f"LAUNCH_FINISH is done for VM {vm.shown.vm}: its launch digest says for good what is in it, "
            "and nothing can be added any more",
        )


async def read_memory(vm: Vm, asked: VmMemory) -> MemoryIs:
    """A VM's memory as the hypervisor sees it, or the plaintext where the guest's policy allows debugging.

    Else FaultError.
    """
    if not 1 <= asked.size <= MAX_COPY:
        raise refuse(Code.MALFORMED, f"{asked.size} bytes: 1 to {MAX_COPY} at a time")
    link = vm.guest.link
    load = link.debug_load if asked.view is View.GUEST else link.load
    return MemoryIs(await load(asked.address, asked.size))


async def write_memory(vm: Vm, asked: WriteVm) -> Done:
    """Writes by the host's CPU or on the memory bus; FaultError ``rmp-fault`` where the CPU's store faults."""
    if asked.path is AttackPath.DRAM:
        vm.guest.dram.write(asked.spa, asked.content)
    else:
        await vm.guest.link.store(asked.spa, asked.content)
    return Done()


async def read_registers(vm: Vm, vcpu: int) -> bytes:
    """The registers in a VMSA; FaultError where the host may not see them."""
    if vcpu >= vm.guest.plan.vcpus:
        raise refuse(Code.MALFORMED, f"VM {vm.shown.vm} has {vm.guest.plan.vcpus} vCPUs, from 0 on")
    return await vm.guest.link.debug_registers(vm.guest.plan.vmsa(vcpu))
