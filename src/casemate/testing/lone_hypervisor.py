"""A minimal hypervisor for built-in guests: two serial ports, CPUID, the GHCB's events, and guest requests."""

import os
from collections import deque
from collections.abc import Callable
from dataclasses import replace

from casemate.testing.lone_vm import LoneVm
from casemate.wire.errors import CasemateError
from casemate.wire.messages.vm.hypervisor import UNLIMITED, Done, ExitReason, RmpUpdate, VcpuExit
from casemate.wire.snp.ghcb import ExitCode, Ghcb, GhcbField
from casemate.wire.snp.ghcb_msr import (
    NO_GFN,
    GhcbAddress,
    PageStateRequest,
    PageStateResponse,
    RegisterGpaRequest,
    RegisterGpaResponse,
    TerminateRequest,
    parse_request,
)
from casemate.wire.snp.page_info import PAGE_SIZE
from casemate.wire.snp.page_state import PageOperation
from casemate.wire.snp.port_access import PortAccess, PortString
from casemate.wire.snp.vmsa import Vmsa

COM1, COM2, LINE_STATUS = 0x3F8, 0x2F8, 5
CAN_SEND, DATA_READY = 0x20, 0x01
CPUID = {
    0: (1, *(int.from_bytes(part, "little") for part in (b"Auth", b"cAMD", b"enti"))),
    1: (0x00A00F11, 0, 0, 0),
}
"""CPUID leaf to EAX, EBX, ECX, EDX."""
ASKED_IN_VAIN = 4
"""Number of reads without data after which a guest counts as waiting."""

Relay = Callable[[bytes], bytes]
"""Maps a guest's sealed request to the firmware's sealed answer."""


class UnservedError(CasemateError):
    """The guest uses something that this hypervisor does not support."""


class LoneHypervisor:
    """Serves one VM and trusts its guest; anything that no built-in guest uses raises :class:`UnservedError`."""

    def __init__(self, vm: LoneVm, data: bytes = b"", relay: Relay | None = None) -> None:
        """``data`` is input on COM2; ``relay`` passes guest requests to the firmware, if there is one."""
        self.vm = vm
        self.relay = relay
        self.console = bytearray()
        """The guest's console output."""
        self.sent = bytearray()
        """The guest's output on COM2."""
        self.waiting = deque(data)
        """Input for the guest on COM2."""
        self.terminated: TerminateRequest | None = None
        self.refuses_registration = False
        self.refuses_page_state = False
        self.waits = 0
        self.seen: set[ExitReason | ExitCode | type[object]] = set()
        """The exits and events that the guest has used."""

    def run(
        self,
        vcpu: int = 0,
        *,
        exits: int = 100_000,
        instructions: int = UNLIMITED,
        until: Callable[[], bool] = lambda: False,
    ) -> VcpuExit | None:
        """Runs to an exit that it cannot serve; None: the guest waits for data, ``until`` is true, or exits ran out."""
        ghcb: int | None = None
        self.waits = 0
        for _ in range(exits):
            ended = self.vm.run(vcpu, ghcb=ghcb, instructions=instructions, time_ms=20_000)
            self.seen.add(ended.reason)
            ghcb = None
            match ended.reason:
                case ExitReason.VMGEXIT:
                    ghcb = self._vmgexit(ended)
                case ExitReason.PORT | ExitReason.CPUID:
                    self._edit_registers(vcpu, ended)
                case _:
                    return ended
            if self.terminated is not None:
                return ended
            if self.waits >= ASKED_IN_VAIN or until():
                return None
        return None

    @property
    def lines(self) -> list[str]:
        """The lines on the console."""
        return self.console.decode().splitlines()

    def _vmgexit(self, ended: VcpuExit) -> int | None:
        request = parse_request(ended.ghcb)
        self.seen.add(type(request))
        match request:
            case GhcbAddress(gfn):
                page = self.vm.load(gfn * PAGE_SIZE, PAGE_SIZE)
                os.pwrite(self.vm.dram.fileno(), self._event(Ghcb.parse(page)).encode(), gfn * PAGE_SIZE)
                return None
            case RegisterGpaRequest(gfn):
                return RegisterGpaResponse(NO_GFN if self.refuses_registration else gfn).encode()
            case PageStateRequest() if self.refuses_page_state:
                return PageStateResponse(1).encode()
            case PageStateRequest(gfn, operation):
                gpa, private = gfn * PAGE_SIZE, operation == PageOperation.PRIVATE
                self.vm.ask(RmpUpdate(spa=gpa, count=1, assigned=private, gpa=gpa, immutable=False), Done)
                return PageStateResponse(0).encode()
            case TerminateRequest():
                self.terminated = request
                return None
        raise UnservedError(f"the MSR protocol's {request}")

    def _event(self, ghcb: Ghcb) -> Ghcb:
        self.seen.add(ghcb.exit_code)
        info_1, info_2 = ghcb.get(GhcbField.SW_EXITINFO1), ghcb.get(GhcbField.SW_EXITINFO2)
        match ghcb.exit_code:
            case ExitCode.IOIO if PortString.is_meant(info_1):
                string = PortString.parse(info_1, info_2)
                for byte in ghcb.shared_buffer[: string.size]:  # all guests here have their GHCB there
                    self._out(string.access.port, byte)
                return ghcb.answer()
            case ExitCode.IOIO:
                access = PortAccess.parse(info_1)
                if access.is_in:
                    return ghcb.answer({GhcbField.RAX: self._in(access.port)})
                self._out(access.port, ghcb.get(GhcbField.RAX))
                return ghcb.answer()
            case ExitCode.CPUID:
                rax, rbx, rcx, rdx = CPUID[ghcb.get(GhcbField.RAX)]
                registers = (GhcbField.RAX, GhcbField.RBX, GhcbField.RCX, GhcbField.RDX)
                return ghcb.answer(dict(zip(registers, (rax, rbx, rcx, rdx), strict=True)))
            case ExitCode.GUEST_REQUEST if self.relay is not None:
                response = self.relay(self.vm.load(info_1, PAGE_SIZE))
                self.vm.store(info_2, response.ljust(PAGE_SIZE, b"\0"))
                return ghcb.answer()
        raise UnservedError(f"the event {ghcb.exit_code!r}")

    def _edit_registers(self, vcpu: int, ended: VcpuExit) -> None:
        """Emulates the instruction for plain SEV, where the hypervisor can read and write registers."""
        spa = self.vm.vmsas[vcpu]
        vmsa = Vmsa.parse(os.pread(self.vm.dram.fileno(), PAGE_SIZE, spa))
        if ended.reason is ExitReason.CPUID:
            rax, rbx, rcx, rdx = CPUID[vmsa.rax & 0xFFFF_FFFF]
            vmsa = replace(vmsa, rax=rax, rbx=rbx, rcx=rcx, rdx=rdx)
        elif (access := PortAccess.parse(ended.info_1)).is_in:
            vmsa = replace(vmsa, rax=access.merge(vmsa.rax, self._in(access.port)))
        else:
            self._out(access.port, vmsa.rax)
        os.pwrite(self.vm.dram.fileno(), replace(vmsa, rip=vmsa.guest_nrip).encode(), spa)

    def _in(self, port: int) -> int:
        match port:
            case 0x3FD:
                return CAN_SEND
            case 0x2FD:
                self.waits = 0 if self.waiting else self.waits + 1
                return CAN_SEND | (DATA_READY if self.waiting else 0)
            case 0x2F8:
                return self.waiting.popleft() if self.waiting else 0
        raise UnservedError(f"port {port:#x}")

    def _out(self, port: int, value: int) -> None:
        self.waits = 0
        device = {COM1: self.console, COM2: self.sent}.get(port)
        if device is None:
            raise UnservedError(f"port {port:#x}")
        device.append(value & 0xFF)
