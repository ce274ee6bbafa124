"""A machine's endorsements for its attestation reports: certificates and a revocation list, as JSON."""

import base64
import binascii
from dataclasses import dataclass
from typing import Self

from casemate.wire.encodings.fields import without_trailing_zeros
from casemate.wire.encodings.json_object import parse_object
from casemate.wire.encodings.json_text import encode_json
from casemate.wire.encodings.pem import encode_chain, parse_chain
from casemate.wire.errors import WireError

MAX_ENDORSEMENTS = 1024 * 1024
"""Longest document (bytes): AMD's revocation lists have some hundred entries."""


@dataclass(frozen=True, slots=True)
class CertifiedKey:
    """The key that signs a platform's reports, as its maker certifies it; unverified.

    As JSON: ``certificates`` is PEM, the VCEK's or VLEK's first, then its issuer's (ASK, ASVK), then the root's (ARK);
    ``revocation_list`` is the root's, DER in base64, or null.
    """

    certificates: tuple[bytes, ...]
    """DER, in that order."""
    revocation_list: bytes | None
    """DER."""

    @classmethod
    def of(cls, pem: bytes, revocation_list: bytes | None) -> Self:
        """Parses the certificates and the list that chip and maker gave; :class:`WireError` if they are malformed."""
        return cls(tuple(found.der for found in parse_chain("certificates", pem)), revocation_list)

    @classmethod
    def parse(cls, data: bytes) -> Self:
        """Parses JSON from any source."""
        body = parse_object("endorsements", without_trailing_zeros(data), limit=MAX_ENDORSEMENTS)
        body.only("certificates", "revocation_list")
        listed = None
        if body.has("revocation_list"):
            try:
                listed = base64.b64decode(body.text("revocation_list"), validate=True)
            except (binascii.Error, ValueError):
                raise WireError("endorsements.revocation_list", got="other text", want="base64") from None
        return cls.of(body.text("certificates").encode(), listed)

    def encode(self) -> bytes:
        listed = self.revocation_list
        return encode_json(
            {
                "certificates": encode_chain(*self.certificates).decode(),
                "revocation_list": None if listed is None else base64.b64encode(listed).decode(),
            }
        )
