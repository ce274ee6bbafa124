"""The verifier inside an enclave. No other module of this room imports it; :mod:`casemate.enclave.parts` loads it.

An enclave that appraises others' evidence runs the verifier that relying parties run, as part of its measured runtime.
"""

from contextlib import suppress
from dataclasses import dataclass
from datetime import UTC, datetime
from functools import lru_cache

from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec, rsa
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat
from cryptography.x509.oid import NameOID

from casemate.enclave.peer_policy import PeerIdentity, PeerPolicy, PeerRefusedError, identity_in
from casemate.enclave.rehearsal import RehearsalError
from casemate.verifier import (
    INTEL_SGX_ROOT,
    AcceptedStatus,
    AllOfPolicy,
    AnyEndorsements,
    AnyEvidence,
    AnyPolicy,
    BoundValues,
    ExpectedReportData,
    PolicyError,
    RefusedError,
    Rule,
    SgxEvidence,
    SgxPolicy,
    SimulatedRoot,
    SnpEndorsements,
    SnpEvidence,
    appraise,
    appraise_any,
    parse_any_policy,
)
from casemate.verifier.claims import Claims, claims_of
from casemate.verifier.composition import given_up
from casemate.verifier.crypto import certificate_issued_by, parse_certificate, parse_revocation_list, signed_by
from casemate.verifier.issue_marks import IssueMarks
from casemate.verifier.roots import INTEL_SGX_ROOT_CA
from casemate.verifier.snp.certificates import issued_by, parse_amd_certificate, report_signed_by
from casemate.wire.errors import CasemateError, WireError
from casemate.wire.messages.presented_evidence import PresentedEvidence
from casemate.wire.protocol.capabilities.uses import EvidenceDemand, MakerRoot
from casemate.wire.protocol.capabilities.uses import SimulatedRoot as DemandedSimulatedRoot
from casemate.wire.protocol.sandbox_layers import SandboxLayers
from casemate.wire.protocol.tee import Tee
from casemate.wire.sgx.collateral import Collateral
from casemate.wire.snp.endorsements import CertifiedKey


class EvidenceRefusedError(CasemateError):
    """A rule does not hold; for the function, which decides what it says of that."""

    def __init__(self, rule: str, *, got: str, want: object, advice: str = "") -> None:
        super().__init__(f"{rule}: got {got}, want {want}")
        self.advice = advice
        self.rule = rule
        self.got = got
        self.want = str(want)


class PolicyMistakeError(CasemateError):
    """The policy is none, or gives up what the manifest does not allow it to: a mistake of the function's author."""


@dataclass(frozen=True, slots=True)
class Appraised:
    """Evidence that a policy of the function's has accepted."""

    claims: Claims
    """JSON."""
    hpke_key: bytes | None
    """The key that REPORTDATA binds; None where it binds none."""
    marks: IssueMarks
    simulated: bool
    """The root is none of a maker's."""


_TIME = datetime(2026, 1, 1, tzinfo=UTC)
_RSA_BITS = 4096
_SECONDS_A_DAY = 86_400
_ROOTS = {MakerRoot.INTEL_SGX_ROOT: INTEL_SGX_ROOT}


def rehearse_appraisal() -> None:
    """Runs every kind of parser and signature check that the verifier uses, or raises :class:`RehearsalError`.

    Libraries import parts of themselves at first use, which a confined enclave cannot do any more.
    """
    _rehearse_intel()
    _rehearse_amd()
    with suppress(PolicyError):
        parse_any_policy("[policy]")


def appraise_peer(
    policy: PeerPolicy,
    quote: bytes,
    endorsements: Collateral | None,
    *,
    report_data: bytes,
    layers: SandboxLayers,
    now: datetime,
) -> PeerIdentity:
    """The identity of an enclave of another chip, whose quote meets the demands of a manifest's table.

    Args:
        policy: those demands.
        quote: the other's evidence, as the host hands it over.
        endorsements: the collateral that came with it.
        report_data: the 64 bytes that its REPORTDATA must be, computed from what this enclave has seen of the session.
        layers: the sandbox layers that ``report_data`` binds.
        now: the enclave's time.

    Raises:
        PeerRefusedError: the first rule that does not hold, under the verifier's name.
    """
    if policy.evidence is None:
        raise PeerRefusedError(
            Rule.EVIDENCE_KIND,
            got="evidence of another chip",
            want="a REPORT of this one",
            advice="a table `evidence` beside the identity says which evidence of another chip will do",
        )
    demanded = _policy_of(policy, policy.evidence, report_data)
    try:
        verified = appraise(SgxEvidence(quote, None), demanded, endorsements, now)
    except RefusedError as refusal:
        raise PeerRefusedError(refusal.rule, got=refusal.got, want=refusal.want, advice=refusal.advice) from None
    policy.check_layers(layers)
    return identity_in(verified.report)


def appraise_presented(
    presented: PresentedEvidence, policy: str, nonce: bytes | None, *, now: datetime, may_give_up: bool
) -> Appraised:
    """Evidence of whichever kind, by a policy's text.

    Args:
        presented: evidence, what it is said to bind, and endorsements.
        policy: TOML or JSON.
        nonce: the challenge that the evidence is to answer; None where the policy says itself what REPORTDATA is.
        now: the enclave's time.
        may_give_up: the policy may say ``ANY_`` and ``UNSAFE_``.

    Raises:
        EvidenceRefusedError: the first rule that does not hold, under the verifier's name.
        PolicyMistakeError: the policy is none, or not for this.
    """
    demanded = _policy_in(policy, may_give_up=may_give_up)
    try:
        demanded = demanded if nonce is None else demanded.with_nonce(nonce)
    except PolicyError as error:
        raise PolicyMistakeError(f"a nonce is given, and the policy takes none: {error}") from None
    bound = presented.bound
    values = None if bound is None else BoundValues(bound.hpke_key, bound.receipt_key, bound.layers)
    try:
        evidence, endorsements = _parsed(presented, values)
        verified = appraise_any(evidence, demanded, endorsements, now)
    except WireError as error:
        raise EvidenceRefusedError(Rule.EVIDENCE_KIND, got=f"{error.field}: {error.got}", want=error.want) from None
    except RefusedError as refusal:
        raise EvidenceRefusedError(refusal.rule, got=refusal.got, want=refusal.want, advice=refusal.advice) from None
    key = None if verified.binding is None else verified.binding.hpke_key
    return Appraised(claims_of(verified), key, verified.marks, verified.simulated)


def _parsed(presented: PresentedEvidence, bound: BoundValues | None) -> tuple[AnyEvidence, AnyEndorsements]:
    given = presented.endorsements
    if presented.tee is Tee.SGX:
        return SgxEvidence(presented.evidence, bound), None if given is None else Collateral.parse(given)
    if given is None:
        raise WireError("evidence.endorsements", got="none", want="certificates, and a revocation list if there is one")
    return SnpEvidence(presented.evidence, bound), SnpEndorsements.of(CertifiedKey.parse(given))


@lru_cache(maxsize=16)
def _policy_in(text: str, *, may_give_up: bool) -> AnyPolicy | AllOfPolicy:
    """Remembered, since the policies of an image are parsed again and again."""
    try:
        policy = parse_any_policy(text)
    except PolicyError as error:
        raise PolicyMistakeError(f"the policy: {error}") from None
    words = given_up(policy)
    if words and not may_give_up:
        listed = ", ".join(words)
        raise PolicyMistakeError(f"the policy says {listed}: name values instead, or write unsafe = true in [appraise]")
    return policy


def _policy_of(policy: PeerPolicy, evidence: EvidenceDemand, report_data: bytes) -> SgxPolicy:
    """The whole policy that a table means. REPORTDATA binds the layers, so :class:`PeerPolicy` itself judges those."""
    root = evidence.root
    config_id = policy.config_id
    return SgxPolicy(
        root=SimulatedRoot(root.sha256) if isinstance(root, DemandedSimulatedRoot) else _ROOTS[root],
        public_seed="REFUSE_PUBLIC_SEED",
        mr_enclave="ANY_MRENCLAVE" if policy.mr_enclave is None else frozenset({policy.mr_enclave}),
        mr_signer="ANY_MRSIGNER" if policy.mr_signer is None else frozenset({policy.mr_signer}),
        product_id="ANY_PRODUCT_ID" if policy.product_id is None else policy.product_id,
        minimum_svn="ANY_SVN" if policy.min_security_version is None else policy.min_security_version,
        debug="REFUSE_DEBUG",
        tcb=tuple(AcceptedStatus(status, "ANY_ADVISORY") for status in evidence.tcb_statuses),
        minimum_evaluation_number=evidence.min_evaluation_number,
        minimum_tcb_date="ANY_TCB_DATE",
        dynamic_platform="ANY_DYNAMIC_PLATFORM",
        cached_keys="ANY_CACHED_KEYS",
        smt="ANY_SMT",
        report_data=ExpectedReportData(report_data),
        layers="UNSAFE_ANY_SANDBOX",
        maximum_collateral_age=evidence.max_age_days * _SECONDS_A_DAY,
        config_id="ANY_CONFIG_ID" if config_id is None else frozenset({config_id}),
    )


def _rehearse_intel() -> None:
    root = parse_certificate(INTEL_SGX_ROOT_CA)
    if root.point is None or not certificate_issued_by(root.point, root.signature, root.signed):
        raise RehearsalError("Intel's root certificate does not verify under its own key")
    if signed_by(root.point, bytes(64), root.signed):
        raise RehearsalError("a signature of zeros verified")
    with suppress(WireError):
        parse_certificate(b"")
        raise RehearsalError("nothing was parsed as a certificate")
    key = ec.generate_private_key(ec.SECP256R1())
    builder = x509.CertificateRevocationListBuilder().issuer_name(_NAME).last_update(_TIME).next_update(_TIME)
    made = builder.add_extension(x509.CRLNumber(1), critical=False).sign(key, hashes.SHA256())
    parse_revocation_list(made.public_bytes(Encoding.DER))


def _rehearse_amd() -> None:
    """RSA with a key that nobody has, since to make one of 4096 bits takes seconds: what is to be seen is a refusal."""
    key = ec.generate_private_key(ec.SECP384R1())
    builder = x509.CertificateBuilder().subject_name(_NAME).issuer_name(_NAME).public_key(key.public_key())
    builder = builder.serial_number(1).not_valid_before(_TIME).not_valid_after(_TIME)
    parse_amd_certificate(builder.sign(key, hashes.SHA384()).public_bytes(Encoding.DER))
    point = key.public_key().public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo)
    modulus = (1 << _RSA_BITS) - 1
    public = rsa.RSAPublicNumbers(65537, modulus).public_key()
    encoded = public.public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo)
    if issued_by(encoded, bytes(_RSA_BITS // 8), b"") or report_signed_by(point, 1, 1, b""):
        raise RehearsalError("a signature that nobody made verified")


_NAME = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "rehearsal")])
