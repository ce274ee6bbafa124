"""The virtual machine monitors (VMMs) whose launches can be measured, and the CPU models that QEMU offers.

Both decide the vCPUs' registers at reset, which are measured: QEMU puts the CPU's signature into RDX.
"""

from enum import StrEnum


class Vmm(StrEnum):
    """The program that launches the guest."""

    QEMU = "qemu"
    EC2 = "ec2"
    GCE = "gce"


def signature(family: int, model: int, stepping: int) -> int:
    """CPUID Fn0000_0001_EAX of a processor.

    Args:
        family: 0 to 270: base and extended family together.
        model: 0 to 255.
        stepping: 0 to 15.

    Source: AMD 25481, "CPUID Fn0000_0001_EAX Family, Model, Stepping Identifiers".
    """
    base, extended = (0xF, family - 0xF) if family > 0xF else (family, 0)
    return extended << 20 | (model >> 4) << 16 | base << 8 | (model & 0xF) << 4 | stepping


VCPU_TYPES = {
    **dict.fromkeys(("EPYC", "EPYC-v1", "EPYC-v2", "EPYC-IBPB", "EPYC-v3", "EPYC-v4"), signature(23, 1, 2)),
    **dict.fromkeys(("EPYC-Rome", "EPYC-Rome-v1", "EPYC-Rome-v2", "EPYC-Rome-v3"), signature(23, 49, 0)),
    **dict.fromkeys(("EPYC-Milan", "EPYC-Milan-v1", "EPYC-Milan-v2"), signature(25, 1, 1)),
    **dict.fromkeys(("EPYC-Genoa", "EPYC-Genoa-v1"), signature(25, 17, 0)),
    "EPYC-Turin": signature(26, 0, 0),
}
"""Signatures by the names of QEMU's CPU models."""
