"""The CPUID values of this hypervisor's vCPUs, for guests that ask and for the firmware's check of the CPUID page."""

from dataclasses import dataclass

from casemate.wire.snp.cpuid_page import CpuidFunction, CpuidPage
from casemate.wire.snp.mode import VmMode

_VENDOR = (0x68747541, 0x444D4163, 0x69746E65)  # "Auth", "cAMD", "enti": EBX, ECX, EDX
_NAME = b"Casemate simulated SEV processor".ljust(48, b"\0")
_HYPERVISOR = b"CasemateVirt"
_FEATURES_ECX = 0x8298_2203  # SSE3, PCLMULQDQ, SSSE3, CX16, SSE4.1, SSE4.2, POPCNT, AES, a hypervisor
_FEATURES_EDX = 0x0701_A979  # x87, PSE, TSC, MSR, PAE, CX8, SYSENTER, PGE, CMOV, PAT, FXSR, SSE, SSE2
_EXTENDED_ECX, _EXTENDED_EDX = 0x0000_0001, 0x2010_0800  # LAHF; SYSCALL, NX, long mode
_SEV, _SEV_ES, _SEV_SNP, _VMPL = 1 << 1, 1 << 3, 1 << 4, 1 << 5
_C_BIT = 51
_ADDRESS_BITS = 48 << 8 | 48


@dataclass(frozen=True, slots=True)
class Cpuid:
    """The CPUID values of one vCPU."""

    mode: VmMode
    signature: int
    """Fn0000_0001_EAX."""

    def answer(self, leaf: int, subleaf: int) -> tuple[int, int, int, int]:
        """EAX, EBX, ECX and EDX; zeros for leaves that do not exist."""
        match leaf:
            case 0x0:
                return (0xD, *_VENDOR)
            case 0x1:
                return (self.signature, 1 << 16, _FEATURES_ECX, _FEATURES_EDX)
            case 0xD if subleaf == 0:
                return (0x3, 576, 576, 0)
            case 0x4000_0000:
                words = [int.from_bytes(_HYPERVISOR[at : at + 4], "little") for at in range(0, 12, 4)]
                return (0x4000_0000, words[0], words[1], words[2])
            case 0x8000_0000:
                return (0x8000_001F, *_VENDOR)
            case 0x8000_0001:
                return (self.signature, 0, _EXTENDED_ECX, _EXTENDED_EDX)
            case 0x8000_0002 | 0x8000_0003 | 0x8000_0004:
                at = (leaf - 0x8000_0002) * 16
                a, b, c, d = (int.from_bytes(_NAME[at + n : at + n + 4], "little") for n in range(0, 16, 4))
                return (a, b, c, d)
            case 0x8000_0008:
                return (_ADDRESS_BITS, 0, 0, 0)
            case 0x8000_001F:
                return (self._sev(), _C_BIT | 1 << 6 | 4 << 12, 509, 1)
            case _:
                return (0, 0, 0, 0)

    def page(self) -> CpuidPage:
        """The CPUID page.

        The firmware refuses it where a value claims more than the processor has, or would weaken the guest.
        """
        return CpuidPage(tuple(self._function(leaf) for leaf in _PAGE))

    def _function(self, leaf: int) -> CpuidFunction:
        eax, ebx, ecx, edx = self.answer(leaf, 0)
        return CpuidFunction(eax_in=leaf, xcr0_in=int(leaf == _XSAVE), eax=eax, ebx=ebx, ecx=ecx, edx=edx)

    def _sev(self) -> int:
        return (
            _SEV
            | (_SEV_ES if self.mode.has_encrypted_registers else 0)
            | (_SEV_SNP | _VMPL if self.mode.has_rmp else 0)
        )


_XSAVE = 0xD
_PAGE = (0x0, 0x1, _XSAVE, *range(0x8000_0000, 0x8000_0005), 0x8000_0008, 0x8000_001F)
"""Leaves of the CPUID page. For any other leaf the guest has to ask the hypervisor, and must not trust the answer."""
