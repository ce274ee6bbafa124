"""All confidential VMs of this host: what clients ask of them. They end with the host's process, as their keys do."""

import itertools
from collections.abc import Iterable
from pathlib import Path

from casemate.host.vm.console import Console
from casemate.host.vm.cpuid import Cpuid
from casemate.host.vm.devices import Devices
from casemate.host.vm.firmware import SevFirmware
from casemate.host.vm.guest import Guest
from casemate.host.vm.guest_link import GuestLink
from casemate.host.vm.memory import Dram
from casemate.host.vm.recipe import Recipe, read_recipe
from casemate.host.vm.revocation_lists import read_revocation_list
from casemate.host.vm.vm import Shown, Vm
from casemate.link.calls import Caller
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
REQUESTS = (
    LaunchVm,
    ListVms,
    GetVm,
    EncryptVm,
    FinishVm,
    RunVm,
    PauseVm,
    DestroyVm,
    ReadConsole,
    VmMemory,
    VmRmp,
    AttestVm,
    WriteVm,
    MapVm,
    VmRegisters,
    GiveVm,
    AssignVm,
)
"""What clients ask about VMs."""

PLATFORM_COMMANDS = (PlatformStatus, SetConfig, Commit, LoadVlek)
"""What the machine's owner asks of its SEV-SNP processor, on this computer alone."""


class Vms:
    """By the host's own numbers, which rise and are never given again."""

    def __init__(self, chip_link: Caller, directory: Path) -> None:
        """DRAM files are made in ``directory``; those of an earlier host are removed with their first successor."""
        self._firmware = SevFirmware(chip_link)
        self._directory = directory
        self._vms: dict[int, Vm] = {}
        self._recipes: dict[int, Recipe] = {}
        """Of those that are being launched."""
        self._bare: set[int] = set()
        """Those of them without the pages of their firmware."""
        self._starting = 0
        """Launches that have no VM yet."""
        self._numbers = itertools.count(1)

    async def answer(self, request: object) -> object:  # noqa: C901, PLR0912 - one line a request
        """The reply to one of :data:`REQUESTS` or :data:`PLATFORM_COMMANDS`; FaultError where it is refused."""
        match request:
            case LaunchVm():
                return await self._launch(request)
            case ListVms():
                return VmsAre(tuple(vm.is_ for vm in self._vms.values()))
            case GetVm(number):
                return self.vm(number).is_
            case EncryptVm(number, gpa, content):
                return await self._encrypt(self.vm(number), gpa, content)
            case FinishVm(number):
                return await self._finish(self.vm(number))
            case RunVm(number):
                return await self.vm(number).run(request)
            case PauseVm(number):
                return await self._pause(self.vm(number))
            case DestroyVm(number):
                return await self._destroy(self.vm(number))
            case ReadConsole(number, start):
                console = self.console(number)
                return ConsoleIs(*console.read(start, MAX_CONSOLE), console.ended)
            case VmMemory(number, view, address, size):
                return MemoryIs(await read_memory(self.vm(number), view, address, size))
            case VmRmp(number, spa, count):
                return await self.vm(number).guest.link.rmp(spa, count)
            case AttestVm(number, report_data):
                return await self._attest(self.vm(number), report_data)
            case WriteVm(number, path, spa, content):
                return await write_memory(self.vm(number), path, spa, content)
            case MapVm(number, gpa, spa):
                await self.vm(number).guest.link.map(gpa, spa, 1)
                return Done()
            case GiveVm(number, content):
                self.vm(number).guest.devices.data.give(content)
                return Done()
            case AssignVm(number, spa, gpa):
                await self.vm(number).guest.link.update_rmp(
                    RmpUpdate(spa=spa, count=1, assigned=gpa is not None, gpa=gpa or 0, immutable=False)
                )
                return Done()
            case VmRegisters(number, vcpu):
                vm, recipe = self.vm(number), self._recipes.get(number)
                return MemoryIs(await read_registers(vm, vcpu) if recipe is None else recipe.registers_of(vcpu))
            case PlatformStatus() | SetConfig() | Commit() | LoadVlek():
                return await self._firmware.platform(request)
        raise refuse(Code.MALFORMED, "no request about a VM")

    def vm(self, number: int) -> Vm:
        """One of them; FaultError of code ``unknown-vm``."""
        try:
            return self._vms[number]
        except KeyError:
            raise refuse(Code.UNKNOWN_VM, f"there is no VM {number} here") from None

    def console(self, number: int) -> Console:
        """What a VM prints, to follow it; FaultError of code ``unknown-vm``."""
        return self.vm(number).guest.devices.console

    def on_news(self, news: VmProcessIs) -> None:
        """The chip's word that a VM's process has ended unasked."""
        for vm in self._vms.values():
            if vm.number == news.vm and vm.shown.state is not VmState.LOST:
                vm.lose(news.reason)

    def chip_died(self) -> None:
        """Every VM is lost with its chip, as with power."""
        for vm in self._vms.values():
            vm.lose("the chip died")

    async def _launch(self, wanted: LaunchVm) -> VmIs:
        if wanted.finish and wanted.firmware_later:
            raise refuse(Code.MALFORMED, "a launch cannot be finished while its firmware is left for later")
        if len(self._vms) + self._starting >= MAX_VMS:
            raise refuse(Code.BUSY, f"{MAX_VMS} VMs are there already, destroy one")
        recipe = read_recipe(wanted)
        number = next(self._numbers)
        self._starting += 1
        try:
            vm = await self._start(number, wanted, recipe)
            self._vms[number] = vm
        finally:
            self._starting -= 1
        try:
            await vm.launch.map()
            if wanted.firmware_later:
                self._bare.add(number)
            else:
                await self._add(vm, recipe.before_registers())
            if wanted.finish:
                await self._finish(vm)
        except BaseException:
            await self._destroy(vm)
            raise
        return vm.is_

    async def _start(self, number: int, wanted: LaunchVm, recipe: Recipe) -> Vm:
        """LAUNCH_START; what fails on the way is removed."""
        self._make_room(number)
        dram = Dram(self._directory / f"{number}.dram", recipe.memory.pages)
        try:
            start = LaunchStart(mode=wanted.mode, policy=wanted.policy, pages=recipe.memory.pages, top=FOUR_GIB)
            of_chip, end = await self._firmware.launch_start(start, dram.descriptor)
        except BaseException:
            dram.close()
            raise
        cpuid = Cpuid(wanted.mode, wanted.vcpu_signature)
        guest = Guest(wanted.mode, recipe.memory, dram, GuestLink(end), Devices(), cpuid)
        shown = Shown(number, wanted.name, wanted.policy, bytes(DIGEST_SIZE))
        self._recipes[number] = recipe
        return Vm(shown, of_chip, guest, self._firmware)

    async def _add(self, vm: Vm, pages: Iterable[PlannedPage]) -> None:
        digest = await vm.launch.add(pages)
        vm.shown.digest = digest or vm.shown.digest

    async def _add_firmware(self, vm: Vm) -> None:
        if vm.shown.vm in self._bare:
            self._bare.discard(vm.shown.vm)
            await self._add(vm, self._recipes[vm.shown.vm].before_registers())

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
            recipe = self._recipes[vm.shown.vm]
            await self._add_firmware(vm)
            await self._add(vm, recipe.registers())
            await vm.launch.give_the_rest()
            vm.shown.digest = await self._firmware.launch_finish(recipe.finish(vm.number))
            self._recipes.pop(vm.shown.vm, None)  # destroyed meanwhile, it has none
            vm.become(VmState.LAUNCHED, "LAUNCH_FINISH is done, and nothing has run yet")
            return vm.is_

    async def _pause(self, vm: Vm) -> VmIs:
        vm.check(VmState.RUNNING)
        vm.pause()
        await vm.guest.link.pause()
        return vm.is_

    async def _destroy(self, vm: Vm) -> VmIs:
        self._vms.pop(vm.shown.vm, None)
        self._recipes.pop(vm.shown.vm, None)
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
    """Refuses a change of a launch that is over, whatever its vCPUs have done since."""
    if vm.shown.state not in (VmState.LAUNCHING, VmState.LOST):
        raise refuse(
            Code.WRONG_STATE,
            f"LAUNCH_FINISH is done for VM {vm.shown.vm}: its launch digest says for good what is in it, "
            "and nothing can be added any more",
        )


async def read_memory(vm: Vm, view: View, address: int, size: int) -> bytes:
    """As the hypervisor sees it, or where policy allows it as the guest does; FaultError."""
    if not 1 <= size <= MAX_COPY:
        raise refuse(Code.MALFORMED, f"{size} bytes: 1 to {MAX_COPY} at a time")
    if view is View.GUEST:
        return await vm.guest.link.debug_load(address, size)
    return await vm.guest.link.load(address, size)


async def write_memory(vm: Vm, path: AttackPath, spa: int, content: bytes) -> Done:
    """By the host's CPU, or by an interposer; FaultError, of code ``rmp-fault`` where the CPU's store faults."""
    if path is AttackPath.DRAM:
        vm.guest.dram.write(spa, content)
    else:
        await vm.guest.link.store(spa, content)
    return Done()


async def read_registers(vm: Vm, vcpu: int) -> bytes:
    """A VMSA in the clear; FaultError where that is not for the host to see."""
    if vcpu >= vm.guest.plan.vcpus:
        raise refuse(Code.MALFORMED, f"VM {vm.shown.vm} has {vm.guest.plan.vcpus} vCPUs, from 0 on")
    return await vm.guest.link.debug_registers(vm.guest.plan.vmsa(vcpu))
