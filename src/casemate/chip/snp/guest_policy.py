"""What a guest's policy demands, and whether this platform has it (AMD 56860, 4.3 Guest Policy)."""

from casemate.chip.snp.errors import FirmwareError, FirmwareStatus
from casemate.wire.snp.report import GuestPolicy
from casemate.wire.snp.tcb import Product

_ABI_MASK = 0xFFFF
_UNMET = {
    GuestPolicy.RAPL_DIS: "RAPL is not turned off here",
    GuestPolicy.CIPHERTEXT_HIDING_DRAM: "DRAM is a file of the host's: whoever likes reads ciphertext",
}
"""Demands that this platform never meets. The others it always does: one socket, no CXL, no page is ever swapped, no
migration agent; AES-256-XTS from Genoa on."""


def check_policy(policy: int, *, product: Product, api_major: int, api_minor: int) -> None:
    """Whether a guest with ``policy`` may be launched on this processor by a firmware of this version.

    Raises:
        FirmwareError: INVALID_PARAM: reserved bits. POLICY_FAILURE: the platform is not what the policy demands.
    """
    try:
        flags = GuestPolicy(policy & ~_ABI_MASK)
    except ValueError:
        raise FirmwareError(
            FirmwareStatus.INVALID_PARAM, f"policy {policy:#x} has bits that this firmware does not know"
        ) from None
    if GuestPolicy.RESERVED_ONE not in flags:
        raise FirmwareError(FirmwareStatus.INVALID_PARAM, f"policy {policy:#x}: bit 17 must be one")
    wanted = (policy >> 8 & 0xFF, policy & 0xFF)
    if wanted > (api_major, api_minor):
        raise FirmwareError(
            FirmwareStatus.POLICY_FAILURE,
            f"the policy wants firmware of interface {wanted[0]}.{wanted[1]}, this is {api_major}.{api_minor}",
        )
    if GuestPolicy.SMT not in flags:
        raise FirmwareError(
            FirmwareStatus.POLICY_FAILURE, f"policy {policy:#x} forbids SMT (bit 16 is zero), and SMT is on here"
        )
    if GuestPolicy.MEM_AES_256_XTS in flags and product is Product.MILAN:
        raise FirmwareError(
            FirmwareStatus.POLICY_FAILURE, "the policy demands MEM_AES_256_XTS: a Milan encrypts with AES-128-XTS"
        )
    for flag, reason in _UNMET.items():
        if flag in flags:
            raise FirmwareError(FirmwareStatus.POLICY_FAILURE, f"the policy demands {flag.name}: {reason}")
