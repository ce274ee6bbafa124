"""One VM of this host: its state, its console, and the runs of its vCPUs."""

import asyncio
import time
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, replace
from typing import Any

from casemate.host.vm.cpuid import Cpuid
from casemate.host.vm.devices import Devices
from casemate.host.vm.firmware import SevFirmware
from casemate.host.vm.ghcb_exits import GhcbExits
from casemate.host.vm.guest import Guest
from casemate.host.vm.launch import Launch
from casemate.wire.encodings.fields import MAX_U32
from casemate.wire.encodings.pem import parse_chain
from casemate.wire.errors import WireError
from casemate.wire.messages.vm.host import RunVm, VmIs, VmRan, VmState
from casemate.wire.messages.vm.hypervisor import UNLIMITED, ExitReason, VcpuExit, Vmrun
from casemate.wire.protocol.faults import Code, FaultError, refuse
from casemate.wire.snp.certificate_table import (
    ARK_GUID,
    ASK_GUID,
    VCEK_GUID,
    VLEK_GUID,
    Certificate,
    CertificateTable,
)
from casemate.wire.snp.page_info import PAGE_SIZE
from casemate.wire.snp.port_access import PortAccess
from casemate.wire.snp.report import REPORT_SIZE
from casemate.wire.snp.simulated_platform import VLEK_NAME
from casemate.wire.snp.vmsa import Vmsa

_LOW = MAX_U32
"""CPUID takes and gives the low 32 bits of registers."""

ATTEST_TIME_MS = 20_000
"""How long a guest may take to hand out the next bytes of its report (milliseconds)."""

MOST_ATTEST_TIMES = 5
"""How often a guest gets that time, if it hands out something each time: exits take long on a busy computer."""

_ENDS = {
    ExitReason.SHUTDOWN: "a triple fault",
    ExitReason.INVALID: "VMRUN refused its registers",
    ExitReason.INTEGRITY: "a page is not what it last wrote",
    ExitReason.NESTED_FAULT: "a nested page fault that this hypervisor cannot mend",
}
_BUDGETS = (ExitReason.INSTRUCTIONS, ExitReason.TIME, ExitReason.PAUSED)


@dataclass(slots=True)
class Shown:
    """The description of a VM that every client may see."""

    vm: int
    name: str
    policy: int
    digest: bytes
    state: VmState = VmState.LAUNCHING
    reason: str = "between LAUNCH_START and LAUNCH_FINISH; its registers are not measured yet"


class Vm:
    """One VM. Only one client at a time may run it or change its launch."""

    def __init__(self, shown: Shown, number: int, guest: Guest, firmware: SevFirmware) -> None:
        """A VM in state ``launching``.

        Args:
            shown: under the host's own number.
            number: the firmware's.
            guest: its memory and devices.
            firmware: for the launch, and for guest requests.
        """
        self.shown = shown
        self.number = number
        self.guest = guest
        self._firmware = firmware
        self._turn = asyncio.Lock()
        self._exits = GhcbExits(guest, self._ask_firmware, lambda: certificate_table(firmware))
        self.launch = Launch(number, guest, firmware)
        self._pausing = False
        self._ghcbs: dict[int, int] = {}
        """Answers in the GHCB MSR that no vCPU has seen yet, by VMSA: a run may be paused between exit and answer."""

    @property
    def is_(self) -> VmIs:
        """The VM as a message for clients."""
        shown = self.shown
        return VmIs(
            vm=shown.vm,
            name=shown.name,
            mode=self.guest.mode,
            state=shown.state,
            reason=shown.reason[:1000],
            policy=shown.policy,
            memory_mib=self.guest.plan.ram >> 20,
            vcpus=self.guest.plan.vcpus,
            digest=shown.digest,
        )

    @asynccontextmanager
    async def turn(self, *states: VmState) -> AsyncIterator[None]:
        """Alone, and in one of these states; else a FaultError of code ``busy`` or ``wrong-state``."""
        if self._turn.locked():
            raise refuse(Code.BUSY, f"VM {self.shown.vm} is running: pause it, or wait")
        async with self._turn:
            self.check(*states)
            yield

    def check(self, *states: VmState) -> None:
        """Raises a FaultError of code ``wrong-state`` where the VM is in none of these states."""
        if self.shown.state not in states:
            raise refuse(Code.WRONG_STATE, f"VM {self.shown.vm} is {self.shown.state}: {self.shown.reason}")

    def become(self, state: VmState, reason: str) -> None:
        """Changes the state."""
        self.shown.state, self.shown.reason = state, reason

    def pause(self) -> None:
        """Ends the run that is under way after its present exit."""
        self._pausing = True

    async def run(self, wanted: RunVm) -> VmRan:
        """Runs one vCPU and serves its exits, until it halts, cannot go on, or a budget ends.

        Raises:
            FaultError: the VM is not launched, runs already, has no such vCPU, or its process is gone.
        """
        if wanted.vcpu >= self.guest.plan.vcpus:
            raise refuse(Code.MALFORMED, f"VM {self.shown.vm} has {self.guest.plan.vcpus} vCPUs, from 0 on")
        async with self.turn(VmState.LAUNCHED, VmState.HALTED):
            return await self._run(wanted, lambda: False)

    async def attest(self, report_data: bytes) -> bytes:
        """Gives the guest 64 bytes over COM2, and takes the report that it returns.

        Raises:
            FaultError: the guest does not do so in time, or as :meth:`run`.
        """
        async with self.turn(VmState.LAUNCHED, VmState.HALTED):
            devices = self.guest.devices
            devices.handed.clear()
            devices.data.empty()
            devices.data.give(report_data)
            wanted = RunVm(self.shown.vm, 0, UNLIMITED, ATTEST_TIME_MS, 1 << 16)
            ran = await self._run(wanted, lambda: len(devices.handed) >= REPORT_SIZE)
            for _ in range(MOST_ATTEST_TIMES - 1):
                before = len(devices.handed)
                if ran.reason is not ExitReason.TIME or before >= REPORT_SIZE:
                    break
                ran = await self._run(wanted, lambda: len(devices.handed) >= REPORT_SIZE)
                if len(devices.handed) == before:
                    break
            if len(devices.handed) < REPORT_SIZE:
                raise refuse(
                    Code.WRONG_STATE,
                    f"the guest handed out {len(devices.handed)} bytes of a report, then: {ran.reason} {ran.detail}; "
                    "only a guest that answers on its second serial port can be attested",
                )
            return bytes(devices.handed[:REPORT_SIZE])

    async def close(self) -> None:
        """Ends the VM's process and removes its memory."""
        self.guest.devices.console.close()
        await self.guest.link.close()
        self.guest.dram.close()

    async def _run(self, wanted: RunVm, enough: Callable[[], bool]) -> VmRan:
        deadline = time.monotonic() + wanted.time_ms / 1000
        console = self.guest.devices.console
        printed, executed, exits = console.end, 0, 0
        vmsa = self.guest.plan.vmsa(wanted.vcpu)
        self._pausing = False
        self.become(VmState.RUNNING, f"vCPU {wanted.vcpu}")
        try:
            while True:
                left = wanted.instructions - executed if wanted.instructions != UNLIMITED else UNLIMITED
                time_left = max(0, int((deadline - time.monotonic()) * 1000))
                ended = await self.guest.link.run(Vmrun(vmsa, left, time_left, self._ghcbs.pop(vmsa, None)))
                executed += ended.executed
                exits += 1
                stopped, ghcb = await self._serve(ended, vmsa)
                if ghcb is not None:
                    self._ghcbs[vmsa] = ghcb
                if ended.reason is ExitReason.HALT or stopped is not None or ended.reason in _BUDGETS:
                    return self._ended(ended, stopped, executed, exits)
                if console.end - printed >= wanted.console:
                    return self._paused(ExitReason.PAUSED, "its budget of console output is used up", executed, exits)
                if self._pausing or enough():
                    return self._paused(ExitReason.PAUSED, "", executed, exits)
        except FaultError as error:
            if error.fault.code is Code.LOST:
                self.lose(error.fault.reason)
            elif self.shown.state is VmState.RUNNING:
                self.become(VmState.STOPPED, str(error))
            raise
        finally:
            if self.shown.state is VmState.RUNNING:  # the caller was cancelled; the vCPU stops when its budget ends
                self.become(VmState.LAUNCHED, "")

    async def _serve(self, ended: VcpuExit, vmsa: int) -> tuple[str | None, int | None]:
        """Serves an exit.

        Returns why the guest cannot go on, or None; and the GHCB MSR, where the hypervisor changes it.
        """
        if ended.reason is ExitReason.VMGEXIT:
            served = await self._exits.serve(ended.ghcb)
            return served.stopped, served.ghcb
        if ended.reason in (ExitReason.PORT, ExitReason.CPUID, ExitReason.MSR):
            return await serve_open_registers(self.guest, ended, vmsa), None
        if ended.reason in _ENDS:
            return f"{_ENDS[ended.reason]}: {ended.detail}", None
        return None, None

    def _ended(self, ended: VcpuExit, stopped: str | None, executed: int, exits: int) -> VmRan:
        if stopped is not None:
            self.become(VmState.STOPPED, stopped)
        elif ended.reason is ExitReason.HALT:
            self.become(VmState.HALTED, "a vCPU executed HLT")
        else:
            self.become(VmState.LAUNCHED, f"its last run ended: {ended.reason}")
        return VmRan(self.is_, ended.reason, executed, exits, (stopped or ended.detail)[:250])

    def _paused(self, reason: ExitReason, detail: str, executed: int, exits: int) -> VmRan:
        self.become(VmState.LAUNCHED, detail or f"its last run ended: {reason}")
        return VmRan(self.is_, reason, executed, exits, detail)

    def lose(self, reason: str) -> None:
        """Marks the VM as lost: its process is gone, and its keys with it."""
        self.become(VmState.LOST, reason)
        self.guest.devices.console.close()

    async def _ask_firmware(self, request: bytes) -> bytes:
        return await self._firmware.guest_request(self.number, request)


async def certificate_table(firmware: SevFirmware) -> bytes:
    """The certificates that an extended guest request returns beside the firmware's answer, as guests receive them.

    They are of the key that signs reports now, its CA and the root; FaultError where the chip has none.
    """
    chain = [found.der for found in parse_chain("certificates of the report's key", await firmware.certificates())]
    key = VLEK_GUID if chain and VLEK_NAME.encode() in chain[0] else VCEK_GUID
    guids = (key, ASK_GUID, ARK_GUID)
    return CertificateTable(tuple(Certificate(guid, der) for guid, der in zip(guids, chain, strict=False))).encode()


async def serve_open_registers(guest: Guest, ended: VcpuExit, vmsa_spa: int) -> str | None:
    """Serves an exit under plain SEV, where the hypervisor reads and writes the guest's registers in its VMSA.

    It does what the guest's instruction was to do, and lets the guest go on at the next one.

    Returns:
        Why the guest cannot go on, or None.
    """
    try:
        registers = Vmsa.parse(await guest.link.load(vmsa_spa, PAGE_SIZE))
    except WireError as error:
        return f"its registers were changed while they lay open: {error}"
    try:
        changes = _done(ended, registers, guest.devices, guest.cpuid)
    except WireError as error:
        return f"port I/O of a kind that this hypervisor does not serve: {error}"
    await guest.link.store(vmsa_spa, replace(registers, rip=registers.guest_nrip, **changes).encode())
    return None


def _done(ended: VcpuExit, registers: Vmsa, devices: Devices, cpuid: Cpuid) -> dict[str, Any]:
    if ended.reason is ExitReason.PORT:
        access = PortAccess.parse(ended.info_1)
        value = devices.access(access, registers.rax)
        return {"rax": access.merge(registers.rax, value)} if access.is_in else {}
    if ended.reason is ExitReason.CPUID:
        eax, ebx, ecx, edx = cpuid.answer(registers.rax & _LOW, registers.rcx & _LOW)
        return {"rax": eax, "rbx": ebx, "rcx": ecx, "rdx": edx}
    return {} if ended.info_1 else {"rax": 0, "rdx": 0}  # RDMSR of an unknown register reads zero
