"""SEV_FEATURES of a VMSA: the combinations that a processor runs (AMD APM vol. 2, table B-4, and 15.36).

The field is measured with the registers. VMRUN ends with VMEXIT_INVALID for a vCPU whose features the processor does
not have, or does not have together.
"""

from enum import STRICT, IntFlag

from casemate.wire.errors import WireError


class SevFeature(IntFlag, boundary=STRICT):
    """SEV_FEATURES; all other bits are reserved."""

    SNP_ACTIVE = 1 << 0
    VTOM = 1 << 1
    REFLECT_VC = 1 << 2
    RESTRICTED_INJECTION = 1 << 3
    ALTERNATE_INJECTION = 1 << 4
    DEBUG_VIRTUALIZATION = 1 << 5
    PREVENT_HOST_IBS = 1 << 6
    BTB_ISOLATION = 1 << 7
    VMPL_SSS = 1 << 8
    SECURE_TSC = 1 << 9
    VMGEXIT_PARAMETER = 1 << 10
    PMC_VIRTUALIZATION = 1 << 11
    IBS_VIRTUALIZATION = 1 << 12
    VMSA_REG_PROT = 1 << 14
    SMT_PROTECTION = 1 << 15
    SECURE_AVIC = 1 << 16
    IBPB_ON_ENTRY = 1 << 21


SIMULATED_FEATURES = SevFeature.SNP_ACTIVE
"""The features of the simulated processor. SIMULATED: real ones have most of the others, depending on their generation.
"""

_WITH_ES = SevFeature.DEBUG_VIRTUALIZATION
"""The one feature that SEV-ES guests may have without SEV-SNP (KVM: SEV_VMSA_DEBUG_SWAP)."""


def check_features(value: int, *, snp: bool, supported: int | None = None) -> SevFeature:
    """The features that ``value`` turns on.

    Args:
        value: 64 bits.
        snp: whether the guest is one of SEV-SNP, and not of SEV-ES.
        supported: what the processor has; None: what any has.

    Raises:
        WireError: reserved or unsupported bits, or bits that exclude each other.
    """
    try:
        features = SevFeature(value)
    except ValueError:
        known = sum(SevFeature)
        raise WireError(
            "SEV_FEATURES", got=f"{value:#x}", want=f"bits of {known:#x} alone: others are reserved"
        ) from None
    if snp and SevFeature.SNP_ACTIVE not in features:
        raise WireError("SEV_FEATURES", got=f"{value:#x}", want="bit 0 (SNPActive): a guest of SEV-SNP has it")
    if not snp and features & ~_WITH_ES:
        raise WireError("SEV_FEATURES", got=f"{value:#x}", want="no feature of SEV-SNP in a guest of SEV or SEV-ES")
    both = SevFeature.RESTRICTED_INJECTION | SevFeature.ALTERNATE_INJECTION
    if features & both == both:
        raise WireError(
            "SEV_FEATURES",
            got=f"{value:#x}",
            want="RestrictedInjection (bit 3) or AlternateInjection (bit 4), not both",
        )
    if supported is not None and features & ~supported:
        raise WireError(
            "SEV_FEATURES", got=f"{value:#x}", want=f"bits of {supported:#x} alone: this processor has no others"
        )
    return features
