"""Evidence of any kind of TEE, judged by the rules of its kind: for whoever talks to functions wherever they run."""

from datetime import datetime
from typing import assert_never

from casemate.verifier.checks import RefusedError
from casemate.verifier.demands import PolicyError
from casemate.verifier.policy_text import policy_body
from casemate.verifier.rules import Rule
from casemate.verifier.sgx.appraisal import appraise
from casemate.verifier.sgx.evidence import SgxEvidence, VerifiedSgxEvidence
from casemate.verifier.sgx.policy import SgxPolicy, parse_policy
from casemate.verifier.snp.appraisal import appraise_snp
from casemate.verifier.snp.evidence import SnpEndorsements, SnpEvidence, VerifiedSnpEvidence
from casemate.verifier.snp.policy import SnpPolicy, parse_snp_policy
from casemate.wire.errors import WireError
from casemate.wire.sgx.collateral import Collateral

AnyPolicy = SgxPolicy | SnpPolicy
AnyEvidence = SgxEvidence | SnpEvidence
AnyEndorsements = Collateral | SnpEndorsements
AnyVerifiedEvidence = VerifiedSgxEvidence | VerifiedSnpEvidence


def appraise_any(
    evidence: AnyEvidence, policy: AnyPolicy, endorsements: AnyEndorsements, now: datetime
) -> AnyVerifiedEvidence:
    """The verified evidence, if every rule of its kind holds.

    Args:
        evidence: of any kind.
        policy: for that kind.
        endorsements: of that kind.
        now: the time.

    Raises:
        RefusedError: the first rule that does not hold; ``evidence.kind`` where evidence and policy are of two kinds.
        TypeError: ``now`` has no time zone.
    """
    match evidence, policy, endorsements:
        case SgxEvidence(), SgxPolicy(), Collateral():
            return appraise(evidence, policy, endorsements, now)
        case SnpEvidence(), SnpPolicy(), SnpEndorsements():
            return appraise_snp(evidence, policy, endorsements, now)
    raise RefusedError(Rule.EVIDENCE_KIND, got=kind_of(evidence), want=f"{kind_of(policy)}, for which the policy is")


def parse_any_policy(text: str) -> AnyPolicy:
    """The policy in a text, of the kind whose measurement it names.

    Raises:
        PolicyError: as :func:`parse_policy` and :func:`parse_snp_policy`.
    """
    try:
        is_snp = policy_body(text).has("measurement")
    except WireError as error:
        raise PolicyError(str(error)) from None
    return parse_snp_policy(text) if is_snp else parse_policy(text)


def kind_of(value: AnyEvidence | AnyPolicy) -> str:
    """The kind of TEE, for people."""
    match value:
        case SgxEvidence() | SgxPolicy():
            return "evidence of SGX"
        case SnpEvidence() | SnpPolicy():
            return "evidence of SEV-SNP"
        case _:
            assert_never(value)
