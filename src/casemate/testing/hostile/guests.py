"""Hostile guests of confidential VMs: each runs until a budget ends, or ends itself."""

from dataclasses import dataclass
from functools import cache

from casemate.images.vm.assemble import Source
from casemate.images.vm.builtin import sources
from casemate.images.vm.firmware import build_firmware
from casemate.images.vm.layout import SYMBOLS
from casemate.wire.messages.vm.hypervisor import ExitReason
from casemate.wire.snp.mode import VmMode

PAGE_A, PAGE_STATE = SYMBOLS["PAGE_A"], 0x014
_SNP = (VmMode.SEV_SNP, VmMode.AUTHENTICATED)
_GHCB = (VmMode.SEV_ES, *_SNP)
_TIME = (ExitReason.TIME,)


@dataclass(frozen=True, slots=True)
class HostileVmGuest:
    """The source of a hostile guest, and how a run of it may end."""

    name: str
    source: str
    ends: tuple[ExitReason, ...] = _TIME
    modes: tuple[VmMode, ...] = tuple(VmMode)

    @property
    def image(self) -> bytes:
        """Firmware in OVMF's shape."""
        return image_of(self.source)


@cache
def image_of(source: str) -> bytes:
    """A guest of the common sources and this one, which has the label ``main``."""
    common = sources("hello")[:-1]
    return build_firmware((*common, Source("hostile.s", f"{source}\nap_main: ret\n")))


HOSTILE_VM_GUESTS = (
    HostileVmGuest("loops", "main: jmp main"),
    HostileVmGuest(
        "faults for ever",
        # its own handler of #UD goes back to the instruction that has faulted
        """
main:
    lea rax, [rip+again]
    mov word ptr [IDT+6*16], ax
    ud2
again:
    iretq
""",
    ),
    HostileVmGuest(
        "faults in its fault handler",
        """
main:
    lea rax, [rip+again]
    mov word ptr [IDT+6*16], ax
again:
    ud2
""",
        # its stack grows into pages that are not assigned to it
        ends=(ExitReason.TIME, ExitReason.SHUTDOWN, ExitReason.NESTED_FAULT, ExitReason.VMGEXIT, ExitReason.HALT),
    ),
    HostileVmGuest("triple fault", "main: lidt [rip+nothing]\nud2\nnothing: .quad 0, 0", ends=(ExitReason.SHUTDOWN,)),
    HostileVmGuest(
        "floods its console",
        'main: call say\n.asciz "flood, and flood, and flood, and flood, and flood, and flood\\n"\njmp main',
        ends=(ExitReason.PAUSED, ExitReason.TIME),
    ),
    HostileVmGuest("exits for ever", "main: in al, 0x80\njmp main"),
    HostileVmGuest("asks for CPUID for ever", "main: mov eax, 0x40000000\ncpuid\njmp main"),
    HostileVmGuest("asks by the MSR for ever", "main: mov eax, 2\ncall msr_protocol\njmp main", modes=_GHCB),
    HostileVmGuest(
        "makes a page shared and private for ever",
        f"""
main:
    mov rax, {1 << 52 | PAGE_A | PAGE_STATE:#x}
    call msr_protocol
    mov rax, {2 << 52 | PAGE_A | PAGE_STATE:#x}
    call msr_protocol
    jmp main
""",
        modes=_SNP,
    ),
    HostileVmGuest(
        "validates and rescinds for ever",
        """
main:
    mov eax, PAGE_A
    xor ecx, ecx
    mov edx, 1
    pvalidate
    mov eax, PAGE_A
    xor edx, edx
    pvalidate
    jmp main
""",
        modes=_SNP,
    ),
    HostileVmGuest(
        "writes its own code for ever", "main: inc byte ptr [rip+changed+2]\nchanged: mov ax, 0x1234\njmp main"
    ),
    HostileVmGuest(
        "fills memory for ever",
        "main: cld\nmov edi, 0x100000\nmov ecx, 0x80000\nrep stosd\njmp main",
        # where pages are its own only once it has validated them, it ends itself
        ends=(ExitReason.TIME, ExitReason.VMGEXIT),
    ),
    HostileVmGuest(
        "runs its stack through memory",
        "main: push rax\njmp main",
        ends=(ExitReason.SHUTDOWN, ExitReason.NESTED_FAULT, ExitReason.VMGEXIT, ExitReason.HALT, ExitReason.TIME),
    ),
    HostileVmGuest(
        "has no gate for its interrupt",
        "main: int 0x80\njmp main",
        ends=(ExitReason.HALT, ExitReason.VMGEXIT, ExitReason.TIME),
    ),
    HostileVmGuest("halts", "main: hlt\njmp main", ends=(ExitReason.HALT,)),
)
