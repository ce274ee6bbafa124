"""A hypervisor that remembers what it was asked: VMs that are numbers and consoles."""

import asyncio
import hashlib
from collections.abc import Callable, Coroutine
from dataclasses import dataclass, field, replace
from typing import TypeVar, cast

from casemate.host.vm.console import Console
from casemate.host.vm.vm_table import MAX_VMS
from casemate.wire.messages.request import Request
from casemate.wire.messages.vm.host import (
    AttackPath,
    AttestVm,
    ConsoleIs,
    DestroyVm,
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
    VmState,
    WriteVm,
)
from casemate.wire.messages.vm.hypervisor import Done, ExitReason, MemoryIs, RmpEntry, RmpIs
from casemate.wire.protocol.faults import Code, refuse
from casemate.wire.snp.mode import VmMode
from casemate.wire.snp.report import GuestPolicy
from casemate.wire.snp.vmm import Vmm
from casemate.wire.snp.vmsa import BSP_EIP, reset_state

A = TypeVar("A")

FIRMWARE = b"firmware" * 512
REPORT = bytes([2]) + bytes(1183)
CHAIN = b"-----BEGIN CERTIFICATE-----\n"
LAUNCH = LaunchVm(
    name="mine",
    mode=VmMode.SEV_SNP,
    firmware=FIRMWARE,
    memory_mib=16,
    vcpus=1,
    vcpu_signature=0xA00F11,
    vmm=Vmm.QEMU,
    guest_features=1,
    policy=0x30000,
    host_data=bytes(32),
)


@dataclass
class FakeVms:
    """Its digests are hashes of what went in, one after another; ``trouble`` is raised by whatever needs a process."""

    there: dict[int, VmIs] = field(default_factory=dict)
    consoles: dict[int, Console] = field(default_factory=dict)
    asked: list[object] = field(default_factory=list)
    launches: int = 0
    trouble: Exception | None = None
    report: bytes = REPORT
    revocation_list: bytes | None = None
    running: Callable[[], Coroutine[None, None, object]] = lambda: asyncio.sleep(0)
    """What a run takes; a pause ends it."""
    paused: asyncio.Event = field(default_factory=asyncio.Event)

    def console(self, number: int) -> Console:
        self._vm(number)
        return self.consoles[number]

    def state(self, number: int) -> VmState:
        return self._vm(number).state

    async def answer(self, request: Request[A]) -> A:
        return cast("A", await self._said(request))

    async def _said(self, request: object) -> object:  # noqa: C901, PLR0912 - one line a request
        self.asked.append(request)
        match request:
            case ListVms():
                return VmsAre(tuple(self.there.values()))
            case LaunchVm():
                return self._launch(request)
            case GetVm(number):
                return self._vm(number)
            case PauseVm(number):
                return self._pause(number)
            case ReadConsole(number, start):
                console = self.console(number)
                return ConsoleIs(*console.read(start, 64 * 1024), console.ended)
            case DestroyVm(number):
                self.consoles[self._vm(number).vm].close()
                return replace(self.there.pop(number), state=VmState.LOST, reason="destroyed")
        vm = self._vm(request.vm)  # type: ignore[attr-defined] # every other request has one
        if self.trouble is not None:
            raise self.trouble
        match request:
            case EncryptVm(_, _, content):
                return self._grown(vm, content)
            case FinishVm():
                return self._finished(vm)
            case RunVm():
                return await self._run(vm)
            case AttestVm():
                self._finished(vm) if vm.state is VmState.LAUNCHING else None
                return VmEvidenceIs(self.report, CHAIN, self.revocation_list)
            case VmMemory(_, View.GUEST) if not vm.policy & GuestPolicy.DEBUG:
                raise refuse(Code.WRONG_STATE, "the guest's policy does not allow debugging")
            case VmMemory(_, _, _, size):
                return MemoryIs(b"\xa5" * size)
            case VmRmp(_, spa, count):
                entry = RmpEntry(0, True, 0, True, False, False, (15, 0, 0, 0))
                return RmpIs(tuple(replace(entry, spa=spa + at * 4096) for at in range(count)))
            case VmRegisters():
                return MemoryIs(reset_state(BSP_EIP, Vmm.QEMU, 0xA00F11, 1).encode())
            case WriteVm(_, AttackPath.HYPERVISOR):
                raise refuse(Code.RMP_FAULT, "that page is the guest's")
            case WriteVm() | MapVm():
                return Done()
        raise AssertionError(request)

    def _vm(self, number: int) -> VmIs:
        try:
            return self.there[number]
        except KeyError:
            raise refuse(Code.UNKNOWN_VM, f"there is no VM {number} here") from None

    def _launch(self, wanted: LaunchVm) -> VmIs:
        if self.trouble is not None:
            raise self.trouble
        if len(self.there) >= MAX_VMS:
            raise refuse(Code.BUSY, f"{MAX_VMS} VMs are there already, destroy one")
        self.launches += 1
        self.consoles[self.launches] = Console()
        self.there[self.launches] = made = VmIs(
            vm=self.launches,
            name=wanted.name,
            mode=wanted.mode,
            state=VmState.LAUNCHED if wanted.finish else VmState.LAUNCHING,
            reason="",
            policy=wanted.policy,
            memory_mib=wanted.memory_mib,
            vcpus=wanted.vcpus,
            digest=bytes(48) if wanted.firmware_later else hashlib.sha384(wanted.firmware).digest(),
        )
        return made

    def _grown(self, vm: VmIs, content: bytes) -> VmIs:
        if vm.state is not VmState.LAUNCHING:
            raise refuse(Code.WRONG_STATE, "LAUNCH_FINISH is done, and nothing can be added any more")
        return self._become(replace(vm, digest=hashlib.sha384(vm.digest + content).digest()))

    def _finished(self, vm: VmIs) -> VmIs:
        return self._become(replace(self._grown(vm, b"registers"), state=VmState.LAUNCHED))

    async def _run(self, vm: VmIs) -> VmRan:
        if vm.state is VmState.RUNNING:
            raise refuse(Code.BUSY, "it is running")
        self._become(replace(vm, state=VmState.RUNNING))
        self.paused.clear()
        waiting = [asyncio.ensure_future(self.running()), asyncio.ensure_future(self.paused.wait())]
        await asyncio.wait(waiting, return_when=asyncio.FIRST_COMPLETED)
        for each in waiting:
            each.cancel()
        reason = ExitReason.PAUSED if self.paused.is_set() else ExitReason.HALT
        return VmRan(self._become(replace(vm, state=VmState.LAUNCHED)), reason, 7, 3, "")

    def _pause(self, number: int) -> VmIs:
        if self._vm(number).state is not VmState.RUNNING:
            raise refuse(Code.WRONG_STATE, f"VM {number} is not running")
        self.paused.set()
        return self._vm(number)

    def _become(self, vm: VmIs) -> VmIs:
        self.there[vm.vm] = vm
        return vm
