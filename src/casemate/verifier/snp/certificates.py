"""Parses AMD's certificates and revocation lists, and checks signatures: RSA-PSS of the CAs, ECDSA P-384 of reports.

This module and ``crypto`` hold all the cryptographic code that the verifier uses.
"""

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from functools import lru_cache
from types import MappingProxyType

from cryptography import x509
from cryptography.exceptions import InvalidSignature, UnsupportedAlgorithm
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec, padding, rsa
from cryptography.hazmat.primitives.asymmetric.utils import encode_dss_signature
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat, load_der_public_key
from cryptography.x509.oid import SignatureAlgorithmOID

from casemate.wire.encodings.x509 import (
    CRL_SIGN,
    EC_PUBLIC_KEY,
    KEY_CERT_SIGN,
    RSA_PUBLIC_KEY,
    UNDERSTOOD,
    CertificateParts,
    RevocationListParts,
)
from casemate.wire.errors import WireError
from casemate.wire.protocol.simulated_mark import SIMULATED_OIDS

_REMEMBERED = 64
_RSA_BITS = 4096
_SALT_SIZE = 48
_PSS = padding.PSS(mgf=padding.MGF1(hashes.SHA384()), salt_length=_SALT_SIZE)
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


@dataclass(frozen=True, slots=True)
class AmdCertificate:
    """A parsed certificate; nothing of it is verified."""

    sha256: bytes
    subject: bytes
    issuer: bytes
    common_name: str
    serial: int
    not_before: datetime
    not_after: datetime
    public_key: bytes
    """SubjectPublicKeyInfo, DER."""
    is_rsa_4096: bool
    is_p384: bool
    pss_sha384: bool
    """Whether it is signed as AMD signs: RSASSA-PSS, SHA-384, MGF1 with SHA-384, a salt of 48 bytes."""
    signed: bytes
    signature: bytes
    is_ca: bool
    path_length: int | None
    signs_certificates: bool
    signs_crls: bool
    unknown_critical: tuple[str, ...]
    extensions: Mapping[str, bytes]
    """All, by OID."""

    @property
    def key_sha256(self) -> bytes:
        """SHA-256 of SubjectPublicKeyInfo."""
        return hashlib.sha256(self.public_key).digest()

    @property
    def simulated_extension(self) -> bytes | None:
        """The mark of a simulated maker."""
        return next((self.extensions[oid] for oid in SIMULATED_OIDS if oid in self.extensions), None)


@dataclass(frozen=True, slots=True)
class AmdRevocationList:
    """A parsed CRL; nothing of it is verified."""

    issuer: bytes
    this_update: datetime
    next_update: datetime
    serials: frozenset[int]
    number: int | None
    """cRLNumber; None where it has none."""
    pss_sha384: bool
    signed: bytes
    signature: bytes


@lru_cache(maxsize=_REMEMBERED)
def parse_amd_certificate(data: bytes) -> AmdCertificate:
    """The certificate in ``data`` (DER); :class:`WireError` for anything else."""
    try:
        return _certificate(data)
    except _PARSER_ERRORS as error:
        raise WireError("certificate", got=_complaint(error), want="an X.509 certificate in DER") from None


@lru_cache(maxsize=_REMEMBERED)
def parse_amd_revocation_list(data: bytes) -> AmdRevocationList:
    """The CRL in ``data`` (DER); :class:`WireError` for anything else, and for unknown critical extensions."""
    try:
        parts = RevocationListParts.parse(data)
        if parts.critical:
            raise WireError("revocation list", got=f"critical {parts.critical[0]}", want="none")
        parsed = x509.load_der_x509_crl(data)
        if parsed.next_update_utc is None:
            raise WireError("revocation list.nextUpdate", got="nothing", want="a time")
        return AmdRevocationList(
            issuer=parts.issuer,
            this_update=parsed.last_update_utc,
            next_update=parsed.next_update_utc,
            serials=parts.serials,
            number=parts.number,
            pss_sha384=_is_pss(parsed),
            signed=parts.signed,
            signature=parsed.signature,
        )
    except _PARSER_ERRORS as error:
        raise WireError("revocation list", got=_complaint(error), want="an X.509 CRL in DER") from None


@lru_cache(maxsize=_REMEMBERED)
def issued_by(public_key: bytes, signature: bytes, signed: bytes) -> bool:
    """Whether this RSA key made the PSS signature; remembered."""
    key = load_der_public_key(public_key)
    if not isinstance(key, rsa.RSAPublicKey):
        return False
    try:
        key.verify(signature, signed, _PSS, hashes.SHA384())
    except InvalidSignature:
        return False
    return True


def report_signed_by(public_key: bytes, r: int, s: int, signed: bytes) -> bool:
    """Whether this P-384 key made the ECDSA signature."""
    key = load_der_public_key(public_key)
    if not isinstance(key, ec.EllipticCurvePublicKey):
        return False
    try:
        key.verify(encode_dss_signature(r, s), signed, ec.ECDSA(hashes.SHA384()))
    except InvalidSignature:
        return False
    return True


def _certificate(data: bytes) -> AmdCertificate:
    parts = CertificateParts.parse(data)
    if parts.serial < 0:
        raise WireError("certificate.serialNumber", got=f"{parts.serial:#x}", want="0, as AMD's VCEKs have, or more")
    if parts.public_key_algorithm not in (RSA_PUBLIC_KEY, EC_PUBLIC_KEY):
        raise WireError(
            "certificate.subjectPublicKeyInfo", got=f"OID {parts.public_key_algorithm}", want="RSA or ECDSA"
        )
    parsed = x509.load_der_x509_certificate(parts.readable)
    key = parsed.public_key()
    usage = parts.key_usage or 0
    return AmdCertificate(
        sha256=hashlib.sha256(data).digest(),
        subject=parts.subject,
        issuer=parts.issuer,
        common_name=parts.common_name,
        serial=parts.serial,
        not_before=parsed.not_valid_before_utc,
        not_after=parsed.not_valid_after_utc,
        public_key=key.public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo),
        is_rsa_4096=isinstance(key, rsa.RSAPublicKey) and key.key_size == _RSA_BITS,
        is_p384=isinstance(key, ec.EllipticCurvePublicKey) and isinstance(key.curve, ec.SECP384R1),
        pss_sha384=_is_pss(parsed),
        signed=parts.signed,
        signature=parsed.signature,
        is_ca=parts.is_ca,
        path_length=parts.path_length,
        signs_certificates=bool(usage & KEY_CERT_SIGN),
        signs_crls=bool(usage & CRL_SIGN),
        unknown_critical=tuple(
            oid for oid, extension in parts.extensions.items() if extension.critical and oid not in UNDERSTOOD
        ),
        extensions=MappingProxyType({oid: extension.value for oid, extension in parts.extensions.items()}),
    )


def _is_pss(parsed: x509.Certificate | x509.CertificateRevocationList) -> bool:
    if parsed.signature_algorithm_oid != SignatureAlgorithmOID.RSASSA_PSS:
        return False
    parameters = parsed.signature_algorithm_parameters
    return (
        isinstance(parsed.signature_hash_algorithm, hashes.SHA384)
        and isinstance(parameters, padding.PSS)
        and isinstance(parameters.mgf, padding.MGF1)
        and isinstance(parameters.mgf._algorithm, hashes.SHA384)  # noqa: SLF001 - the library offers no other way
        and parameters._salt_length == _SALT_SIZE  # noqa: SLF001
    )


def _complaint(error: BaseException) -> str:
    """The parser's words, on one line."""
    return " ".join(str(error).split())[:200] or type(error).__name__
