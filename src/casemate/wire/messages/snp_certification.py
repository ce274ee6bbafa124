"""Chip to supervisor, and back, for SEV-SNP: on the link of :mod:`casemate.wire.messages.supervisor`.

The chip may ask ``CertifyVcek`` or ``GiveVlek`` at any time, one question at a time (``Certify`` is another). The
supervisor answers after it has run the maker. It asks ``UpdateFirmware`` in turn with its other questions. Nothing on
the link is secret: a VLEK is sealed to the chip that asked.
"""

from dataclasses import dataclass
from typing import Annotated

from casemate.wire.encodings.message import U8, Bytes32, Fixed, Limit, message
from casemate.wire.messages.supervisor import MAX_CHAIN
from casemate.wire.snp.tcb import Product
from casemate.wire.snp.vlek import MAX_CSP_ID

TAGS = range(0x8A, 0x90)
"""The tags of the messages in this file."""

MAX_PUBLISHED = 16
"""Most products that firmware is published for."""

VCEK_SIZE = 97
"""Bytes of an uncompressed P-384 point."""

HwId = Annotated[bytes, Limit(64)]
"""Names the chip, at every TCB: 64 bytes, on Turin 8."""
Tcb = Annotated[bytes, Fixed(8)]


@message(0x8A)
@dataclass(frozen=True, slots=True)
class CertifyVcek:
    """Asks for a certificate of this chip's VCEK at this TCB. Reply: ``VcekCertified`` or ``Fault``."""

    product: Product
    public_key: Annotated[bytes, Fixed(VCEK_SIZE)]
    """A different key at each TCB."""
    hw_id: HwId
    tcb: Tcb
    seeded: bool
    """The fuses are derived from a public seed, which the certificate has to say."""


@message(0x8B)
@dataclass(frozen=True, slots=True)
class VcekCertified:
    """The VCEK's certificate and its issuers. The host has the root's revocation list by now."""

    chain: Annotated[bytes, Limit(MAX_CHAIN)]
    """PEM: VCEK, ASK, ARK."""


@message(0x8C)
@dataclass(frozen=True, slots=True)
class GiveVlek:
    """Asks for the VLEK of a cloud provider at this TCB. Reply: ``VlekGiven`` or ``Fault``."""

    product: Product
    tcb: Tcb
    csp_id: Annotated[str, Limit(MAX_CSP_ID)]
    wrapping_key: Bytes32
    """X25519, new for each request: the VLEK is sealed to it."""


@message(0x8D)
@dataclass(frozen=True, slots=True)
class VlekGiven:
    """The VLEK for this chip alone, its certificate and the issuers."""

    chain: Annotated[bytes, Limit(MAX_CHAIN)]
    """PEM: VLEK, ASVK, ARK."""
    wrapped_key: Annotated[bytes, Limit(256)]
    """HPKE (RFC 9180), with ``wire.snp.vlek`` as info."""


@dataclass(frozen=True, slots=True)
class PublishedFirmware:
    """Firmware that the maker has published for a product."""

    product: Product
    tcb: Tcb
    major: U8
    minor: U8
    build: U8


@message(0x8E)
@dataclass(frozen=True, slots=True)
class UpdateFirmware:
    """DOWNLOAD_FIRMWARE_EX: run the firmware that is published for this product. Reply: ``FirmwareIs`` or ``Fault``."""

    published: Annotated[tuple[PublishedFirmware, ...], Limit(MAX_PUBLISHED)]
    """The newest of each product; empty where the chip is only asked for its state."""
    commit: bool
    """Then SNP_COMMIT; otherwise the firmware is provisional, and not reported, until the host commits it."""


@message(0x8F)
@dataclass(frozen=True, slots=True)
class FirmwareIs:
    """The current state of the SEV-SNP platform."""

    product: Product
    hw_id: HwId
    current_tcb: Tcb
    reported_tcb: Tcb
