"""Appraisal of SGX evidence (quote version 3), and its explanation: one sequence of checks for both.

1. The quote parses, and is of a kind that is known here.
2. Its PCK chain leads to the root that the policy names: this gives the PCK and what it says of the platform.
3. The PCK signed the quoting enclave's report, which vouches for the attestation key; that key signed the quote.
4. There is collateral; the revocation lists are good, and revoke nothing that was used.
5. TCB info and QE identity are the maker's word, current, and about this platform; neither they nor the PCK CA's list
   are older than the policy wants.
6. The quoting enclave is that of the QE identity; its level and the platform's give a status that the policy accepts,
   and so is the time since the TCB recovery that they lack. The machine is one that the policy accepts.
7. The enclave is one that the policy accepts; its REPORTDATA binds the challenge; what it binds is what is required.

The collateral's own copy of the PCK chain is not looked at: the quote carries one.
"""

import hashlib
from dataclasses import dataclass
from datetime import datetime

from casemate.verifier.age import check_age
from casemate.verifier.binding import BINDING_RULES, SANDBOX_RULES, check_layers, check_report_data, layers_of
from casemate.verifier.checks import CheckTree, Passed, Step, Trail
from casemate.verifier.common_demands import Terms
from casemate.verifier.demands import compared, judge
from casemate.verifier.rules import Rule
from casemate.verifier.sgx import quoting_enclave as quoting
from casemate.verifier.sgx import tcb
from casemate.verifier.sgx.endorsements import (
    Endorsements,
    Platform,
    chains_of,
    check_endorsements,
    check_platform_chain,
    issue_dates,
    issue_marks,
    lifetime,
    recall,
)
from casemate.verifier.sgx.evidence import SgxEvidence, VerifiedSgxEvidence, VerifiedTcb
from casemate.verifier.sgx.policy import SgxPolicy
from casemate.verifier.sgx.quotes import QUOTE_RULES, check_quote
from casemate.wire.encodings.spans import Span
from casemate.wire.errors import WireError
from casemate.wire.protocol.report_data import ReportDataBinding
from casemate.wire.sgx.collateral import Collateral
from casemate.wire.sgx.qe_identity import QeTcbLevel
from casemate.wire.sgx.quote import Quote
from casemate.wire.sgx.report import ReportBody


def appraise(
    evidence: SgxEvidence, policy: SgxPolicy, endorsements: Collateral | None, now: datetime
) -> VerifiedSgxEvidence:
    """The verified evidence, if every rule holds.

    Args:
        evidence: a quote, and what it is said to bind.
        policy: what is demanded of it.
        endorsements: the maker's collateral; None where there is none, which is refused after what needs none.
        now: the time; read it once a decision.

    Raises:
        RefusedError: the first rule that does not hold, with what it got and wanted.
        TypeError: ``now`` has no time zone.
    """
    if now.tzinfo is None:
        raise TypeError("now has no time zone")
    trail = Trail(thorough=False)
    findings = _check(trail, evidence, policy, endorsements, now)
    return _verdict(findings, evidence, policy, now, trail.passed())


def explain(evidence: SgxEvidence, policy: SgxPolicy, endorsements: Collateral | None, now: datetime) -> CheckTree:
    """Every check that :func:`appraise` makes, also those after the first refusal that do not depend on it.

    For people to look at; trust in evidence comes from :func:`appraise` alone. Bad evidence never raises.
    """
    if now.tzinfo is None:
        raise TypeError("now has no time zone")
    trail = Trail(thorough=True)
    _check(trail, evidence, policy, endorsements, now)
    return trail.tree(_spans(evidence.quote))


@dataclass(frozen=True, slots=True)
class _Findings:
    """The results of the checks."""

    quote: Step[Quote]
    platform: Platform
    endorsements: Endorsements
    tcb: Step[VerifiedTcb]
    binding: Step[ReportDataBinding | None]
    too_old_at: Step[datetime]
    grace_ends_at: Step[datetime]


def _check(
    trail: Trail, evidence: SgxEvidence, policy: SgxPolicy, given: Collateral | None, now: datetime
) -> _Findings:
    terms = Terms(policy.endorsement_demand(), now)

    # 1, 2: the quote and its PCK chain
    quote = trail.group("Quote", QUOTE_RULES, lambda: check_quote(trail, evidence.quote))

    def pem() -> bytes:
        return quote.value().signature_data.certification_data.data

    cached = None if trail.thorough else recall(pem(), given, terms)
    platform = check_platform_chain(trail, pem, terms) if cached is None else cached.platform

    # 3: from the PCK to the quote's signature
    attestation_point = trail.group(
        "Quoting enclave's report",
        quoting.QE_REPORT_RULES,
        lambda: quoting.check_qe_report(trail, evidence.quote, quote.value(), platform.chain.value()),
    )
    trail.group(
        "Quote's signature",
        (Rule.QUOTE_SIGNATURE,),
        lambda: quoting.check_quote_signature(trail, evidence.quote, quote.value(), attestation_point.value()),
    )

    # 4, 5: revocation, TCB info and QE identity
    endorsements = check_endorsements(trail, given, platform, terms) if cached is None else cached.endorsements

    too_old = trail.group(
        "Collateral's age",
        (Rule.COLLATERAL_AGE,),
        lambda: check_age(trail, issue_dates(endorsements), policy.maximum_collateral_age, now),
    )

    # 6: the TCB status of the platform
    qe_level = trail.group(
        "Quoting enclave",
        quoting.QE_MATCH_RULES,
        lambda: quoting.check_qe_match(trail, quote.value(), endorsements.identity.value()),
    )
    worth = trail.group(
        "TCB",
        tcb.TCB_RULES,
        lambda: tcb.check_tcb(trail, endorsements.info.value(), qe_level.value(), platform.pck.value(), policy),
    )
    grace = trail.group(
        "TCB recovery",
        (Rule.TCB_GRACE,),
        lambda: tcb.check_recovery_grace(
            trail, worth.value(), _recovery(platform, endorsements, qe_level.value()), policy, now
        ),
    )
    trail.group("Platform", tuple(compared(SgxPolicy, "platform")), lambda: _check_platform(trail, platform, policy))

    # 7: the enclave
    trail.group("Enclave", tuple(compared(SgxPolicy)), lambda: _check_enclave(trail, quote.value().body, policy))
    binding = trail.group(
        "Report data",
        BINDING_RULES,
        lambda: check_report_data(
            trail, quote.value().body.report_data, evidence.bound, policy.report_data, at="body.report_data"
        ),
    )
    trail.group("Sandbox", SANDBOX_RULES, lambda: check_layers(trail, layers_of(binding.value()), policy.layers))
    return _Findings(quote, platform, endorsements, worth, binding, too_old, grace)


def _recovery(platform: Platform, endorsements: Endorsements, qe_level: QeTcbLevel) -> datetime | None:
    return tcb.recovery(endorsements.info.value(), platform.pck.value(), endorsements.identity.value(), qe_level)


def _check_platform(trail: Trail, platform: Platform, policy: SgxPolicy) -> None:
    """The machine is one that the policy accepts, by what its PCK certificate says."""
    pck = platform.pck.value()
    for member in compared(SgxPolicy, "platform").values():
        judge(trail, member, policy, pck, within=None)


def _check_enclave(trail: Trail, body: ReportBody, policy: SgxPolicy) -> None:
    """The enclave is one that the policy accepts, by its report."""
    for member in compared(SgxPolicy).values():
        judge(trail, member, policy, body, within="body.")


def _verdict(
    findings: _Findings, evidence: SgxEvidence, policy: SgxPolicy, now: datetime, passed: Passed
) -> VerifiedSgxEvidence:
    """The verified evidence, after every check has passed."""
    chains = [chain.value() for chain in chains_of(findings.platform, findings.endorsements)]
    return VerifiedSgxEvidence(
        quote_hash=hashlib.sha256(evidence.quote).digest(),
        report=findings.quote.value().body,
        platform=findings.platform.pck.value(),
        chain=findings.platform.chain.value(),
        binding=findings.binding.value(),
        tcb=findings.tcb.value(),
        root=policy.root.name,
        simulated=any(chain.simulated for chain in chains),
        seeded=any(chain.seeded for chain in chains),
        appraised_at=now,
        expires_at=min(
            lifetime(findings.platform, findings.endorsements)[1],
            findings.too_old_at.value(),
            findings.grace_ends_at.value(),
        ),
        marks=issue_marks(findings.platform, findings.endorsements),
        passed=passed,
    )


def _spans(quote: bytes) -> tuple[Span, ...]:
    try:
        return Quote.parse(quote).spans()
    except WireError:
        return ()
