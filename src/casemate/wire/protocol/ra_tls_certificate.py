"""Parses a certificate that carries evidence: as much of X.509 as RA-TLS needs (RFC 5280, section 4.1).

General parsers refuse some certificates that exist: those that Gramine makes with older mbedTLS name ECDSA with a NULL
parameter, which RFC 5758, section 3.2, forbids. It is accepted here. Everything is unverified.
"""

from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Self

from casemate.wire.encodings import der
from casemate.wire.encodings.der import DerReader
from casemate.wire.errors import WireError
from casemate.wire.protocol.ra_tls import EVIDENCE_OID, GRAMINE_OID, LEGACY_OID

MAX_CERTIFICATE = 64 * 1024
"""Longest certificate (bytes of DER): one with two quotes has 10 KiB."""

_MAX_EXTENSIONS = 32
_EXPLICIT_0, _EXPLICIT_3 = 0xA0, 0xA3
_VERSION_3 = 2
_MAX_SERIAL = (1 << 160) - 1
_CENTURY = 50
"""Two-digit years below this belong to the 21st century (RFC 5280, section 4.1.2.5.1)."""

ECDSA_WITH_SHA256, ECDSA_WITH_SHA384, ECDSA_WITH_SHA512 = (f"1.2.840.10045.4.3.{last}" for last in (2, 3, 4))
_SIGNATURES = {der.oid_contents(oid): oid for oid in (ECDSA_WITH_SHA256, ECDSA_WITH_SHA384, ECDSA_WITH_SHA512)}

_UNDERSTOOD = {der.oid_contents(oid) for oid in ("2.5.29.15", "2.5.29.19")}
"""keyUsage and basicConstraints may be critical: they limit what a key signs, and this key signs handshakes only."""


@dataclass(frozen=True, slots=True)
class RaTlsCertificate:
    """The parts of a certificate; ``der`` is all of it."""

    der: bytes
    signed: bytes
    """TBSCertificate."""
    signature_algorithm: str
    """Dotted OID, one of the three above."""
    signature: bytes
    """ECDSA-Sig-Value in DER."""
    not_before: datetime
    not_after: datetime
    public_key: bytes
    """SubjectPublicKeyInfo in DER, byte for byte as it stands there."""
    evidence: bytes | None
    """The value of the tagged evidence extension."""
    legacy_quote: bytes | None
    """The value of the legacy extension, under either of its OIDs."""

    @classmethod
    def parse(cls, data: bytes) -> Self:
        if len(data) > MAX_CERTIFICATE:
            raise WireError("certificate", got=f"{len(data)} bytes", want=f"at most {MAX_CERTIFICATE}")
        outer = DerReader("certificate", data)
        whole = outer.inside("Certificate")
        outer.end()
        signed = whole.whole("tbsCertificate", der.SEQUENCE)
        algorithm = _algorithm(whole, "signatureAlgorithm")
        signature = whole.contents("signatureValue", der.BIT_STRING)
        whole.end()
        if not signature.startswith(b"\x00"):
            raise WireError("certificate.signatureValue", got="unused bits", want="whole bytes")

        tbs = DerReader("certificate", signed).inside("tbsCertificate")
        version = DerReader("certificate.version", tbs.contents("version", _EXPLICIT_0))
        version.uint("version", _VERSION_3)
        version.end()
        tbs.uint("serialNumber", _MAX_SERIAL)
        if _algorithm(tbs, "signature") != algorithm:
            raise WireError("certificate.signature", got="another algorithm inside", want="that of the signature")
        tbs.whole("issuer", der.SEQUENCE)
        validity = tbs.inside("validity")
        not_before, not_after = _time(validity, "notBefore"), _time(validity, "notAfter")
        validity.end()
        tbs.whole("subject", der.SEQUENCE)
        public_key = tbs.whole("subjectPublicKeyInfo", der.SEQUENCE)
        found = _extensions(tbs)
        tbs.end()
        return cls(
            der=data,
            signed=signed,
            signature_algorithm=algorithm,
            signature=signature[1:],
            not_before=not_before,
            not_after=not_after,
            public_key=public_key,
            evidence=found.get(der.oid_contents(EVIDENCE_OID)),
            legacy_quote=found.get(der.oid_contents(LEGACY_OID), found.get(der.oid_contents(GRAMINE_OID))),
        )


def _algorithm(reader: DerReader, field: str) -> str:
    inside = reader.inside(field)
    name = inside.contents("algorithm", der.OBJECT_IDENTIFIER)
    if inside.next_tag() == der.NULL:
        inside.contents("parameters", der.NULL)
    inside.end()
    if name not in _SIGNATURES:
        raise WireError(f"certificate.{field}", got=f"OID {name[:32].hex()}", want="ECDSA with SHA-256, 384 or 512")
    return _SIGNATURES[name]


def _time(reader: DerReader, field: str) -> datetime:
    """RFC 5280, section 4.1.2.5: UTCTime, or GeneralizedTime from 2050 on; in Zulu, to the second."""
    tag = der.GENERALIZED_TIME if reader.next_tag() == der.GENERALIZED_TIME else der.UTC_TIME
    raw = reader.contents(field, tag)
    digits = raw[:-1]
    if tag == der.UTC_TIME and digits[:2].isdigit():
        digits = (b"20" if int(digits[:2]) < _CENTURY else b"19") + digits
    try:
        if not (raw.endswith(b"Z") and digits.isdigit()):
            raise ValueError
        return datetime.strptime(digits.decode("ascii"), "%Y%m%d%H%M%S").replace(tzinfo=UTC)
    except ValueError:
        want = "YYMMDDHHMMSSZ or YYYYMMDDHHMMSSZ"
        raise WireError(f"certificate.{field}", got=repr(raw[:32]), want=want) from None


def _extensions(tbs: DerReader) -> dict[bytes, bytes]:
    """Values by the contents of their OIDs. Each may occur once, and no unknown one may be critical."""
    if tbs.next_tag() is None:
        return {}
    outer = DerReader("certificate.extensions", tbs.contents("extensions", _EXPLICIT_3))
    listed = outer.inside("extensions")
    outer.end()
    found: dict[bytes, bytes] = {}
    while listed.remaining:
        if len(found) == _MAX_EXTENSIONS:
            raise WireError("certificate.extensions", got="more", want=f"at most {_MAX_EXTENSIONS}")
        extension = listed.inside("extension")
        oid = extension.contents("extnID", der.OBJECT_IDENTIFIER)
        critical = extension.next_tag() == der.BOOLEAN and extension.boolean("critical")
        value = extension.contents("extnValue", der.OCTET_STRING)
        extension.end()
        if oid in found:
            raise WireError("certificate.extensions", got=f"OID {oid[:32].hex()} twice", want="each once")
        if critical and oid not in _UNDERSTOOD:
            raise WireError("certificate.extensions", got=f"OID {oid[:32].hex()}, critical", want="none unknown")
        found[oid] = value
    return found
