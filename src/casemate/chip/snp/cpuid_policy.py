"""What the firmware lets a hypervisor tell a guest by its CPUID page (AMD 56860, 8.17.2.6).

A guest that is told of a protection which its processor lacks would rely on it; one that is told another place of the
C-bit would take encrypted pages for shared ones and the other way round. Leaves that say nothing of security pass.

SIMULATED: the processor is the one that the VM's process emulates, and has less than an EPYC. AMD's firmware corrects
the page and has the hypervisor ask again; here the page in DRAM stays as it is, and the refusal says what is wrong.
"""

from collections.abc import Iterable

from casemate.chip.snp.errors import FirmwareError, FirmwareStatus
from casemate.wire.snp.cpuid_page import CpuidFunction
from casemate.wire.snp.mode import VmMode

C_BIT = 51
VMPLS = 4

_SEV_LEAF = 0x8000_001F
_XSAVE_LEAF = 0xD
_STATES = 0b11
"""XCR0: x87 and SSE."""
_AREA_SIZE = 576
"""Bytes of an XSAVE area with both: the legacy region and the header."""

_SEV, _SEV_ES, _SEV_SNP, _VMPL = 1 << 1, 1 << 3, 1 << 4, 1 << 5
_FEATURES = {
    VmMode.SEV: _SEV,
    VmMode.SEV_ES: _SEV | _SEV_ES,
    VmMode.SEV_SNP: _SEV | _SEV_ES | _SEV_SNP | _VMPL,
    VmMode.AUTHENTICATED: _SEV | _SEV_ES | _SEV_SNP | _VMPL,
}
"""Fn8000_001F_EAX: no secure TSC, no restricted or alternate injection, no debug swap, no VMSA register protection."""

_KNOWN: dict[tuple[int, int], dict[str, int]] = {
    (0x0000_0001, 0): {"ecx": 0xCED8_220B, "edx": 0x078B_FBFD},
    (0x0000_0007, 0): {"eax": 0, "ebx": 0x0098_0189, "ecx": 0, "edx": 0},
    (_XSAVE_LEAF, 0): {"eax": _STATES, "edx": 0},
    (_XSAVE_LEAF, 1): {"eax": 0, "ecx": 0, "edx": 0},
    (0x8000_0001, 0): {"ecx": 0x0000_0075, "edx": 0x2DD3_FBFD},
    (0x8000_0008, 0): {"ebx": 0},
    (0x8000_0021, 0): {"eax": 0},
}
"""Bits that the processor has, by leaf and subleaf: SMEP and SMAP, RDRAND and AES are among them; no AVX, no shadow
stacks, no protection keys, no control of speculation. Others may not be claimed."""


def check_cpuid(functions: Iterable[CpuidFunction], mode: VmMode) -> None:
    """Returns where a guest may be told what ``functions`` say.

    Raises:
        FirmwareError: INVALID_PARAM, naming the leaf and the bits.
    """
    for function in functions:
        for register, mask in _KNOWN.get((function.eax_in, function.ecx_in), {}).items():
            _check_bits(function, register, mask)
        if function.eax_in == _SEV_LEAF:
            _check_sev(function, mode)
        if function.eax_in == _XSAVE_LEAF:
            _check_area(function)


def _check_bits(function: CpuidFunction, register: str, mask: int) -> None:
    surplus = getattr(function, register) & ~mask
    if surplus:
        raise _refused(function, f"{register} claims {surplus:#010x}, which this processor lacks")


def _check_sev(function: CpuidFunction, mode: VmMode) -> None:
    _check_bits(function, "eax", _FEATURES[mode])
    if function.ebx & 0x3F != C_BIT:
        raise _refused(function, f"ebx has the C-bit at {function.ebx & 0x3F}, it is at {C_BIT}")
    if (function.ebx >> 12 & 0xF) > VMPLS:
        raise _refused(function, f"ebx has {function.ebx >> 12 & 0xF} VMPLs, there are {VMPLS}")


def _check_area(function: CpuidFunction) -> None:
    """A guest allocates what EBX says, and the processor stores what XCR0 says."""
    if function.xcr0_in & ~_STATES or function.xss_in:
        raise _refused(function, "xcr0_in or xss_in has state components that this processor lacks")
    sizes = {0: (_AREA_SIZE,), 1: (0, _AREA_SIZE)}.get(function.ecx_in, (0,))
    if function.ebx not in sizes:
        raise _refused(function, f"ebx has an XSAVE area of {function.ebx} bytes, it takes {sizes[-1]}")


def _refused(function: CpuidFunction, reason: str) -> FirmwareError:
    leaf = f"CPUID Fn{function.eax_in:08X}_x{function.ecx_in:X}"
    return FirmwareError(FirmwareStatus.INVALID_PARAM, f"{leaf}: {reason}")
