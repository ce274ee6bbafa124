"""The verifier's only use of cryptographic code: parses certificates and CRLs, checks ECDSA signatures.

Results that do not depend on the time are cached, in bounded caches keyed by the bytes themselves. Verifying again with
the same collateral therefore costs only the quote's own two signatures. Callers check validity periods every time.
"""

import hashlib
from dataclasses import dataclass
from datetime import datetime
from functools import lru_cache

from cryptography import x509
from cryptography.exceptions import InvalidSignature, UnsupportedAlgorithm
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.asymmetric.utils import encode_dss_signature
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat, load_der_public_key
from cryptography.x509.oid import SignatureAlgorithmOID

from casemate.wire.encodings import der
from casemate.wire.encodings.x509 import (
    CRL_SIGN,
    DIGITAL_SIGNATURE,
    EC_PUBLIC_KEY,
    KEY_CERT_SIGN,
    UNDERSTOOD,
    CertificateParts,
    RevocationListParts,
)
from casemate.wire.errors import WireError
from casemate.wire.protocol.simulated_mark import SIMULATED_OIDS
from casemate.wire.sgx.pck import SGX_EXTENSION_OID

_REMEMBERED = 256
"""Most cached certificates, keys and signatures: enough for the collateral of a few dozen makers."""

_REMEMBERED_DOCUMENTS = 32
_REMEMBERED_LISTS = 16
"""Most cached documents and revocation lists. They can be long: an attacker's can fill at most some 16 MiB."""

_COORDINATE_SIZE = 32
_ECDSA = ec.ECDSA(hashes.SHA256())

_ECDSA_SHA256 = der.element(der.SEQUENCE, der.oid(SignatureAlgorithmOID.ECDSA_WITH_SHA256.dotted_string))
_ECDSA_HASHES: dict[str, hashes.HashAlgorithm] = {
    SignatureAlgorithmOID.ECDSA_WITH_SHA256.dotted_string: hashes.SHA256(),
    SignatureAlgorithmOID.ECDSA_WITH_SHA384.dotted_string: hashes.SHA384(),
    SignatureAlgorithmOID.ECDSA_WITH_SHA512.dotted_string: hashes.SHA512(),
}

_PARSER_ERRORS = (
    ValueError,
    TypeError,
    OverflowError,
    UnsupportedAlgorithm,
    x509.InvalidVersion,
    x509.DuplicateExtension,
    x509.UnsupportedGeneralNameType,
    Warning,
)
"""Exceptions of the X.509 parser on malformed input (a warning where the process turns warnings into errors)."""


@dataclass(frozen=True, slots=True)
class Certificate:
    """A parsed certificate; unverified."""

    der: bytes
    sha256: bytes
    key_sha256: bytes
    """Hash of SubjectPublicKeyInfo in DER; empty if the parser does not support the kind of key."""
    subject: bytes
    """The subject's name in DER."""
    issuer: bytes
    common_name: str
    serial: int
    not_before: datetime
    not_after: datetime
    point: bytes | None
    """The public key as an uncompressed point; None if it is not a P-256 key."""
    ecdsa_sha256: bool
    """True if the certificate is signed with ECDSA and SHA-256."""
    signed: bytes
    signature: bytes
    """The signature in DER."""
    is_ca: bool
    path_length: int | None
    signs_data: bool
    signs_certificates: bool
    signs_crls: bool
    unknown_critical: tuple[str, ...]
    """OIDs of critical extensions that this verifier does not apply."""
    pck_extension: bytes | None
    simulated_extension: bytes | None


@dataclass(frozen=True, slots=True)
class RevocationList:
    """A parsed CRL; unverified."""

    issuer: bytes
    this_update: datetime
    next_update: datetime
    serials: frozenset[int]
    number: int | None
    """cRLNumber; None where it has none."""
    ecdsa_sha256: bool
    signed: bytes
    signature: bytes


@lru_cache(maxsize=_REMEMBERED)
def parse_certificate(data: bytes) -> Certificate:
    """An X.509 certificate."""
    try:
        return _parse_certificate(data)
    except _PARSER_ERRORS as error:
        raise WireError("certificate", got=_complaint(error), want="an X.509 certificate in DER") from None


@lru_cache(maxsize=_REMEMBERED_LISTS)
def parse_revocation_list(data: bytes) -> RevocationList:
    """Parses a CRL; refuses one that does not cover all of its issuer's certificates."""
    try:
        return _parse_revocation_list(data)
    except _PARSER_ERRORS as error:
        raise WireError("revocation list", got=_complaint(error), want="an X.509 CRL in DER") from None


@lru_cache(maxsize=_REMEMBERED)
def certificate_issued_by(point: bytes, signature: bytes, signed: bytes) -> bool:
    """True if the key signed the certificate; cached."""
    return _holds(point, signature, signed)


@lru_cache(maxsize=_REMEMBERED_LISTS)
def list_issued_by(point: bytes, signature: bytes, signed: bytes) -> bool:
    """True if the key signed the revocation list; cached."""
    return _holds(point, signature, signed)


@lru_cache(maxsize=_REMEMBERED_DOCUMENTS)
def document_signed_by(point: bytes, signature: bytes, signed: bytes) -> bool:
    """True if the key made the raw signature (R || S) over a document; cached."""
    return signed_by(point, signature, signed)


def signed_by(point: bytes, signature: bytes, signed: bytes) -> bool:
    """True if the key made the raw signature (R || S, 64 bytes); never cached."""
    if len(signature) != 2 * _COORDINATE_SIZE:
        return False
    r, s = signature[:_COORDINATE_SIZE], signature[_COORDINATE_SIZE:]
    return _holds(point, encode_dss_signature(int.from_bytes(r, "big"), int.from_bytes(s, "big")), signed)


def signed_by_certified_key(public_key: bytes, algorithm: str, signature: bytes, signed: bytes) -> bool:
    """True if a P-256 or P-384 key made a certificate's signature.

    Args:
        public_key: SubjectPublicKeyInfo in DER.
        algorithm: dotted OID of ECDSA with SHA-256, 384 or 512.
        signature: ECDSA-Sig-Value in DER.
        signed: TBSCertificate.
    """
    hashing = _ECDSA_HASHES.get(algorithm)
    if hashing is None:
        return False
    try:
        key = load_der_public_key(public_key)
        if not isinstance(key, ec.EllipticCurvePublicKey) or not isinstance(key.curve, ec.SECP256R1 | ec.SECP384R1):
            return False
        key.verify(signature, signed, ec.ECDSA(hashing))
    except (InvalidSignature, *_PARSER_ERRORS):
        return False
    return True


def _holds(point: bytes, signature: bytes, signed: bytes) -> bool:
    key = _key(point)
    if key is None:
        return False
    try:
        key.verify(signature, signed, _ECDSA)
    except InvalidSignature:
        return False
    return True


@lru_cache(maxsize=_REMEMBERED)
def _key(point: bytes) -> ec.EllipticCurvePublicKey | None:
    """The P-256 key with this uncompressed point; None if the point is not on the curve."""
    try:
        return ec.EllipticCurvePublicKey.from_encoded_point(ec.SECP256R1(), point)
    except ValueError:
        return None


def _parse_certificate(data: bytes) -> Certificate:
    parts = CertificateParts.parse(data)
    if parts.serial < 0:
        raise WireError("certificate.serialNumber", got=f"{parts.serial:#x}", want="no negative number")
    parsed = x509.load_der_x509_certificate(parts.readable)
    ecdsa_sha256 = parsed.signature_algorithm_oid == SignatureAlgorithmOID.ECDSA_WITH_SHA256
    if ecdsa_sha256:
        _check_nothing_else("certificate", data, parts.signed, parsed.signature)
    usage = parts.key_usage or 0
    return Certificate(
        der=data,
        sha256=hashlib.sha256(data).digest(),
        subject=parts.subject,
        issuer=parts.issuer,
        common_name=parts.common_name,
        serial=parts.serial,
        not_before=parsed.not_valid_before_utc,
        not_after=parsed.not_valid_after_utc,
        point=_point(parsed) if parts.public_key_algorithm == EC_PUBLIC_KEY else None,
        key_sha256=hashlib.sha256(parts.public_key).digest(),
        ecdsa_sha256=ecdsa_sha256,
        signed=parts.signed,
        signature=parsed.signature,
        is_ca=parts.is_ca,
        path_length=parts.path_length,
        signs_data=bool(usage & DIGITAL_SIGNATURE),
        signs_certificates=bool(usage & KEY_CERT_SIGN),
        signs_crls=bool(usage & CRL_SIGN),
        unknown_critical=tuple(
            oid for oid, extension in parts.extensions.items() if extension.critical and oid not in UNDERSTOOD
        ),
        pck_extension=_value(parts, SGX_EXTENSION_OID),
        simulated_extension=_value(parts, *SIMULATED_OIDS),
    )


def _value(parts: CertificateParts, *oids: str) -> bytes | None:
    """The value of the first of these extensions that the certificate has."""
    return next((parts.extensions[oid].value for oid in oids if oid in parts.extensions), None)


def _check_nothing_else(what: str, data: bytes, signed: bytes, signature: bytes) -> None:
    """Refuses an encoding that is not exactly the signed part, the algorithm and the signature, such as unused bits."""
    whole = der.element(der.SEQUENCE, signed, _ECDSA_SHA256, der.element(der.BIT_STRING, b"\x00", signature))
    if whole != data:
        raise WireError(what, got="bytes beside what is signed", want="the signed part, its algorithm, the signature")


def _point(parsed: x509.Certificate) -> bytes | None:
    try:
        key = parsed.public_key()
    except (UnsupportedAlgorithm, ValueError):
        return None
    if not isinstance(key, ec.EllipticCurvePublicKey) or not isinstance(key.curve, ec.SECP256R1):
        return None
    return key.public_bytes(Encoding.X962, PublicFormat.UncompressedPoint)


def _parse_revocation_list(data: bytes) -> RevocationList:
    parts = RevocationListParts.parse(data)
    if parts.critical:
        raise WireError("revocation list", got=f"critical {parts.critical[0]}", want="none")
    parsed = x509.load_der_x509_crl(data)
    ecdsa_sha256 = parsed.signature_algorithm_oid == SignatureAlgorithmOID.ECDSA_WITH_SHA256
    if ecdsa_sha256:
        _check_nothing_else("revocation list", data, parts.signed, parsed.signature)
    if parsed.next_update_utc is None:
        raise WireError("revocation list.nextUpdate", got="nothing", want="a time")
    return RevocationList(
        issuer=parts.issuer,
        this_update=parsed.last_update_utc,
        next_update=parsed.next_update_utc,
        serials=parts.serials,
        number=parts.number,
        ecdsa_sha256=ecdsa_sha256,
        signed=parts.signed,
        signature=parsed.signature,
    )


def _complaint(error: BaseException) -> str:
    """The parser's message on one line."""
    return " ".join(str(error).split())[:200] or type(error).__name__
