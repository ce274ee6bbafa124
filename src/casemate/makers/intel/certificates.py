"""The maker's certificates and revocation lists, shaped as Intel's are.

Source: Intel SGX PCK Certificate and Certificate Revocation List Profile Specification 1.5. Names are Intel's, since
Intel's own verifier insists on them; :mod:`casemate.wire.protocol.simulated_mark` says how the certificates differ from
Intel's.
"""

from collections.abc import Iterable
from dataclasses import dataclass
from datetime import datetime

from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import Encoding
from cryptography.x509.oid import NameOID

from casemate.makers.certificates import extension
from casemate.wire.protocol.simulated_mark import SimulatedMark
from casemate.wire.sgx.pck import SGX_EXTENSION_OID, PckExtension

ROOT_NAME = "Intel SGX Root CA"
PROCESSOR_CA_NAME = "Intel SGX PCK Processor CA"
PLATFORM_CA_NAME = "Intel SGX PCK Platform CA"
TCB_SIGNING_NAME = "Intel SGX TCB Signing"
PCK_NAME = "Intel SGX PCK Certificate"

_DISTRIBUTION = "https://casemate.invalid/simulated/{}.crl"
"""Intel's verifier wants a distribution point; nothing can be fetched from a domain in .invalid (RFC 2606)."""


@dataclass(frozen=True, slots=True)
class Subject:
    """The subject of a certificate and its permitted uses."""

    common_name: str
    key: ec.EllipticCurvePublicKey
    serial: int
    not_before: datetime
    not_after: datetime
    path_length: int | None
    """How many CAs may stand below this one; None for a certificate that is no CA's."""
    mark: SimulatedMark | None
    """None for a chip's certificate, which has only Intel's six extensions."""
    pck: PckExtension | None = None


@dataclass(frozen=True, slots=True)
class Issuer:
    """The issuer of a certificate."""

    common_name: str
    key: ec.EllipticCurvePrivateKey


@dataclass(frozen=True, slots=True)
class Revocation:
    """One line of a revocation list."""

    serial: int
    date: datetime


def issue_certificate(subject: Subject, issuer: Issuer) -> bytes:
    """A certificate in DER."""
    is_ca = subject.path_length is not None
    extensions: list[tuple[x509.ExtensionType, bool]] = [
        (x509.AuthorityKeyIdentifier.from_issuer_public_key(issuer.key.public_key()), False),
        (_distribution_points(issuer.common_name), False),
        (x509.SubjectKeyIdentifier.from_public_key(subject.key), False),
        (_key_usage(is_ca=is_ca), True),
        (x509.BasicConstraints(ca=is_ca, path_length=subject.path_length), True),
    ]
    if subject.pck is not None:
        extensions.append((extension(SGX_EXTENSION_OID, subject.pck.encode()), False))
    if subject.mark is not None:
        extensions.append((extension(subject.mark.oid, subject.mark.encode()), False))
    builder = x509.CertificateBuilder(
        issuer_name=_name(issuer.common_name),
        subject_name=_name(subject.common_name),
        public_key=subject.key,
        serial_number=subject.serial,
        not_valid_before=subject.not_before,
        not_valid_after=subject.not_after,
    )
    for each, critical in extensions:
        builder = builder.add_extension(each, critical=critical)
    return builder.sign(issuer.key, hashes.SHA256(), ecdsa_deterministic=True).public_bytes(Encoding.DER)


def issue_crl(
    issuer: Issuer, revoked: Iterable[Revocation], *, number: int, this_update: datetime, next_update: datetime
) -> bytes:
    """A revocation list in DER."""
    builder = (
        x509.CertificateRevocationListBuilder()
        .issuer_name(_name(issuer.common_name))
        .last_update(this_update)
        .next_update(next_update)
        .add_extension(x509.CRLNumber(number), critical=False)
        .add_extension(x509.AuthorityKeyIdentifier.from_issuer_public_key(issuer.key.public_key()), critical=False)
    )
    for entry in revoked:
        builder = builder.add_revoked_certificate(
            x509.RevokedCertificateBuilder()
            .serial_number(entry.serial)
            .revocation_date(entry.date)
            .add_extension(x509.CRLReason(x509.ReasonFlags.key_compromise), critical=False)
            .build()
        )
    return builder.sign(issuer.key, hashes.SHA256(), ecdsa_deterministic=True).public_bytes(Encoding.DER)


def _name(common_name: str) -> x509.Name:
    return x509.Name(
        [
            x509.NameAttribute(NameOID.COMMON_NAME, common_name),
            x509.NameAttribute(NameOID.ORGANIZATION_NAME, "Intel Corporation"),
            x509.NameAttribute(NameOID.LOCALITY_NAME, "Santa Clara"),
            x509.NameAttribute(NameOID.STATE_OR_PROVINCE_NAME, "CA"),
            x509.NameAttribute(NameOID.COUNTRY_NAME, "US"),
        ]
    )


def _distribution_points(issuer: str) -> x509.CRLDistributionPoints:
    where = x509.UniformResourceIdentifier(_DISTRIBUTION.format(issuer.replace(" ", "")))
    return x509.CRLDistributionPoints([x509.DistributionPoint([where], None, None, None)])


def _key_usage(*, is_ca: bool) -> x509.KeyUsage:
    return x509.KeyUsage(
        digital_signature=not is_ca,
        content_commitment=not is_ca,
        key_encipherment=False,
        data_encipherment=False,
        key_agreement=False,
        key_cert_sign=is_ca,
        crl_sign=is_ca,
        encipher_only=False,
        decipher_only=False,
    )
