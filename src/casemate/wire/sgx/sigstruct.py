"""SIGSTRUCT: the developer's signature over an enclave's measurement, and its arithmetic.

All integers are little-endian, RSA's too. Private keys and signing are in `images`.
"""

import hashlib
from dataclasses import dataclass
from datetime import date
from typing import ClassVar, Self

from casemate.wire.encodings.spans import Layout, constant, nested, number, raw, zeros
from casemate.wire.errors import WireError
from casemate.wire.sgx.attributes import AttributeMask, Attributes, CetAttributes, MiscSelect

SIGSTRUCT_SIZE = 1808
KEY_SIZE = 384
"""Bytes of an RSA-3072 number."""
EXPONENT = 3

VENDOR_OTHERS = 0
VENDOR_INTEL = 0x8086

_SIGNED_HEAD = slice(0, 128)
_SIGNED_BODY = slice(900, 1028)


def _vendor(number: int) -> int:
    """EINIT accepts two vendors only (SDM, operation of EINIT)."""
    if number not in (VENDOR_OTHERS, VENDOR_INTEL):
        raise ValueError
    return number


@dataclass(frozen=True, slots=True)
class Sigstruct:
    """SIGSTRUCT, 1808 bytes."""

    LAYOUT: ClassVar[Layout] = Layout(
        "SIGSTRUCT",
        "Intel SDM vol. 3D, 38.13 SIGSTRUCT",
        (
            constant(0, "header", bytes.fromhex("06000000e10000000000010000000000")),
            number(16, 4, "vendor", _vendor),
            number(20, 4, "date", show=lambda run: run[::-1].hex()),
            constant(24, "header2", bytes.fromhex("01010000600000006000000001000000")),
            number(40, 4, "sw_defined"),
            zeros(44, 84),
            raw(128, KEY_SIZE, "modulus"),
            constant(512, "exponent", EXPONENT.to_bytes(4, "little")),
            raw(516, KEY_SIZE, "signature"),
            number(900, 4, "misc_select", MiscSelect),
            number(904, 4, "misc_mask"),
            number(908, 1, "cet_attributes", CetAttributes),
            number(909, 1, "cet_attributes_mask"),
            zeros(910, 2),
            raw(912, 16, "isv_family_id"),
            nested(928, "attributes", Attributes),
            nested(944, "attribute_mask", AttributeMask),
            raw(960, 32, "enclave_hash"),
            zeros(992, 16),
            raw(1008, 16, "isv_ext_prod_id"),
            number(1024, 2, "isv_prod_id"),
            number(1026, 2, "isv_svn"),
            zeros(1028, 12),
            raw(1040, KEY_SIZE, "q1"),
            raw(1424, KEY_SIZE, "q2"),
        ),
    )

    vendor: int
    date: int
    """Build date, yyyymmdd as binary-coded decimal; see :func:`bcd_date`. The processor does not check it."""
    sw_defined: int
    modulus: bytes
    signature: bytes
    misc_select: MiscSelect
    misc_mask: int
    cet_attributes: CetAttributes
    cet_attributes_mask: int
    isv_family_id: bytes
    attributes: Attributes
    """What the enclave's ATTRIBUTES must be, where ``attribute_mask`` has ones."""
    attribute_mask: AttributeMask
    enclave_hash: bytes
    """The MRENCLAVE that is signed."""
    isv_ext_prod_id: bytes
    isv_prod_id: int
    isv_svn: int
    q1: bytes
    q2: bytes

    @classmethod
    def parse(cls, data: bytes) -> Self:
        """From 1808 bytes. Says nothing about the signature, Q1 or Q2."""
        return cls(**cls.LAYOUT.parse(data))

    def encode(self) -> bytes:
        return self.LAYOUT.encode(self)

    def signed_bytes(self) -> bytes:
        """The 256 bytes under the signature: 0..127 and 900..1027."""
        data = self.encode()
        return data[_SIGNED_HEAD] + data[_SIGNED_BODY]

    def mr_signer(self) -> bytes:
        """MRSIGNER: SHA-256 of the modulus, little-endian."""
        return hashlib.sha256(self.modulus).digest()

    def check_q1_q2(self) -> None:
        """Refuses Q1 and Q2 that do not belong to the signature and modulus."""
        modulus, signature = int.from_bytes(self.modulus, "little"), int.from_bytes(self.signature, "little")
        if not signature < modulus:
            raise WireError("SIGSTRUCT.signature", got="a number not below the modulus", want="one below it")
        q1, q2 = compute_q1_q2(modulus, signature)
        for name, got, want in (("q1", self.q1, q1), ("q2", self.q2, q2)):
            if got != want:
                raise WireError(f"SIGSTRUCT.{name}", got=got[-8:].hex(), want=f"{want[-8:].hex()} (its last 8 bytes)")


def compute_q1_q2(modulus: int, signature: int) -> tuple[bytes, bytes]:
    """Q1 and Q2 of SIGSTRUCT: quotients that save the processor long divisions.

    Q1 = floor(S^2 / M); Q2 = floor((S^3 - Q1*S*M) / M), for a signature S below the modulus M.
    """
    q1 = signature * signature // modulus
    q2 = signature * (signature * signature - q1 * modulus) // modulus
    return q1.to_bytes(KEY_SIZE, "little"), q2.to_bytes(KEY_SIZE, "little")


def bcd_date(day: date) -> int:
    """A day as binary-coded decimal, for SIGSTRUCT.DATE: 0x20240229 for 29 February 2024."""
    return int(f"{day.year:04}{day.month:02}{day.day:02}", 16)
