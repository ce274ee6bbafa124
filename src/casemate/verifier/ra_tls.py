"""Appraisal of a TLS certificate with evidence in it (RA-TLS): is this key one that such an enclave has made?

1. The certificate parses, is signed by its own key, and is valid now.
2. It carries evidence: tagged evidence, or where there is none, a legacy quote.
3. The evidence's claims hold the hash of the certificate's key. A legacy quote has no claims but that hash.
4. The claims hold the nonce, if the policy demands one.
5. The quote is good, by all the rules of :mod:`casemate.verifier.sgx.appraisal`; its REPORTDATA is the hash of the
claims, in a
   legacy quote that of the key (``binding.report-data``).
6. The sandbox layers are those that the policy demands.

That says whose key it is. Only a handshake shows that the other end *has* the key; so a certificate from a file shows
where an enclave may be found, not that one is there.

``FRESH_NONCE`` in a policy is met by the handshake: it answers random bytes of the client's with a key that the quote
vouches for, made in the enclave at its start or later. How old the quote is, the certificate's dates say: the enclave's
word, by a clock of its host's; so a policy that fears a late TCB recovery has ``minimum_tcb_date``.

The two forms of evidence vouch for no sandbox layers. What the enclave says of them over a connection that its
certificate has authenticated is as much its word as REPORTDATA is; who has such a connection hands the layers over.
"""

from contextlib import suppress
from dataclasses import InitVar, dataclass, replace
from datetime import datetime

from casemate.verifier.binding import SANDBOX_RULES, check_layers
from casemate.verifier.checks import CheckTree, Passed, Trail, window
from casemate.verifier.common_demands import ExpectedNonce, ExpectedReportData
from casemate.verifier.crypto import signed_by_certified_key
from casemate.verifier.rules import Rule
from casemate.verifier.sgx.appraisal import appraise, explain
from casemate.verifier.sgx.evidence import SgxEvidence, VerifiedSgxEvidence
from casemate.verifier.sgx.policy import SgxPolicy
from casemate.wire.errors import WireError
from casemate.wire.protocol.ra_tls import Claims, TaggedEvidence, legacy_report_data, report_data_of_claims
from casemate.wire.protocol.ra_tls_certificate import RaTlsCertificate
from casemate.wire.protocol.sandbox_layers import SandboxLayers
from casemate.wire.sgx.collateral import Collateral

_CERTIFICATE_RULES = (
    Rule.RA_TLS_FORMAT,
    Rule.RA_TLS_SIGNATURE,
    Rule.RA_TLS_VALIDITY,
    Rule.RA_TLS_EVIDENCE,
    Rule.RA_TLS_PUBLIC_KEY,
    Rule.RA_TLS_NONCE,
)


@dataclass(frozen=True, slots=True, kw_only=True)
class VerifiedCertificate:
    """A certificate whose key one policy accepted at one time."""

    der: bytes
    public_key: bytes
    """SubjectPublicKeyInfo in DER."""
    not_after: datetime
    layers: SandboxLayers | None
    """The layers that the enclave reports; None if nobody asked it and the policy demands none."""
    enclave: VerifiedSgxEvidence
    passed: InitVar[Passed]

    def __post_init__(self, passed: Passed) -> None:
        Passed.demand(passed)


def appraise_certificate(
    certificate: bytes,
    policy: SgxPolicy,
    endorsements: Collateral | None,
    now: datetime,
    *,
    layers: SandboxLayers | None,
) -> VerifiedCertificate:
    """The verified certificate, if every rule holds.

    Args:
        certificate: in DER.
        policy: what is demanded. ``FRESH_NONCE`` is for the handshake to meet; ``ExpectedReportData`` is not looked at,
            since the certificate's key is what REPORTDATA must vouch for.
        endorsements: the maker's collateral.
        now: the time.
        layers: what the enclave has said over a connection with exactly this certificate; None where there was none,
            which a policy that demands layers does not accept.

    Raises:
        RefusedError: the first rule that does not hold.
        TypeError: ``now`` has no time zone.
    """
    if now.tzinfo is None:
        raise TypeError("now has no time zone")
    trail = Trail(thorough=False)
    found = _check_certificate(trail, certificate, policy, now)
    enclave = appraise(SgxEvidence(found.quote, None), _for_quote(policy, found.report_data), endorsements, now)
    check_layers(trail, layers, policy.layers)
    return VerifiedCertificate(
        der=found.certificate.der,
        public_key=found.certificate.public_key,
        not_after=found.certificate.not_after,
        layers=layers,
        enclave=enclave,
        passed=trail.passed(),
    )


def explain_certificate(
    certificate: bytes,
    policy: SgxPolicy,
    endorsements: Collateral | None,
    now: datetime,
    *,
    layers: SandboxLayers | None,
) -> CheckTree:
    """Every check that :func:`appraise_certificate` makes, for people to look at; bad evidence never raises."""
    if now.tzinfo is None:
        raise TypeError("now has no time zone")
    trail = Trail(thorough=True)
    step = trail.group("Certificate", _CERTIFICATE_RULES, lambda: _check_certificate(trail, certificate, policy, now))
    trail.group("Sandbox", SANDBOX_RULES, lambda: check_layers(trail, layers, policy.layers))
    first, sandbox = trail.tree(()).groups
    if step.is_reached:
        found = step.value()
        inner = explain(SgxEvidence(found.quote, None), _for_quote(policy, found.report_data), endorsements, now)
        return CheckTree((first, *(group for group in inner.groups if group.title != sandbox.title), sandbox))
    return CheckTree((first, sandbox))


def unverified_quote(certificate: bytes) -> bytes:
    """The quote in a certificate (DER), to be looked at; empty where there is none."""
    with suppress(WireError):
        parsed = RaTlsCertificate.parse(certificate)
        if parsed.evidence is not None:
            return TaggedEvidence.parse(parsed.evidence).quote
        return parsed.legacy_quote or b""
    return b""


@dataclass(frozen=True, slots=True)
class _Found:
    certificate: RaTlsCertificate
    quote: bytes
    report_data: bytes
    """The REPORTDATA that the quote must have."""


def _check_certificate(trail: Trail, data: bytes, policy: SgxPolicy, now: datetime) -> _Found:
    certificate = trail.parse(Rule.RA_TLS_FORMAT, RaTlsCertificate.parse, data, "an X.509 certificate")
    trail.expect(
        Rule.RA_TLS_SIGNATURE,
        signed_by_certified_key(
            certificate.public_key, certificate.signature_algorithm, certificate.signature, certificate.signed
        ),
        got="a signature by another key, or a key of another kind",
        want="its own signature",
    )
    trail.expect(
        Rule.RA_TLS_VALIDITY,
        certificate.not_before <= now <= certificate.not_after,
        got=now,
        want=window(certificate.not_before, certificate.not_after, "certificate"),
    )
    if certificate.evidence is None:
        return _check_legacy(trail, certificate, policy)
    return _check_tagged(trail, certificate, certificate.evidence, policy)


def _check_tagged(trail: Trail, certificate: RaTlsCertificate, value: bytes, policy: SgxPolicy) -> _Found:
    evidence = trail.parse(Rule.RA_TLS_EVIDENCE, TaggedEvidence.parse, value, "tagged evidence")
    claims = trail.parse(Rule.RA_TLS_EVIDENCE, Claims.parse, evidence.claims, "claims")
    trail.expect(
        Rule.RA_TLS_PUBLIC_KEY,
        claims.pubkey_hash.is_of(certificate.public_key),
        got=claims.pubkey_hash.value,
        want=f"{claims.pubkey_hash.algorithm.name} of the certificate's key",
    )
    _check_nonce(trail, claims.nonce, policy)
    return _Found(certificate, evidence.quote, report_data_of_claims(evidence.claims))


def _check_legacy(trail: Trail, certificate: RaTlsCertificate, policy: SgxPolicy) -> _Found:
    if certificate.legacy_quote is None:
        trail.refuse(Rule.RA_TLS_EVIDENCE, got="none", want="tagged evidence, or a legacy quote")
    trail.found(Rule.RA_TLS_EVIDENCE, got="a legacy quote", want="tagged evidence, or a legacy quote")
    _check_nonce(trail, None, policy)
    return _Found(certificate, certificate.legacy_quote, legacy_report_data(certificate.public_key))


def _check_nonce(trail: Trail, nonce: bytes | None, policy: SgxPolicy) -> None:
    demand = policy.report_data
    if isinstance(demand, ExpectedNonce):
        trail.expect(Rule.RA_TLS_NONCE, nonce == demand.nonce, got=nonce or "no nonce", want=demand.nonce)
    else:
        trail.waive(Rule.RA_TLS_NONCE, got=nonce or "no nonce", by="the handshake's own freshness")


def _for_quote(policy: SgxPolicy, report_data: bytes) -> SgxPolicy:
    """The policy for the quote, which must bind the key. The certificate's own appraisal checks the layers."""
    return replace(policy, report_data=ExpectedReportData(report_data), layers="UNSAFE_ANY_SANDBOX")
