"""vCPUs: runs one from its VMSA to its next exit, with everything that SEV adds to the processor."""

import time
from collections.abc import Callable
from dataclasses import dataclass, replace

from casemate.vm.alarm import Alarm
from casemate.vm.errors import (
    AccessError,
    CacheChangedError,
    IntegrityError,
    NestedFaultError,
    NotValidatedError,
    VmsaInvalidError,
)
from casemate.vm.page_cache import PageCache
from casemate.vm.vcpu.emulator import Emulator, Stopped
from casemate.vm.vcpu.exceptions import (
    PROTECTION,
    UNDEFINED,
    VMM_COMMUNICATION,
    GuestFault,
    ShutdownError,
    as_guest_fault,
    deliver,
    is_allowed_software_interrupt,
)
from casemate.vm.vcpu.guest_memory import CR0_PE, EFER_LMA
from casemate.vm.vcpu.instructions import Instruction, InstructionKind
from casemate.vm.vcpu.model_specific import GHCB, SEV_STATUS, sev_status
from casemate.vm.vcpu.snp_instructions import SnpInstructions
from casemate.vm.vmsa_pages import VmsaPages
from casemate.wire.encodings.fields import MAX_U32
from casemate.wire.errors import WireError
from casemate.wire.messages.vm.hypervisor import ExitReason, VcpuExit
from casemate.wire.snp.mode import VmMode
from casemate.wire.snp.sev_features import SIMULATED_FEATURES, check_features
from casemate.wire.snp.vmsa import Vmsa

NOT_VALIDATED = 0x404
_IOIO, _MSR, _CPUID = 0x7B, 0x7C, 0x72
_EXIT_CODES = {
    ExitReason.HALT: 0x78,
    ExitReason.PORT: _IOIO,
    ExitReason.MSR: _MSR,
    ExitReason.CPUID: _CPUID,
    ExitReason.NESTED_FAULT: 0x400,
    ExitReason.SHUTDOWN: 0x7F,
    ExitReason.VMGEXIT: 0x403,
}
"""EXITCODE (APM volume 2, appendix C)."""

_LOW = MAX_U32
_MAX_DETAIL = 256
_DELIVERY_TRIES = 4


@dataclass(frozen=True, slots=True)
class Budget:
    """Limits of a run."""

    instructions: int
    """:data:`~casemate.wire.messages.vm.hypervisor.UNLIMITED` for no limit."""
    deadline: float
    """Deadline on the clock ``time.monotonic``."""


class _Exit(Exception):  # noqa: N818 - as the architecture names it
    """An exit to the hypervisor."""

    def __init__(self, reason: ExitReason, info_1: int = 0, info_2: int = 0, detail: str = "") -> None:
        super().__init__(detail)
        self.reason = reason
        self.info_1 = info_1
        self.info_2 = info_2
        self.next_rip = 0
        """RIP at which the guest goes on after the hypervisor has done the intercepted instruction for it."""


class Vcpus:
    """All vCPUs of one VM; one runs at a time."""

    def __init__(
        self, mode: VmMode, emulator: Emulator, cache: PageCache, vmsas: VmsaPages, snp: SnpInstructions | None
    ) -> None:
        """Makes the vCPUs; none runs yet.

        Args:
            mode: what SEV does for this guest.
            emulator: executes.
            cache: the guest's memory.
            vmsas: the registers of vCPUs that do not run.
            snp: None where the mode has no reverse map table.
        """
        self._mode = mode
        self._emulator = emulator
        self._context = emulator.context
        self._cache = cache
        self._vmsas = vmsas
        self._snp = snp
        self._ghcbs: dict[int, int] = {}
        """The GHCB MSR by the SPA of the VMSA: the architecture keeps it in the VMCB, not in the VMSA."""
        self._ghcb = 0
        self._broken: IntegrityError | None = None
        """The integrity error that ended this guest for good: the guest stays ended even if the host puts the page
        back."""

    def _check_features(self, features: int) -> None:
        """VMRUN refuses what the processor does not have; SEV and SEV-ES have SEV_FEATURES without SNPActive."""
        try:
            check_features(features, snp=self._snp is not None, supported=SIMULATED_FEATURES)
        except WireError as error:
            raise VmsaInvalidError(str(error)) from None

    def run(self, vmsa_spa: int, budget: Budget, ghcb: int | None, alarm: Alarm, serve: Callable[[], bool]) -> VcpuExit:
        """VMRUN: runs the vCPU of the VMSA at ``vmsa_spa`` to its next exit.

        Args:
            vmsa_spa: system physical address.
            budget: instructions and time.
            ghcb: the GHCB MSR as the hypervisor sets it; None: as the guest left it.
            alarm: armed; tells when ``serve`` has something to read.
            serve: answers the chip and the hypervisor; returns True if the run has to end.

        Raises:
            DramError: DRAM has been truncated.
        """
        self._ghcb = self._ghcbs.get(vmsa_spa, 0) if ghcb is None else ghcb
        self._emulator.count(budget.instructions)
        try:
            if self._broken is not None:
                raise self._broken
            vmsa = self._vmsas.read(vmsa_spa)
            self._check_features(vmsa.sev_features)
            self._context.load(vmsa)
        except VmsaInvalidError as error:
            return self._told(_Exit(ExitReason.INVALID, detail=str(error)))
        except IntegrityError as error:
            return self._told(self._broken_by(error))
        self._emulator.memory.vmpl = vmsa.vmpl
        self._emulator.forget_translations()
        try:
            ended = self._run(budget, alarm, serve)
        finally:
            self._cache.flush()
        self._ghcbs[vmsa_spa] = self._ghcb
        self._vmsas.write(vmsa_spa, self._rested(vmsa, ended))
        return self._told(ended)

    def _run(self, budget: Budget, alarm: Alarm, serve: Callable[[], bool]) -> _Exit:
        while True:
            try:
                self._listen(budget, alarm, serve)
                self._handle(self._emulator.emulate())
            except _Exit as ended:
                return ended
            except ShutdownError as error:
                return _Exit(ExitReason.SHUTDOWN, detail=str(error))
            except CacheChangedError:
                self._empty()

    def _listen(self, budget: Budget, alarm: Alarm, serve: Callable[[], bool]) -> None:
        """Serves what has come from outside since the emulation began."""
        if self._emulator.counted >= budget.instructions:
            raise _Exit(ExitReason.INSTRUCTIONS)
        if alarm.rung:
            self._empty()
            if time.monotonic() >= budget.deadline:
                raise _Exit(ExitReason.TIME)
            alarm.acknowledge()
            if serve():
                raise _Exit(ExitReason.PAUSED)

    def _handle(self, stopped: Stopped) -> None:
        if stopped is None:
            return
        try:
            if isinstance(stopped, Instruction):
                self._execute(stopped)
                return
            raise stopped
        except AccessError as error:
            fault = self._fault_of(error)
        except GuestFault as raised:
            fault = raised
        self._deliver(fault, self._context.rip)

    def _fault_of(self, error: AccessError) -> GuestFault:
        """The exception that the guest gets for a refused access; None where the hypervisor has to handle it."""
        fault = as_guest_fault(error)
        if fault is not None:
            return fault
        if isinstance(error, NotValidatedError):
            return GuestFault(VMM_COMMUNICATION, NOT_VALIDATED, error.gpa)
        if isinstance(error, NestedFaultError):
            raise _Exit(ExitReason.NESTED_FAULT, error.error_code, error.gpa, str(error))
        if isinstance(error, IntegrityError):
            raise self._broken_by(error)
        raise ShutdownError(str(error))

    def _deliver(self, fault: GuestFault, resume: int, *, software: bool = False) -> None:
        """Delivers an exception: the guest's next instruction is its handler's first."""
        memory, paging = self._emulator.memory, self._context.paging
        for _ in range(_DELIVERY_TRIES):
            try:
                deliver(fault, self._context, memory, paging, resume, software=software)
            except CacheChangedError:
                self._empty()
            except AccessError as error:
                raise ShutdownError(f"while exception {fault.vector} was delivered: {self._fault_of(error)}") from None
            else:
                return
        raise ShutdownError(f"exception {fault.vector} needs pages that are the same page of DRAM")

    def _execute(self, instruction: Instruction) -> None:
        """Executes an instruction before which the emulator has stopped."""
        context = self._context
        after = context.rip + instruction.length
        match instruction.kind:
            case InstructionKind.INT:
                self._interrupt(instruction, after)
                return
            case InstructionKind.CPUID:
                self._intercept(ExitReason.CPUID, _CPUID, after)
            case InstructionKind.PORT:
                self._port(instruction, after)
            case InstructionKind.VMGEXIT:
                if not self._mode.has_encrypted_registers:
                    raise GuestFault(UNDEFINED)
                context.rip = after
                raise _Exit(ExitReason.VMGEXIT, self._ghcb)
            case _ if context.cpl:
                raise GuestFault(PROTECTION)
            case InstructionKind.HLT:
                context.rip = after
                raise _Exit(ExitReason.HALT)
            case InstructionKind.RDMSR | InstructionKind.WRMSR:
                self._model_specific(instruction, after)
            case _:
                self._snp_instruction(instruction)
        context.rip = after

    def _snp_instruction(self, instruction: Instruction) -> None:
        if self._snp is None or not self._context.efer & EFER_LMA:
            raise GuestFault(UNDEFINED)
        execute = self._snp.pvalidate if instruction.kind is InstructionKind.PVALIDATE else self._snp.rmpadjust
        execute(self._context, self._emulator.memory)

    def _interrupt(self, instruction: Instruction, after: int) -> None:
        context, memory = self._context, self._emulator.memory
        if not context.efer & EFER_LMA:
            raise ShutdownError("INT outside of long mode")
        if not is_allowed_software_interrupt(instruction.info, context, memory, context.paging):
            raise GuestFault(PROTECTION, instruction.info << 3 | 2)
        self._deliver(GuestFault(instruction.info), after, software=True)

    def _port(self, instruction: Instruction, after: int) -> None:
        context = self._context
        # Guests here have no I/O permission map in their TSS, so IOPL alone decides.
        if context.cpl > context.rflags >> 12 & 3 and context.cr0 & CR0_PE:
            raise GuestFault(PROTECTION)
        number = context.general("rdx") & 0xFFFF if instruction.port is None else instruction.port
        self._intercept(ExitReason.PORT, _IOIO, after, instruction.info | number << 16)

    def _intercept(self, reason: ExitReason, exit_code: int, after: int, info_1: int = 0) -> None:
        """An intercepted instruction: exits where the hypervisor may see registers.

        Otherwise #VC, so that the guest decides what it shows the hypervisor in its GHCB.
        """
        if self._mode.has_encrypted_registers:
            raise GuestFault(VMM_COMMUNICATION, exit_code)
        ended = _Exit(reason, info_1, after)
        ended.next_rip = after
        raise ended

    def _model_specific(self, instruction: Instruction, after: int) -> None:
        context = self._context
        number = context.general("rcx") & _LOW
        is_write = instruction.kind is InstructionKind.WRMSR
        if number == SEV_STATUS and not is_write:
            value = sev_status(self._mode)
        elif number == GHCB and self._mode.has_encrypted_registers:
            if is_write:
                self._ghcb = (context.general("rdx") & _LOW) << 32 | context.general("rax") & _LOW
            value = self._ghcb
        else:
            self._intercept(ExitReason.MSR, _MSR, after, int(is_write))
            return
        if not is_write:
            context.set_general("rax", value & _LOW)
            context.set_general("rdx", value >> 32)

    def _empty(self) -> None:
        """Writes the guest's stores to DRAM, and has every page looked up again."""
        self._cache.flush()
        self._emulator.forget_translations()

    def _rested(self, vmsa: Vmsa, ended: _Exit) -> Vmsa:
        """The VMSA with the registers that the vCPU has now."""
        return replace(
            self._context.store(vmsa),
            guest_exit_code=_EXIT_CODES.get(ended.reason, 0),
            guest_exit_info_1=ended.info_1,
            guest_exit_info_2=ended.info_2,
            guest_nrip=ended.next_rip,
        )

    def _broken_by(self, error: IntegrityError) -> _Exit:
        self._broken = error
        return _Exit(ExitReason.INTEGRITY, 0, error.gpa, str(error))

    def _told(self, ended: _Exit) -> VcpuExit:
        return VcpuExit(
            reason=ended.reason,
            info_1=ended.info_1,
            info_2=ended.info_2,
            ghcb=self._ghcb,
            executed=self._emulator.counted,
            detail=str(ended).encode()[:_MAX_DETAIL].decode(errors="ignore"),
        )
