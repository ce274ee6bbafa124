"""Collateral: the chip maker's endorsements of the platform that made a quote.

The JSON form is dcap-qvl's QuoteCollateralV3, with the fields of Intel's sgx_ql_qve_collateral_t: certificate chains in
PEM, CRLs and signatures in hexadecimal, TCB info and QE identity as strings that hold the exact signed bytes.
"""

from dataclasses import dataclass
from typing import Self

from casemate.wire.encodings.fields import without_trailing_zeros
from casemate.wire.encodings.json_object import parse_object
from casemate.wire.encodings.json_text import encode_json

MAX_COLLATERAL = 1024 * 1024
"""Longest collateral (bytes of JSON); real ones take 14 to 20 KiB."""

SIGNATURE_SIZE = 64
"""ECDSA P-256, raw R || S, big-endian."""


@dataclass(frozen=True, slots=True)
class Collateral:
    """Endorsements of one platform; unverified."""

    pck_crl_issuer_chain: bytes
    """PEM: PCK CA, root."""
    root_ca_crl: bytes
    """DER."""
    pck_crl: bytes
    """DER."""
    tcb_info_issuer_chain: bytes
    """PEM: TCB signing, root."""
    tcb_info: bytes
    """The exact signed bytes."""
    tcb_info_signature: bytes
    qe_identity_issuer_chain: bytes
    """PEM: TCB signing, root."""
    qe_identity: bytes
    """The exact signed bytes."""
    qe_identity_signature: bytes
    pck_certificate_chain: bytes | None
    """PEM; some sources add it for quotes that have no certificates of their own."""

    @classmethod
    def parse(cls, data: bytes) -> Self:
        """Parses JSON. Ignores unknown members: the object itself is not signed, and the signed parts are known."""
        body = parse_object("collateral", without_trailing_zeros(data), limit=MAX_COLLATERAL)
        return cls(
            pck_crl_issuer_chain=body.text("pck_crl_issuer_chain").encode(),
            root_ca_crl=body.hexadecimal("root_ca_crl"),
            pck_crl=body.hexadecimal("pck_crl"),
            tcb_info_issuer_chain=body.text("tcb_info_issuer_chain").encode(),
            tcb_info=body.text("tcb_info").encode(),
            tcb_info_signature=body.hexadecimal("tcb_info_signature", SIGNATURE_SIZE),
            qe_identity_issuer_chain=body.text("qe_identity_issuer_chain").encode(),
            qe_identity=body.text("qe_identity").encode(),
            qe_identity_signature=body.hexadecimal("qe_identity_signature", SIGNATURE_SIZE),
            pck_certificate_chain=body.text("pck_certificate_chain").encode()
            if body.has("pck_certificate_chain")
            else None,
        )

    def encode(self) -> bytes:
        """Encodes JSON as Casemate writes it. Another writer's spacing is lost; the signed strings are kept exactly."""
        members = {
            "pck_crl_issuer_chain": self.pck_crl_issuer_chain.decode(),
            "root_ca_crl": self.root_ca_crl.hex(),
            "pck_crl": self.pck_crl.hex(),
            "tcb_info_issuer_chain": self.tcb_info_issuer_chain.decode(),
            "tcb_info": self.tcb_info.decode(),
            "tcb_info_signature": self.tcb_info_signature.hex(),
            "qe_identity_issuer_chain": self.qe_identity_issuer_chain.decode(),
            "qe_identity": self.qe_identity.decode(),
            "qe_identity_signature": self.qe_identity_signature.hex(),
        }
        if self.pck_certificate_chain is not None:
            members["pck_certificate_chain"] = self.pck_certificate_chain.decode()
        return encode_json(members)
