"""ECREATE's rules for SECS beyond the address range: attributes, processor state, and the room to save it.

Sources: Intel SDM vol. 3D, ECREATE (operation and faults). For the chip, and for tools that measure an image before it
is launched.
"""

from casemate.wire.errors import WireError
from casemate.wire.sgx.attributes import AttributeFlag, Attributes, CetAttributes, MiscSelect
from casemate.wire.sgx.xsave import check_xfrm, ssa_frame_pages

SUPPORTED_XFRM = 0x6_02E7
"""x87, SSE, AVX, AVX-512, PKRU, AMX: what a current server's XCR0 offers."""

SUPPORTED_ATTRIBUTES = (
    AttributeFlag.DEBUG
    | AttributeFlag.MODE64BIT
    | AttributeFlag.PROVISIONKEY
    | AttributeFlag.EINITTOKEN_KEY
    | AttributeFlag.KSS
)
"""CPUID.(EAX=12H,ECX=1). SIMULATED: enclaves have no TCS, so this processor has neither CET nor AEX-Notify in them."""
SUPPORTED_MISC = MiscSelect.EXINFO
"""CPUID.(EAX=12H,ECX=0):EBX."""


def check_secs(
    attributes: Attributes, misc_select: MiscSelect, cet_attributes: CetAttributes, *, ssa_frame_size: int
) -> None:
    """Refuses attributes for which ECREATE of the simulated processor raises #GP(0).

    Args:
        attributes: SECS.ATTRIBUTES.
        misc_select: SECS.MISCSELECT.
        cet_attributes: SECS.CET_ATTRIBUTES.
        ssa_frame_size: SECS.SSAFRAMESIZE, pages.

    Raises:
        WireError: the processor lacks these attributes, or not all fit together, or not in frames of that size.
    """
    if AttributeFlag.INIT in attributes.flags:
        raise WireError("SECS", got="ATTRIBUTES.INIT set", want="it clear: EINIT sets it")
    if AttributeFlag.MODE64BIT not in attributes.flags:
        raise WireError("SECS", got="ATTRIBUTES.MODE64BIT clear", want="a 64-bit enclave")
    if unknown := attributes.flags & ~SUPPORTED_ATTRIBUTES:
        raise WireError(
            "SECS",
            got=f"ATTRIBUTES {attributes.flags:#x}",
            want=f"bits of {SUPPORTED_ATTRIBUTES:#x} alone: this processor has no {unknown.name}",
        )
    if misc_select & ~SUPPORTED_MISC:
        raise WireError("SECS", got=f"MISCSELECT {misc_select:#x}", want=f"bits of {SUPPORTED_MISC:#x} alone")
    if cet_attributes:  # ATTRIBUTES.CET is clear
        raise WireError("SECS", got=f"CET_ATTRIBUTES {cet_attributes:#x}", want="zero without ATTRIBUTES.CET")
    try:
        state = check_xfrm(attributes.xfrm, supported=SUPPORTED_XFRM)
    except WireError as error:
        raise WireError("SECS", got=f"XFRM {error.got}", want=error.want) from None
    least = ssa_frame_pages(state, misc_select, cet=False)
    if ssa_frame_size < least:
        raise WireError(
            "SECS",
            got=f"SSAFRAMESIZE {ssa_frame_size}",
            want=f"at least {least} pages for XFRM {attributes.xfrm:#x}, MISCSELECT {misc_select:#x}",
        )
