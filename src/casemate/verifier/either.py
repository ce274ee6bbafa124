"""Appraises evidence of any kind of TEE by the rules of its kind."""

from datetime import datetime
from typing import assert_never

from casemate.verifier.checks import Check, CheckGroup, CheckOutcome, CheckTree, RefusedError
from casemate.verifier.rules import Rule
from casemate.verifier.sgx.appraisal import appraise, explain
from casemate.verifier.sgx.evidence import SgxEvidence, VerifiedSgxEvidence
from casemate.verifier.sgx.policy import SgxPolicy
from casemate.verifier.snp.appraisal import appraise_snp, explain_snp
from casemate.verifier.snp.endorsements import SnpEndorsements
from casemate.verifier.snp.evidence import SnpEvidence, VerifiedSnpEvidence
from casemate.verifier.snp.policy import SnpPolicy
from casemate.wire.sgx.collateral import Collateral

TeePolicy = SgxPolicy | SnpPolicy
AnyEvidence = SgxEvidence | SnpEvidence
AnyEndorsements = Collateral | SnpEndorsements | None
"""None if the caller has no endorsements: SGX evidence is then refused after the rules that need none."""
AnyVerifiedEvidence = VerifiedSgxEvidence | VerifiedSnpEvidence


def appraise_for_tee(
    evidence: AnyEvidence, policy: TeePolicy, endorsements: AnyEndorsements, now: datetime
) -> AnyVerifiedEvidence:
    """The verified evidence, if every rule of its kind holds.

    Raises:
        RefusedError: the first rule that does not hold; ``evidence.kind`` if evidence and policy are of different
            kinds.
        TypeError: ``now`` has no time zone.
    """
    match evidence, policy, endorsements:
        case SgxEvidence(), SgxPolicy(), Collateral() | None:
            return appraise(evidence, policy, endorsements, now)
        case SnpEvidence(), SnpPolicy(), SnpEndorsements():
            return appraise_snp(evidence, policy, endorsements, now)
    raise RefusedError(Rule.EVIDENCE_KIND, **_two_kinds(evidence, policy))


def explain_for_tee(
    evidence: AnyEvidence, policy: TeePolicy, endorsements: AnyEndorsements, now: datetime
) -> CheckTree:
    """The result of every check of :func:`appraise_for_tee`, for display. Bad evidence never raises."""
    match evidence, policy, endorsements:
        case SgxEvidence(), SgxPolicy(), Collateral() | None:
            return explain(evidence, policy, endorsements, now)
        case SnpEvidence(), SnpPolicy(), SnpEndorsements():
            return explain_snp(evidence, policy, endorsements, now)
    check = Check(Rule.EVIDENCE_KIND, CheckOutcome.REFUSED, spans=(), **_two_kinds(evidence, policy))
    return CheckTree((CheckGroup("Evidence", (check,)),))


def _two_kinds(evidence: AnyEvidence, policy: TeePolicy) -> dict[str, str]:
    return {
        "got": f"evidence of {kind_of(evidence)}",
        "want": f"evidence of {kind_of(policy)}, for which the policy is",
    }


def kind_of(value: AnyEvidence | TeePolicy) -> str:
    """The kind of TEE in the words of messages to people."""
    match value:
        case SgxEvidence() | SgxPolicy():
            return "SGX"
        case SnpEvidence() | SnpPolicy():
            return "SEV-SNP"
        case _:
            assert_never(value)
