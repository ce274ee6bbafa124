"""The relying party's judgement: evidence, policy, endorsements and the time in; verified evidence or a refusal out.

It reads no clock, file or socket, and draws no random numbers: everything it judges by is handed to it.

Example:
    from casemate.verifier import RefusedError, SgxEvidence, appraise, parse_policy

    policy = parse_policy(text).with_nonce(nonce)
    try:
        enclave = appraise(SgxEvidence(quote, bound), policy, Collateral.parse(collateral), now)
    except RefusedError as refusal:
        print(refusal.rule, refusal.got, refusal.want)
    else:
        print(enclave.mr_enclave.hex(), enclave.tcb.status, enclave.binding.hpke_key.hex())
"""

from casemate.verifier.checks import Check, CheckGroup, CheckTree, Outcome, RefusedError
from casemate.verifier.evidence import BoundValues, SgxEvidence, VerifiedSgxEvidence, VerifiedTcb
from casemate.verifier.policy import (
    AcceptedStatus,
    ExpectedNonce,
    ExpectedReportData,
    PolicyError,
    RequiredLayers,
    SgxPolicy,
)
from casemate.verifier.policy_file import parse_policy, print_policy
from casemate.verifier.roots import INTEL_SGX_ROOT, SimulatedRoot, VendorRoot
from casemate.verifier.rules import RULES, Rule
from casemate.verifier.sgx import appraise, explain

__all__ = [
    "INTEL_SGX_ROOT",
    "RULES",
    "AcceptedStatus",
    "BoundValues",
    "Check",
    "CheckGroup",
    "CheckTree",
    "ExpectedNonce",
    "ExpectedReportData",
    "Outcome",
    "PolicyError",
    "RefusedError",
    "RequiredLayers",
    "Rule",
    "SgxEvidence",
    "SgxPolicy",
    "SimulatedRoot",
    "VendorRoot",
    "VerifiedSgxEvidence",
    "VerifiedTcb",
    "appraise",
    "explain",
    "parse_policy",
    "print_policy",
]
