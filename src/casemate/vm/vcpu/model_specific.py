"""Model-specific registers: those of SEV, and those that the emulator handles itself (APM volume 2, appendix A)."""

from casemate.wire.snp.mode import VmMode

SEV_STATUS = 0xC001_0131
GHCB = 0xC001_0130
EFER = 0xC000_0080

NATIVE = frozenset(
    (
        EFER,
        0x10,  # TSC
        0x174,  # SYSENTER_CS
        0x175,  # SYSENTER_ESP
        0x176,  # SYSENTER_EIP
        0x277,  # PAT
        0xC000_0081,  # STAR
        0xC000_0082,  # LSTAR
        0xC000_0083,  # CSTAR
        0xC000_0084,  # SFMASK
        0xC000_0100,  # FS.base
        0xC000_0101,  # GS.base
        0xC000_0102,  # KernelGSbase
        0xC000_0103,  # TSC_AUX
    )
)
"""Kept in the VMSA, so no hypervisor intercepts them."""


def sev_status(mode: VmMode) -> int:
    """SEV_STATUS: bit 0 SEV, bit 1 SEV-ES, bit 2 SEV-SNP."""
    return 1 | (2 if mode.has_encrypted_registers else 0) | (4 if mode.has_rmp else 0)
