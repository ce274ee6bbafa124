"""Appraisal of SGX evidence (quote version 3), and its explanation: one sequence of checks for both.

1. The quote parses, and is of a kind that is known here.
2. Its PCK chain leads to the root that the policy names: this gives the PCK and what it says of the platform.
3. The PCK signed the quoting enclave's report, which vouches for the attestation key; that key signed the quote.
4. There is collateral; the revocation lists are good, and revoke nothing that was used.
5. TCB info and QE identity are the maker's word, current, and about this platform.
6. The quoting enclave is that of the QE identity; its level and the platform's give a status that the policy accepts.
7. The enclave is one that the policy accepts; its REPORTDATA binds the challenge; what it binds is what is required.

The collateral's own copy of the PCK chain is not looked at: the quote carries one.
"""

import hashlib
from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime

from casemate.verifier import enclave, quoting, tcb
from casemate.verifier.chains import (
    CHAIN_RULES,
    PCK_CA_NAMES,
    PCK_NAMES,
    ROOT_NAMES,
    TCB_SIGNING_NAMES,
    Chain,
    check_chain,
)
from casemate.verifier.checks import CheckTree, Step, Trail
from casemate.verifier.collateral import QE_IDENTITY_RULES, TCB_INFO_RULES, check_qe_identity, check_tcb_info
from casemate.verifier.evidence import SgxEvidence, VerifiedSgxEvidence, VerifiedTcb, vouch_for
from casemate.verifier.policy import SgxPolicy, Terms
from casemate.verifier.quotes import PCK_RULES, QUOTE_RULES, check_quote, pck_extension
from casemate.verifier.revocation import (
    REVOCATION_RULES,
    RevocationLists,
    check_issuer_chain,
    check_revocation,
    check_signer_not_revoked,
)
from casemate.verifier.rules import Rule
from casemate.wire.binding import ReportDataBinding
from casemate.wire.errors import WireError
from casemate.wire.sgx.collateral import Collateral
from casemate.wire.sgx.pck import PckExtension
from casemate.wire.sgx.qe_identity import QeIdentity
from casemate.wire.sgx.quote import Quote
from casemate.wire.sgx.tcb_info import TcbInfo
from casemate.wire.spans import Span


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
    terms = Terms(policy, now)
    return _verdict(_check(Trail(thorough=False), evidence, endorsements, terms), evidence, terms)


def explain(evidence: SgxEvidence, policy: SgxPolicy, endorsements: Collateral | None, now: datetime) -> CheckTree:
    """Every check that :func:`appraise` makes, also those after the first refusal that do not stand on it.

    For people to look at; trust in evidence comes from :func:`appraise` alone. Bad evidence never raises.
    """
    if now.tzinfo is None:
        raise TypeError("now has no time zone")
    trail = Trail(thorough=True)
    _check(trail, evidence, endorsements, Terms(policy, now))
    return trail.tree(_spans(evidence.quote))


@dataclass(frozen=True, slots=True)
class _Findings:
    """What the checks have yielded."""

    quote: Step[Quote]
    chains: tuple[Step[Chain], ...]
    pck: Step[PckExtension]
    lists: Step[RevocationLists]
    info: Step[TcbInfo]
    identity: Step[QeIdentity]
    tcb: Step[VerifiedTcb]
    binding: Step[ReportDataBinding | None]


def _check(trail: Trail, evidence: SgxEvidence, endorsements: Collateral | None, terms: Terms) -> _Findings:
    policy = terms.policy

    # 1, 2: the quote and its PCK chain
    quote = trail.group("Quote", QUOTE_RULES, lambda: check_quote(trail, evidence.quote))
    pck_chain = trail.group(
        "PCK certificate chain",
        CHAIN_RULES,
        lambda: check_chain(
            trail,
            quote.value().signature_data.certification_data.data,
            (PCK_NAMES, PCK_CA_NAMES, ROOT_NAMES),
            terms,
            ("signature_data.certification_data.data",),
        ),
    )
    pck = trail.group("PCK certificate", PCK_RULES, lambda: pck_extension(trail, pck_chain.value()))

    # 3: from the PCK to the quote's signature
    attestation_point = trail.group(
        "Quoting enclave's report",
        quoting.QE_REPORT_RULES,
        lambda: quoting.check_qe_report(trail, evidence.quote, quote.value(), pck_chain.value()),
    )
    trail.group(
        "Quote's signature",
        (Rule.QUOTE_SIGNATURE,),
        lambda: quoting.check_quote_signature(trail, evidence.quote, quote.value(), attestation_point.value()),
    )

    # 4: revocation
    collateral = trail.group("Collateral", (Rule.COLLATERAL_PRESENT,), lambda: _present(trail, endorsements))
    lists = trail.group(
        "Revocation lists",
        REVOCATION_RULES,
        lambda: check_revocation(trail, collateral.value(), pck_chain.value(), terms.now),
    )
    crl_chain = trail.group(
        "PCK CRL issuer chain",
        CHAIN_RULES,
        lambda: check_chain(trail, collateral.value().pck_crl_issuer_chain, (PCK_CA_NAMES, ROOT_NAMES), terms),
    )
    trail.group(
        "PCK CRL issuer",
        (Rule.CRL_ISSUER,),
        lambda: check_issuer_chain(trail, crl_chain.value(), pck_chain.value()),
    )

    # 5: TCB info and QE identity
    def signing_chain(what: str, pem: Callable[[Collateral], bytes]) -> Step[Chain]:
        chain = trail.group(
            f"{what} issuer chain",
            CHAIN_RULES,
            lambda: check_chain(trail, pem(collateral.value()), (TCB_SIGNING_NAMES, ROOT_NAMES), terms),
        )
        trail.group(
            f"{what} issuer",
            (Rule.REVOKED_TCB_SIGNING,),
            lambda: check_signer_not_revoked(trail, chain.value(), lists.value()),
        )
        return chain

    info_chain = signing_chain("TCB info", lambda given: given.tcb_info_issuer_chain)
    info = trail.group(
        "TCB info",
        TCB_INFO_RULES,
        lambda: check_tcb_info(trail, collateral.value(), info_chain.value(), pck.value(), terms),
    )
    identity_chain = signing_chain("QE identity", lambda given: given.qe_identity_issuer_chain)
    identity = trail.group(
        "QE identity",
        QE_IDENTITY_RULES,
        lambda: check_qe_identity(trail, collateral.value(), identity_chain.value(), terms),
    )

    # 6: what the platform is worth
    qe_level = trail.group(
        "Quoting enclave",
        quoting.QE_MATCH_RULES,
        lambda: quoting.check_qe_match(trail, quote.value(), identity.value()),
    )
    worth = trail.group(
        "TCB",
        tcb.TCB_RULES,
        lambda: tcb.check_tcb(trail, info.value(), qe_level.value(), pck.value(), policy),
    )
    trail.group("Platform", tcb.PLATFORM_RULES, lambda: tcb.check_platform(trail, pck.value(), policy))

    # 7: the enclave
    trail.group("Enclave", enclave.IDENTITY_RULES, lambda: enclave.check_identity(trail, quote.value().body, policy))
    binding = trail.group(
        "Report data",
        enclave.BINDING_RULES,
        lambda: enclave.check_report_data(trail, quote.value().body, evidence.bound, policy),
    )
    trail.group("Sandbox", enclave.SANDBOX_RULES, lambda: enclave.check_layers(trail, binding.value(), policy))
    chains = (pck_chain, crl_chain, info_chain, identity_chain)
    return _Findings(quote, chains, pck, lists, info, identity, worth, binding)


def _verdict(findings: _Findings, evidence: SgxEvidence, terms: Terms) -> VerifiedSgxEvidence:
    """What the relying party may believe, once every check has passed."""
    body, pck = findings.quote.value().body, findings.pck.value()
    chains = tuple(chain.value() for chain in findings.chains)
    return vouch_for(
        quote_hash=hashlib.sha256(evidence.quote).digest(),
        mr_enclave=body.mr_enclave,
        mr_signer=body.mr_signer,
        isv_prod_id=body.isv_prod_id,
        isv_svn=body.isv_svn,
        attributes=body.attributes,
        report_data=body.report_data,
        binding=findings.binding.value(),
        tcb=findings.tcb.value(),
        ppid=pck.ppid,
        fmspc=pck.fmspc,
        root=terms.policy.root.name,
        simulated=any(chain.simulated for chain in chains),
        seeded=any(chain.seeded for chain in chains),
        appraised_at=terms.now,
        expires_at=min(
            findings.lists.value().next_update,
            findings.info.value().next_update,
            findings.identity.value().next_update,
            *(chain.soonest.not_after for chain in chains),
        ),
    )


def _present(trail: Trail, endorsements: Collateral | None) -> Collateral:
    if endorsements is None:
        trail.refuse(Rule.COLLATERAL_PRESENT, got="none", want="collateral")
    trail.found(Rule.COLLATERAL_PRESENT, got="collateral", want="collateral")
    return endorsements


def _spans(quote: bytes) -> tuple[Span, ...]:
    try:
        return Quote.parse(quote).spans()
    except WireError:
        return ()
