"""Delivering exceptions to 64-bit guests, through their own interrupt descriptor table (APM volume 2, 8.9)."""

from dataclasses import dataclass

from casemate.vm.errors import AccessError
from casemate.vm.vcpu.context import INTERRUPTS, NESTED_TASK, RESUME, TRAP, Context
from casemate.vm.vcpu.guest_memory import EFER_LMA, GuestMemory, NotCanonicalError, PageFaultError, Paging

UNDEFINED, PROTECTION, PAGE_FAULT, VMM_COMMUNICATION = 6, 13, 14, 29
BREAKPOINT = 3
_WITH_ERROR_CODE = frozenset((8, 10, 11, 12, 13, 14, 17, 21, 29, 30))
_GATE_SIZE, _INTERRUPT_GATE, _TRAP_GATE = 16, 0xE, 0xF
_DESCRIPTOR_SIZE = 8
_LONG_CODE = 1 << 21 | 1 << 15 | 1 << 12 | 1 << 11
"""Bits of a 64-bit code segment's descriptor: L, present, not a system segment, code."""
_CONFORMING = 1 << 10
_RSP0, _IST = 4, 0x24 - 8


@dataclass(frozen=True, slots=True)
class GuestFault(Exception):  # noqa: N818 - what is raised in the guest, as the processor has it
    """An exception that is delivered to the guest's handler."""

    vector: int
    error_code: int = 0
    address: int | None = None
    """The value for CR2."""


class ShutdownError(Exception):
    """The exception cannot be delivered to the guest: a triple fault."""


def is_allowed_software_interrupt(vector: int, context: Context, memory: GuestMemory, paging: Paging) -> bool:
    """Whether INT ``vector`` has a gate that may be used at the current privilege level."""
    try:
        gate = _gate(vector, context, memory, paging)
    except ShutdownError:
        return False
    return gate[5] >> 5 & 3 >= context.cpl


def deliver(
    fault: GuestFault, context: Context, memory: GuestMemory, paging: Paging, resume: int, *, software: bool = False
) -> None:
    """Sets registers and the guest's stack as the processor does before the handler's first instruction.

    Args:
        fault: the exception.
        context: the registers.
        memory: the guest's.
        paging: the registers that decide how memory is addressed.
        resume: RIP at which the guest goes on afterwards.
        software: by INT n, which pushes no error code.

    Raises:
        ShutdownError: no handler can be entered: not in long mode, or the tables are broken.
        AccessError: the hypervisor has to handle an access first.
    """
    if not context.efer & EFER_LMA:
        raise ShutdownError(f"exception {fault.vector} outside of long mode")
    supervisor = Paging(paging.cr0, paging.cr3, paging.cr4, paging.efer, 0)
    try:
        gate = _gate(fault.vector, context, memory, supervisor)
        selector = int.from_bytes(gate[2:4], "little")
        target = int.from_bytes(gate[0:2] + gate[6:12], "little")
        flags, privilege = _code_segment(selector, context, memory, supervisor)
        cpl = context.cpl if flags & _CONFORMING else privilege
        stack = _stack(gate[4] & 7, cpl, context, memory, supervisor) & ~0xF
        frame = [
            context.selector("ss"),
            context.general("rsp"),
            context.rflags,
            context.selector("cs"),
            resume,
        ]
        if fault.vector in _WITH_ERROR_CODE and not software:
            frame.append(fault.error_code)
        content = b"".join((word & (1 << 64) - 1).to_bytes(8, "little") for word in reversed(frame))
        memory.write(stack - len(content), content, supervisor)
    except (PageFaultError, NotCanonicalError) as error:
        raise ShutdownError(f"exception {fault.vector} cannot be delivered: {error}") from None
    if fault.address is not None:
        context.cr2 = fault.address
    cleared = TRAP | NESTED_TASK | RESUME | (INTERRUPTS if gate[5] & 0xF == _INTERRUPT_GATE else 0)
    context.rflags &= ~cleared
    context.enter(selector & ~3, flags, cpl)
    context.set_general("rsp", stack - len(content))
    context.rip = target


def as_guest_fault(error: AccessError) -> GuestFault | None:
    """The exception for an access that the guest's own page tables deny; None where the hypervisor has to handle it."""
    if isinstance(error, PageFaultError):
        return GuestFault(PAGE_FAULT, error.error_code, error.linear)
    if isinstance(error, NotCanonicalError):
        return GuestFault(PROTECTION)
    return None


def _gate(vector: int, context: Context, memory: GuestMemory, paging: Paging) -> bytes:
    base, limit = context.idt
    at = vector * _GATE_SIZE
    if at + _GATE_SIZE - 1 > limit:
        raise ShutdownError(f"exception {vector} is beyond the interrupt descriptor table")
    gate = memory.read(base + at, _GATE_SIZE, paging)
    if not gate[5] & 0x80 or gate[5] & 0xF not in (_INTERRUPT_GATE, _TRAP_GATE):
        raise ShutdownError(f"exception {vector} has no gate")
    return gate


def _code_segment(selector: int, context: Context, memory: GuestMemory, paging: Paging) -> tuple[int, int]:
    """The upper half of the descriptor, and its privilege level."""
    base, limit = context.gdt
    at = selector & ~7
    if selector & 4 or not at or at + _DESCRIPTOR_SIZE - 1 > limit:
        raise ShutdownError(f"the gate's selector {selector:#x} is not in the global descriptor table")
    flags = int.from_bytes(memory.read(base + at + 4, 4, paging), "little")
    if flags & _LONG_CODE != _LONG_CODE:
        raise ShutdownError(f"the gate's selector {selector:#x} is no 64-bit code")
    privilege = flags >> 13 & 3
    if privilege > context.cpl:
        raise ShutdownError(f"the gate's selector {selector:#x} has less privilege than the code that is interrupted")
    return flags & 0x00F0_FF00, privilege


def _stack(ist: int, cpl: int, context: Context, memory: GuestMemory, paging: Paging) -> int:
    if ist:
        return int.from_bytes(memory.read(context.task_base + _IST + 8 * ist, 8, paging), "little")
    if cpl != context.cpl:
        return int.from_bytes(memory.read(context.task_base + _RSP0 + 8 * cpl, 8, paging), "little")
    return context.general("rsp")
