"""Forges SEV-SNP evidence: a test changes any part before everything is signed by a maker invented for it."""

import functools
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta
from enum import StrEnum
from typing import Self

from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec, padding, rsa
from cryptography.hazmat.primitives.asymmetric.utils import decode_dss_signature
from cryptography.hazmat.primitives.serialization import Encoding
from cryptography.x509.oid import NameOID

from casemate.makers.amd.certificates import distribution_point
from casemate.verifier import SimulatedRoot, SnpEndorsements, SnpEvidence
from casemate.wire.protocol.simulated_mark import SERIAL_TAIL_SIZE, SIMULATED_OID, SimulatedMark, SimulatedSerial
from casemate.wire.snp.key_certificate import KeyCertificate
from casemate.wire.snp.report import SIGNED_SIZE, SigningKey, SnpReport
from casemate.wire.snp.tcb import Product, TcbVersion

CHIP_ID = bytes(range(64))
_LIFETIME = timedelta(days=365)
_ROOT_SERIAL, _ISSUER_SERIAL = 1, 2
KEY_SERIAL = SimulatedSerial.MADE_BY_SOFTWARE.number(bytes(SERIAL_TAIL_SIZE))
"""Serial numbers of the certificates of root, issuer and key, for revocation lists."""

_PSS = padding.PSS(mgf=padding.MGF1(hashes.SHA384()), salt_length=48)
_CPUID = {Product.MILAN: (0x19, 0x01), Product.GENOA: (0x19, 0x11), Product.TURIN: (0x1A, 0x02)}


class _Role(StrEnum):
    """The roles of certificates."""

    KEY = "key"
    ASK = "ASK"
    ARK = "ARK"


@functools.cache
def _ca_key(_role: _Role) -> rsa.RSAPrivateKey:
    """The RSA key of a role, made once in a process: each takes a second."""
    return rsa.generate_private_key(public_exponent=65537, key_size=4096)


@functools.cache
def _report_key() -> ec.EllipticCurvePrivateKey:
    return ec.generate_private_key(ec.SECP384R1())


@dataclass(frozen=True, slots=True)
class _Draft:
    """A certificate before it is signed."""

    role: _Role
    name: str
    issuer: str
    serial: int
    product: Product
    start: datetime
    end: datetime
    extensions: tuple[tuple[str, bytes], ...]
    """Extensions by OID, beside those that every CA has."""


@functools.lru_cache(maxsize=64)
def _issue(draft: _Draft) -> x509.Certificate:
    """The signed certificate, cached: an RSA signature takes longer than the rest of a forgery."""
    key = _report_key().public_key() if draft.role is _Role.KEY else _ca_key(draft.role).public_key()
    builder = x509.CertificateBuilder().subject_name(_name(draft.name)).issuer_name(_name(draft.issuer))
    builder = builder.public_key(key).serial_number(draft.serial)
    builder = builder.not_valid_before(draft.start).not_valid_after(draft.end)
    if draft.role is not _Role.KEY:
        is_root = draft.name == draft.issuer
        length = None if is_root else 0
        builder = builder.add_extension(x509.BasicConstraints(ca=True, path_length=length), critical=True)
        usage = x509.KeyUsage(
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
        builder = builder.add_extension(usage, critical=True)
        service = "vlek" if draft.name.startswith("SEV-VLEK") else "vcek"
        builder = builder.add_extension(distribution_point(draft.product, service), critical=False)
    for oid, value in draft.extensions:
        extension = x509.UnrecognizedExtension(x509.ObjectIdentifier(oid), value)
        builder = builder.add_extension(extension, critical=False)
    signer = _ca_key(_Role.ASK if draft.role is _Role.KEY else _Role.ARK)
    return builder.sign(signer, hashes.SHA384(), rsa_padding=_PSS)


@dataclass(frozen=True, slots=True)
class ForgedSnp:
    """SEV-SNP evidence before it is signed. Change it with :func:`dataclasses.replace`, then :meth:`sign`."""

    report: SnpReport
    product: Product
    kind: SigningKey
    now: datetime
    key_tcb: TcbVersion
    key_extensions: dict[str, bytes] = field(default_factory=dict)
    """Replacements for extensions of the key's certificate, by OID; an empty value removes the extension."""
    names: tuple[str, str, str] | None = None
    """Common names of key, issuer and root; None: as AMD names them."""
    revoked: tuple[int, ...] = ()
    key_serial: int = KEY_SERIAL
    marked: tuple[bool, bool, bool] = (False, True, True)
    """For key, issuer and root: true if its certificate is marked SIMULATED. Earlier versions marked the key's, too."""
    seeded: bool = False
    """True if the marks say that the root's key comes from a seed."""
    mark_oid: str = SIMULATED_OID
    """The OID of the marks; earlier versions used another."""
    root_life: timedelta = _LIFETIME
    """Validity of the root's certificate. A different value makes another certificate of the same name and key."""
    patches: tuple[tuple[int, bytes], ...] = ()
    """Bytes written over the report, by offset, before it is signed: values that no field can have."""

    def change(self, change: Callable[[SnpReport], SnpReport]) -> Self:
        """This forgery with ``change`` applied to its report."""
        return replace(self, report=change(self.report))

    def sign(self) -> tuple[SnpEvidence, SnpEndorsements, SimulatedRoot]:
        """The evidence, its endorsements and its root, signed from the root down."""
        vlek = self.kind is SigningKey.VLEK
        middle = f"SEV-VLEK-{self.product}" if vlek else f"SEV-{self.product}"
        names = self.names or (f"SEV-{self.kind.name}", middle, f"ARK-{self.product}")
        key = self._certificate(_Role.KEY, names[0], names[1], self.key_serial)
        issuer = self._certificate(_Role.ASK, names[1], names[2], _ISSUER_SERIAL)
        root = self._certificate(_Role.ARK, names[2], names[2], _ROOT_SERIAL)
        crl = x509.CertificateRevocationListBuilder().issuer_name(root.subject)
        crl = crl.last_update(self.now).next_update(self.now + timedelta(days=30))
        for serial in self.revoked:
            entry = x509.RevokedCertificateBuilder().serial_number(serial).revocation_date(self.now).build()
            crl = crl.add_revoked_certificate(entry)
        listed = crl.sign(_ca_key(_Role.ARK), hashes.SHA384(), rsa_padding=_PSS).public_bytes(Encoding.DER)
        endorsements = SnpEndorsements(
            key.public_bytes(Encoding.DER),
            issuer.public_bytes(Encoding.PEM) + root.public_bytes(Encoding.PEM),
            listed,
        )
        return SnpEvidence(self._signed()), endorsements, SimulatedRoot.of(root.public_bytes(Encoding.DER))

    def _signed(self) -> bytes:
        draft = self._patched(self.report.encode())
        made = _report_key().sign(draft[:SIGNED_SIZE], ec.ECDSA(hashes.SHA384()))
        r, s = decode_dss_signature(made)
        signed = replace(self.report, signature_r=r.to_bytes(72, "little"), signature_s=s.to_bytes(72, "little"))
        return self._patched(signed.encode())

    def _patched(self, report: bytes) -> bytes:
        patched = bytearray(report)
        for at, content in self.patches:
            patched[at : at + len(content)] = content
        return bytes(patched)

    def _certificate(self, role: _Role, name: str, issuer: str, serial: int) -> x509.Certificate:
        extensions = self._key_extensions() if role is _Role.KEY else {}
        if self.marked[tuple(_Role).index(role)]:
            extensions = extensions | {self.mark_oid: SimulatedMark.of(seeded=self.seeded).encode()}
        own = tuple((oid, value) for oid, value in extensions.items() if value)
        end = self.now + (self.root_life if role is _Role.ARK else _LIFETIME)
        return _issue(_Draft(role, name, issuer, serial, self.product, self.now, end, own))

    def _key_extensions(self) -> dict[str, bytes]:
        vlek, turin = self.kind is SigningKey.VLEK, self.product is Product.TURIN
        says = KeyCertificate(
            self.product,
            self.key_tcb,
            hw_id=None if vlek else CHIP_ID[: 8 if turin else 64],
            csp_id="CN=cloud.example" if vlek else None,
        )
        return says.encode() | self.key_extensions


def honest_snp(now: datetime, product: Product = Product.MILAN, kind: SigningKey = SigningKey.VCEK) -> ForgedSnp:
    """Unsigned evidence that a strict policy accepts, for a product and a kind of signing key."""
    tcb = TcbVersion(product, 4, 0, 24, 219, fmc=1 if product is Product.TURIN else None)
    family, model = _CPUID[product]
    chip = CHIP_ID[:8].ljust(64, b"\x00") if product is Product.TURIN else CHIP_ID
    raw = tcb.encode()
    report = SnpReport(
        version=5 if product is Product.TURIN else 3,
        guest_svn=2,
        policy=0x2_0000 | 1 << 20 | 55,
        family_id=b"\x0a" * 16,
        image_id=b"\x0b" * 16,
        vmpl=0,
        signature_algo=1,
        current_tcb=raw,
        platform_info=0x25,
        key_info=kind << 2 | 1,
        report_data=b"\x07" * 64,
        measurement=b"\x01" * 48,
        host_data=b"\x02" * 32,
        id_key_digest=b"\x03" * 48,
        author_key_digest=b"\x04" * 48,
        report_id=b"\x05" * 32,
        report_id_ma=b"\xff" * 32,
        reported_tcb=raw,
        cpuid_family=family,
        cpuid_model=model,
        cpuid_stepping=1,
        chip_id=bytes(64) if kind is SigningKey.VLEK else chip,
        committed_tcb=raw,
        current_build=29,
        current_minor=55,
        current_major=1,
        committed_build=29,
        committed_minor=55,
        committed_major=1,
        launch_tcb=raw,
        launch_mitigations=0b11 if product is Product.TURIN else None,
        current_mitigations=0b11 if product is Product.TURIN else None,
        signature_r=bytes(72),
        signature_s=bytes(72),
    )
    return ForgedSnp(report, product, kind, now, tcb)


def _name(common: str) -> x509.Name:
    """A distinguished name as AMD writes it, which AMD's verifiers check."""
    parts = (
        (NameOID.ORGANIZATIONAL_UNIT_NAME, "Engineering"),
        (NameOID.COUNTRY_NAME, "US"),
        (NameOID.LOCALITY_NAME, "Santa Clara"),
        (NameOID.STATE_OR_PROVINCE_NAME, "CA"),
        (NameOID.ORGANIZATION_NAME, "Advanced Micro Devices"),
        (NameOID.COMMON_NAME, common),
    )
    return x509.Name([x509.NameAttribute(oid, text) for oid, text in parts])
