"""AMD's certificates and revocation lists, as AMD's own are but for the mark and the serial numbers.

Source: AMD 57230, "Versioned Chip Endorsement Key (VCEK) Certificate and KDS Interface Specification", chapter 3, and
the certificates that AMD publishes. Names are AMD's, since verifiers insist on them; the certificates of ARK, ASK and
ASVK carry :mod:`casemate.wire.protocol.simulated_mark`'s mark, those of VCEKs and VLEKs say it in their serial numbers.

SIMULATED: AMD numbers every VCEK and VLEK 0; ours have serial numbers of their own, so they can be revoked.
"""

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from datetime import datetime

from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec, padding, rsa
from cryptography.hazmat.primitives.serialization import Encoding
from cryptography.x509.oid import NameOID

from casemate.makers.amd.ledger import Revoked
from casemate.makers.certificates import extension
from casemate.wire.protocol.simulated_mark import SimulatedMark
from casemate.wire.snp.key_certificate import KeyCertificate
from casemate.wire.snp.tcb import Product

_SALT_SIZE = 48
_PSS = padding.PSS(mgf=padding.MGF1(hashes.SHA384()), salt_length=_SALT_SIZE)
_DISTRIBUTION = "https://casemate.invalid/simulated/{}/v1/{}/crl"
"""AMD's own path, below a host where nothing answers (RFC 2606): no verifier shall ask AMD, or anybody, for our list.
docs/simulated.md says how to serve it."""

Resign = Callable[[bytes], bytes]
"""Another signature over the same bytes: one that is the same every time."""


@dataclass(frozen=True, slots=True)
class Subject:
    """The subject of a certificate."""

    common_name: str
    serial: int
    not_before: datetime
    not_after: datetime
    mark: SimulatedMark | None
    """None for a VCEK or VLEK, which has only AMD's extensions."""


@dataclass(frozen=True, slots=True)
class Issuer:
    """The issuer of a certificate."""

    common_name: str
    key: rsa.RSAPrivateKey
    resign: Resign | None
    """Replaces the library's signature, whose salt is random, by a reproducible one."""


def issue_ca(subject: Subject, key: rsa.RSAPublicKey, issuer: Issuer, product: Product, service: str) -> bytes:
    """An ARK, ASK or ASVK in DER.

    Args:
        subject: whose.
        key: its key.
        issuer: itself for an ARK.
        product: for the place of the revocation list.
        service: the same; ``vcek`` or ``vlek``.
    """
    is_root = subject.common_name == issuer.common_name
    extensions: list[tuple[x509.ExtensionType, bool]] = [
        (x509.SubjectKeyIdentifier.from_public_key(key), False),
        (x509.BasicConstraints(ca=True, path_length=None if is_root else 0), True),
        (_ca_usage(is_root=is_root), True),
        (distribution_point(product, service), False),
    ]
    if not is_root:
        extensions.append((x509.AuthorityKeyIdentifier.from_issuer_public_key(issuer.key.public_key()), False))
    return _issue(subject, key, issuer, extensions)


def distribution_point(product: Product, service: str) -> x509.CRLDistributionPoints:
    """Where the root's revocation list would be, with AMD's own path: ``vcek`` for ARK and ASK, ``vlek`` for ASVK."""
    where = x509.UniformResourceIdentifier(_DISTRIBUTION.format(service, product))
    return x509.CRLDistributionPoints([x509.DistributionPoint([where], None, None, None)])


def issue_key_certificate(
    subject: Subject, key: ec.EllipticCurvePublicKey, issuer: Issuer, says: KeyCertificate
) -> bytes:
    """A VCEK's or VLEK's certificate in DER: AMD's extensions, and none of X.509's own."""
    return _issue(subject, key, issuer, [(extension(oid, value), False) for oid, value in says.encode().items()])


def issue_crl(
    issuer: Issuer, revoked: Iterable[Revoked], *, number: int, this_update: datetime, next_update: datetime
) -> bytes:
    """The root's revocation list in DER; it names what the root's issuers have issued, too."""
    builder = (
        x509.CertificateRevocationListBuilder()
        .issuer_name(_name(issuer.common_name))
        .last_update(this_update)
        .next_update(next_update)
        .add_extension(x509.AuthorityKeyIdentifier.from_issuer_public_key(issuer.key.public_key()), critical=False)
        .add_extension(x509.CRLNumber(number), critical=False)
    )
    for entry in revoked:
        builder = builder.add_revoked_certificate(
            x509.RevokedCertificateBuilder().serial_number(entry.serial).revocation_date(entry.date).build()
        )
    made = builder.sign(issuer.key, hashes.SHA384(), rsa_padding=_PSS)
    return _resigned(made.public_bytes(Encoding.DER), made.tbs_certlist_bytes, made.signature, issuer)


def _issue(
    subject: Subject,
    key: rsa.RSAPublicKey | ec.EllipticCurvePublicKey,
    issuer: Issuer,
    extensions: list[tuple[x509.ExtensionType, bool]],
) -> bytes:
    builder = x509.CertificateBuilder(
        issuer_name=_name(issuer.common_name),
        subject_name=_name(subject.common_name),
        public_key=key,
        serial_number=subject.serial,
        not_valid_before=subject.not_before,
        not_valid_after=subject.not_after,
    )
    if subject.mark is not None:
        extensions = [*extensions, (extension(subject.mark.oid, subject.mark.encode()), False)]
    for each, critical in extensions:
        builder = builder.add_extension(each, critical=critical)
    made = builder.sign(issuer.key, hashes.SHA384(), rsa_padding=_PSS)
    return _resigned(made.public_bytes(Encoding.DER), made.tbs_certificate_bytes, made.signature, issuer)


def _resigned(der: bytes, signed: bytes, signature: bytes, issuer: Issuer) -> bytes:
    """The signature is the end of both structures (RFC 5280, 4.1 and 5.1), and always as long as the modulus."""
    return der if issuer.resign is None else der[: -len(signature)] + issuer.resign(signed)


def _name(common_name: str) -> x509.Name:
    return x509.Name(
        [
            x509.NameAttribute(NameOID.ORGANIZATIONAL_UNIT_NAME, "Engineering"),
            x509.NameAttribute(NameOID.COUNTRY_NAME, "US"),
            x509.NameAttribute(NameOID.LOCALITY_NAME, "Santa Clara"),
            x509.NameAttribute(NameOID.STATE_OR_PROVINCE_NAME, "CA"),
            x509.NameAttribute(NameOID.ORGANIZATION_NAME, "Advanced Micro Devices"),
            x509.NameAttribute(NameOID.COMMON_NAME, common_name),
        ]
    )


def _ca_usage(*, is_root: bool) -> x509.KeyUsage:
    return x509.KeyUsage(
        digital_signature=False,
        content_commitment=False,
        key_encipherment=False,
        data_encipherment=False,
        key_agreement=False,
        key_cert_sign=True,
        crl_sign=is_root,
        encipher_only=False,
        decipher_only=False,
    )
