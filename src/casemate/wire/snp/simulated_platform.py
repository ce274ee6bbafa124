"""The simulated SEV-SNP processors: the firmware that they leave the factory with, and their CPUID values."""

from dataclasses import dataclass, replace

from casemate.wire.snp.tcb import Product, TcbVersion

VCEK_NAME = "SEV-VCEK"
VLEK_NAME = "SEV-VLEK"
"""Common names of the keys' certificates (AMD 57230, table 8)."""

CHIP_ID_SIZE = 64
HW_ID_SIZES = {Product.MILAN: 64, Product.GENOA: 64, Product.TURIN: 8}
"""Bytes of a chip's id that are in its VCEK's certificate; zeros follow them in reports."""


@dataclass(frozen=True, slots=True)
class Firmware:
    """One firmware: its security versions, and the version of its interface."""

    tcb: TcbVersion
    major: int
    minor: int
    build: int


@dataclass(frozen=True, slots=True)
class Cpuid:
    """CPUID Fn0000_0001, as reports contain it."""

    family: int
    model: int
    stepping: int


FIRST_FIRMWARE = {
    Product.MILAN: Firmware(TcbVersion(Product.MILAN, 4, 0, 24, 219), 1, 55, 29),
    Product.GENOA: Firmware(TcbVersion(Product.GENOA, 10, 0, 24, 84), 1, 55, 39),
    Product.TURIN: Firmware(TcbVersion(Product.TURIN, 1, 1, 4, 72, fmc=1), 1, 58, 11),
}
"""The firmware of a new chip, and the first level that a new maker has published."""

CPUIDS = {
    Product.MILAN: Cpuid(0x19, 0x01, 1),
    Product.GENOA: Cpuid(0x19, 0x11, 1),
    Product.TURIN: Cpuid(0x1A, 0x02, 1),
}

MITIGATIONS = 0
"""CURRENT_MIT_VECTOR of the simulated platforms: they claim none of the mitigations that AMD numbers."""

ABI_WITH_VERSION_5 = 58
"""ABI 1.58 writes reports of version 5 and takes MSG_KEY_REQ of version 2; 1.57 does neither."""


def of_abi(firmware: Firmware, report_version: int) -> Firmware:
    """The firmware of a chip that writes reports of this version."""
    with_5, minor = report_version >= 5, firmware.minor
    minor = max(minor, ABI_WITH_VERSION_5) if with_5 else min(minor, ABI_WITH_VERSION_5 - 1)
    return replace(firmware, minor=minor)


REPORT_VERSIONS = {Product.MILAN: (3, 2, 5), Product.GENOA: (3, 2, 5), Product.TURIN: (5, 3)}
"""The versions of ATTESTATION_REPORT that their firmware can write, the usual one first. Version 2 does not name the
processor."""
