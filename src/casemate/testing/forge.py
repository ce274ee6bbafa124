"""Forges SGX evidence: a test changes any field of an honest simulated platform before everything is signed.

Example:
    forgery = honest(now)
    forgery.tcb_info["fmspc"] = "010203040506"
    forged = forgery.sign()
    appraise(forged.evidence, forged.policy, forged.collateral, now)  # refused: tcb-info.fmspc

Every signature is valid and made by the key that a verifier expects, so only the rule under test can refuse.
"""

import hashlib
import json
import secrets
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from datetime import datetime
from typing import Any

from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.asymmetric.types import CertificateIssuerPrivateKeyTypes
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat
from cryptography.x509.oid import NameOID

from casemate.makers.certificates import COLLATERAL_LIFE
from casemate.makers.intel.keys import KeyRole, sign
from casemate.makers.intel.ledger import Ca
from casemate.makers.intel.maker import (
    PCK_CA_ROLES,
    IntelMaker,
    PckRequest,
    issue_pck,
    new_maker,
    publish_collateral,
)
from casemate.verifier.binding import BoundValues
from casemate.verifier.common_demands import ExpectedNonce, RequiredLayers
from casemate.verifier.roots import SimulatedRoot
from casemate.verifier.sgx.evidence import SgxEvidence
from casemate.verifier.sgx.policy import AcceptedStatus, SgxPolicy
from casemate.wire.encodings.json_text import encode_json
from casemate.wire.encodings.pem import encode_chain, parse_chain
from casemate.wire.protocol.report_data import ReportDataBinding
from casemate.wire.protocol.sandbox_layers import Layer, LayerName, LayerState, SandboxLayers
from casemate.wire.protocol.simulated_mark import SIMULATED_OID, SIMULATED_OIDS, SimulatedMark
from casemate.wire.sgx.attributes import XFRM_LEGACY, AttributeFlag, Attributes, CetAttributes, MiscSelect
from casemate.wire.sgx.collateral import Collateral
from casemate.wire.sgx.quote import (
    INTEL_QE_VENDOR_ID,
    TEE_SGX,
    VERSION_3,
    AttestationKeyType,
    CertificationData,
    CertificationDataType,
    Quote,
    QuoteHeader,
    QuoteSignatureData,
)
from casemate.wire.sgx.report import ReportBody
from casemate.wire.sgx.simulated_platform import (
    FIRST_COMPONENTS,
    FIRST_PCE_SVN,
    FMSPC,
    PCE_ID,
    QE_ATTRIBUTES,
    QE_ISV_PROD_ID,
    QE_ISV_SVN,
    QE_MISC_SELECT,
    QE_MR_ENCLAVE,
    QE_MR_SIGNER,
)
from casemate.wire.sgx.tcb_info import TcbStatus

PRODUCT_ID = 7
SVN = 3
"""ISVSVN of the honest enclave."""


@dataclass(slots=True)
class CertificateDraft:
    """A certificate before it is signed."""

    common_name: str
    issuer_name: str
    key: ec.EllipticCurvePrivateKey | Any
    signer: CertificateIssuerPrivateKeyTypes
    serial: int
    not_before: datetime
    not_after: datetime
    extensions: list[tuple[x509.ExtensionType, bool]]
    """Extensions, each with its criticality."""
    hash: hashes.SHA256 | hashes.SHA384 = field(default_factory=hashes.SHA256)

    def drop_extension(self, dotted: str) -> None:
        """Removes the extension with this OID."""
        self.extensions = [(old, was) for old, was in self.extensions if old.oid.dotted_string != dotted]

    def mark(self, *, seeded: bool = False, oid: str = SIMULATED_OID) -> None:
        """Marks the certificate SIMULATED. Earlier versions used another OID and marked PCK certificates as well."""
        for old in SIMULATED_OIDS:
            self.drop_extension(old)
        value = SimulatedMark.of(seeded=seeded).encode()
        self.extensions.append((x509.UnrecognizedExtension(x509.ObjectIdentifier(oid), value), False))

    def sign(self) -> bytes:
        """The certificate in DER."""
        builder = x509.CertificateBuilder(
            issuer_name=_name(self.issuer_name),
            subject_name=_name(self.common_name),
            public_key=self.key.public_key(),
            serial_number=self.serial,
            not_valid_before=self.not_before,
            not_valid_after=self.not_after,
        )
        for extension, critical in self.extensions:
            builder = builder.add_extension(extension, critical=critical)
        return builder.sign(self.signer, self.hash).public_bytes(Encoding.DER)


@dataclass(slots=True)
class CrlDraft:
    """A revocation list before it is signed."""

    issuer_name: str
    signer: CertificateIssuerPrivateKeyTypes
    this_update: datetime
    next_update: datetime
    serials: list[int] = field(default_factory=list)
    extensions: list[tuple[x509.ExtensionType, bool]] = field(default_factory=list)
    entry_extensions: list[tuple[x509.ExtensionType, bool]] = field(default_factory=list)
    hash: hashes.SHA256 | hashes.SHA384 = field(default_factory=hashes.SHA256)

    def sign(self) -> bytes:
        """The list in DER."""
        builder = (
            x509.CertificateRevocationListBuilder()
            .issuer_name(_name(self.issuer_name))
            .last_update(self.this_update)
            .next_update(self.next_update)
        )
        for extension, critical in self.extensions:
            builder = builder.add_extension(extension, critical=critical)
        for serial in self.serials:
            entry = x509.RevokedCertificateBuilder().serial_number(serial).revocation_date(self.this_update)
            for extension, critical in self.entry_extensions:
                entry = entry.add_extension(extension, critical=critical)
            builder = builder.add_revoked_certificate(entry.build())
        return builder.sign(self.signer, self.hash).public_bytes(Encoding.DER)


@dataclass(frozen=True, slots=True)
class Forged:
    """Signed evidence with its collateral, and a policy that accepts the honest original."""

    evidence: SgxEvidence
    collateral: Collateral
    policy: SgxPolicy
    """Accepts the honest evidence, and no other enclave's."""
    root: bytes
    """The root certificate in DER."""


@dataclass(slots=True)
class Forgery:
    """Everything in the evidence of an honest platform before it is signed. Tests may change any field."""

    root: CertificateDraft
    pck_ca: CertificateDraft
    tcb_signing: CertificateDraft
    pck: CertificateDraft
    root_crl: CrlDraft
    pck_crl: CrlDraft
    tcb_info: dict[str, Any]
    """The members of the JSON object TCB info."""
    qe_identity: dict[str, Any]
    header: QuoteHeader
    body: ReportBody
    """The enclave's report body. Signing fills in a REPORTDATA that is all zeros."""
    qe_report: ReportBody
    """The quoting enclave's report body. Signing fills in a REPORTDATA that is all zeros."""
    qe_authentication_data: bytes
    certification_kind: CertificationDataType
    attestation_key: ec.EllipticCurvePrivateKey
    document_signer: ec.EllipticCurvePrivateKey
    """Signs TCB info and QE identity."""
    report_signer: ec.EllipticCurvePrivateKey
    """Signs the QE report."""
    bound: BoundValues
    nonce: bytes
    public_seed: bool
    order: Callable[[tuple[bytes, ...]], tuple[bytes, ...]] = field(default=lambda chain: chain)
    """Maps the certificates (leaf, CA, root) to those in the quote, in the quote's order."""

    def sign(self) -> Forged:
        """Signs everything, from the root down."""
        root, pck_ca, signing, pck = (draft.sign() for draft in (self.root, self.pck_ca, self.tcb_signing, self.pck))
        tcb_info, qe_identity = encode_json(self.tcb_info), encode_json(self.qe_identity)
        quote = self._quote(encode_chain(*self.order((pck, pck_ca, root))))
        collateral = Collateral(
            pck_crl_issuer_chain=encode_chain(pck_ca, root),
            root_ca_crl=self.root_crl.sign(),
            pck_crl=self.pck_crl.sign(),
            tcb_info_issuer_chain=encode_chain(signing, root),
            tcb_info=tcb_info,
            tcb_info_signature=sign(self.document_signer, tcb_info),
            qe_identity_issuer_chain=encode_chain(signing, root),
            qe_identity=qe_identity,
            qe_identity_signature=sign(self.document_signer, qe_identity),
            pck_certificate_chain=None,
        )
        evidence = SgxEvidence(quote.encode(), self.bound)
        return Forged(evidence, collateral, self.policy(SimulatedRoot.of(root)), root)

    def policy(self, root: SimulatedRoot) -> SgxPolicy:
        """The policy of a relying party that expects the honest enclave and sent the nonce."""
        return SgxPolicy(
            root=root,
            public_seed="UNSAFE_PUBLIC_SEED" if self.public_seed else "REFUSE_PUBLIC_SEED",
            mr_enclave=frozenset({honest_body().mr_enclave}),
            mr_signer=frozenset({honest_body().mr_signer}),
            product_id=PRODUCT_ID,
            minimum_svn=SVN,
            debug="REFUSE_DEBUG",
            tcb=(AcceptedStatus(TcbStatus.UP_TO_DATE, frozenset()),),
            minimum_evaluation_number="ANY_EVALUATION_NUMBER",
            minimum_tcb_date="ANY_TCB_DATE",
            dynamic_platform="ANY_DYNAMIC_PLATFORM",
            cached_keys="ANY_CACHED_KEYS",
            smt="ANY_SMT",
            report_data=ExpectedNonce(self.nonce),
            layers=RequiredLayers(frozenset({LayerName.SECCOMP}), frozenset({LayerName.SECCOMP})),
        )

    def _quote(self, chain: bytes) -> Quote:
        """Signs the quote as a quoting enclave does. SIMULATED: real ones hold the attestation key."""
        key = _raw_point(self.attestation_key)
        report = self.qe_report
        if not any(report.report_data):
            vouched = hashlib.sha256(key + self.qe_authentication_data).digest()
            report = replace(report, report_data=vouched + bytes(32))
        body = self.body
        if not any(body.report_data):
            binding = ReportDataBinding(self.bound.hpke_key, self.bound.receipt_key, self.nonce, self.bound.layers)
            body = replace(body, report_data=binding.report_data())
        return Quote(
            self.header,
            body,
            QuoteSignatureData(
                signature=sign(self.attestation_key, self.header.encode() + body.encode()),
                attestation_key=key,
                qe_report=report,
                qe_report_signature=sign(self.report_signer, report.encode()),
                qe_authentication_data=self.qe_authentication_data,
                certification_data=CertificationData(self.certification_kind, chain),
            ),
        )


def honest(now: datetime, *, ca: Ca = Ca.PLATFORM, seed: str | None = None) -> Forgery:
    """The unsigned evidence of an honest enclave, on a new chip of a new simulated maker."""
    maker = new_maker(seed, now)
    pck_key = ec.generate_private_key(ec.SECP256R1())
    request = PckRequest(
        public_key=_point(pck_key),
        ppid=secrets.token_bytes(16),
        cpu_svn=FIRST_COMPONENTS,
        pce_svn=FIRST_PCE_SVN,
        pce_id=PCE_ID,
        fmspc=FMSPC,
        ca=ca,
        seeded=False,
    )
    maker, chain, _ = issue_pck(maker, request, now)
    published = publish_collateral(maker, ca, now)
    pck_ca = PCK_CA_ROLES[ca]
    nonce = secrets.token_bytes(32)
    root_key, ca_key = maker.keys[KeyRole.ROOT], maker.keys[pck_ca]
    return Forgery(
        root=_draft(maker.certificates[KeyRole.ROOT], root_key, root_key),
        pck_ca=_draft(maker.certificates[pck_ca], ca_key, root_key),
        tcb_signing=_draft(maker.certificates[KeyRole.TCB_SIGNING], maker.keys[KeyRole.TCB_SIGNING], root_key),
        pck=_draft(parse_chain("chain", chain)[0].der, pck_key, ca_key),
        root_crl=_crl_draft(maker, KeyRole.ROOT, now),
        pck_crl=_crl_draft(maker, pck_ca, now),
        tcb_info=json.loads(published.tcb_info),
        qe_identity=json.loads(published.qe_identity),
        header=QuoteHeader(
            VERSION_3, AttestationKeyType.ECDSA_P256, TEE_SGX, QE_ISV_SVN, FIRST_PCE_SVN, INTEL_QE_VENDOR_ID, bytes(20)
        ),
        body=honest_body(),
        qe_report=_qe_report(),
        qe_authentication_data=bytes(range(32)),
        certification_kind=CertificationDataType.PCK_CHAIN,
        attestation_key=ec.generate_private_key(ec.SECP256R1()),
        document_signer=maker.keys[KeyRole.TCB_SIGNING],
        report_signer=pck_key,
        bound=_bound(),
        nonce=nonce,
        public_seed=seed is not None,
    )


def honest_body() -> ReportBody:
    """The honest enclave's report body with an empty REPORTDATA."""
    return ReportBody(
        cpu_svn=FIRST_COMPONENTS,
        misc_select=MiscSelect(0),
        cet_attributes=CetAttributes(0),
        isv_ext_prod_id=bytes(16),
        attributes=Attributes(AttributeFlag.INIT | AttributeFlag.MODE64BIT, XFRM_LEGACY),
        mr_enclave=hashlib.sha256(b"an honest enclave").digest(),
        mr_signer=hashlib.sha256(b"an honest signer").digest(),
        config_id=bytes(64),
        isv_prod_id=PRODUCT_ID,
        isv_svn=SVN,
        config_svn=0,
        isv_family_id=bytes(16),
        report_data=bytes(64),
    )


def _qe_report() -> ReportBody:
    return replace(
        honest_body(),
        misc_select=QE_MISC_SELECT,
        attributes=QE_ATTRIBUTES,
        mr_enclave=QE_MR_ENCLAVE,
        mr_signer=QE_MR_SIGNER,
        isv_prod_id=QE_ISV_PROD_ID,
        isv_svn=QE_ISV_SVN,
    )


def _bound() -> BoundValues:
    applied = tuple(Layer(name, LayerState.APPLIED, "") for name in LayerName)
    return BoundValues(secrets.token_bytes(32), secrets.token_bytes(32), SandboxLayers(applied, applied))


def _draft(der: bytes, key: ec.EllipticCurvePrivateKey, signer: CertificateIssuerPrivateKeyTypes) -> CertificateDraft:
    """A draft with the content of one of the honest maker's certificates."""
    parsed = x509.load_der_x509_certificate(der)
    return CertificateDraft(
        common_name=_common_name(parsed.subject),
        issuer_name=_common_name(parsed.issuer),
        key=key,
        signer=signer,
        serial=parsed.serial_number,
        not_before=parsed.not_valid_before_utc,
        not_after=parsed.not_valid_after_utc,
        extensions=[(extension.value, extension.critical) for extension in parsed.extensions],
    )


def _crl_draft(maker: IntelMaker, role: KeyRole, now: datetime) -> CrlDraft:
    key = maker.keys[role]
    parsed = x509.load_der_x509_certificate(maker.certificates[role])
    return CrlDraft(
        issuer_name=_common_name(parsed.subject),
        signer=key,
        this_update=now,
        next_update=now + COLLATERAL_LIFE,
        extensions=[
            (x509.CRLNumber(1), False),
            (x509.AuthorityKeyIdentifier.from_issuer_public_key(key.public_key()), False),
        ],
    )


def _common_name(name: x509.Name) -> str:
    return str(name.get_attributes_for_oid(NameOID.COMMON_NAME)[0].value)


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


def _point(key: ec.EllipticCurvePrivateKey) -> bytes:
    return key.public_key().public_bytes(Encoding.X962, PublicFormat.UncompressedPoint)


def _raw_point(key: ec.EllipticCurvePrivateKey) -> bytes:
    return _point(key)[1:]
