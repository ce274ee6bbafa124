"""The modes of memory protection of a confidential VM: three generations of SEV, and one that goes beyond them."""

from enum import StrEnum


class VmMode(StrEnum):
    """Each mode protects what the one before it does, and more."""

    SEV = "sev"
    """Memory is encrypted (AES-XTS, tweak from the system physical address); registers are not encrypted in the VMSA.
    """
    SEV_ES = "sev-es"
    """The VMSA is encrypted too, and checked before each VMRUN."""
    SEV_SNP = "sev-snp"
    """A reverse map table (RMP) records each page's owner; a store by the host's CPU to a guest's page faults."""
    AUTHENTICATED = "authenticated"
    """SEV-SNP whose controller also keeps a tag and a write counter for each private page. No real SEV does that."""

    @property
    def has_encrypted_registers(self) -> bool:
        """Whether the VMSA is encrypted and checked."""
        return self is not VmMode.SEV

    @property
    def has_rmp(self) -> bool:
        """Whether there is a reverse map table, and so SNP: reports, VMPLs, validation."""
        return self in (VmMode.SEV_SNP, VmMode.AUTHENTICATED)
