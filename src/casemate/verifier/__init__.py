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

from casemate.verifier.binding import BoundValues
from casemate.verifier.checks import Check, CheckGroup, CheckOutcome, CheckTree, RefusedError
from casemate.verifier.common_demands import ExpectedNonce, ExpectedReportData, ExpectedReportDataPrefix, RequiredLayers
from casemate.verifier.composition import (
    AllOfPolicy,
    AnyOfPolicy,
    AnyPolicy,
    CodeIdentity,
    CompositionRefusedError,
    Piece,
    VerifiedComposite,
    appraise_all,
    appraise_any,
    explain_any,
    parse_any_policy,
    print_any_policy,
)
from casemate.verifier.demands import PolicyError
from casemate.verifier.either import AnyEndorsements, AnyEvidence, AnyVerifiedEvidence, TeePolicy
from casemate.verifier.ra_tls import VerifiedCertificate, appraise_certificate, explain_certificate
from casemate.verifier.roots import (
    AMD_GENOA_ROOT,
    AMD_MILAN_ROOT,
    AMD_TURIN_ROOT,
    INTEL_SGX_ROOT,
    Anchor,
    SimulatedRoot,
    VendorKey,
    VendorRoot,
)
from casemate.verifier.rules import RULES, Rule
from casemate.verifier.sgx.appraisal import appraise, explain
from casemate.verifier.sgx.evidence import SgxEvidence, VerifiedSgxEvidence, VerifiedTcb
from casemate.verifier.sgx.policy import AcceptedStatus, MaskedBits, SgxPolicy, parse_policy, print_policy
from casemate.verifier.snp.appraisal import appraise_snp, explain_snp
from casemate.verifier.snp.endorsements import SnpEndorsements
from casemate.verifier.snp.evidence import SnpEvidence, VerifiedSnpEvidence
from casemate.verifier.snp.policy import (
    AbiVersion,
    FirmwareVersion,
    GuestPolicyDemand,
    PlatformDemand,
    SnpPolicy,
    parse_snp_policy,
    print_snp_policy,
)

__all__ = [
    "AMD_GENOA_ROOT",
    "AMD_MILAN_ROOT",
    "AMD_TURIN_ROOT",
    "INTEL_SGX_ROOT",
    "RULES",
    "AbiVersion",
    "AcceptedStatus",
    "AllOfPolicy",
    "Anchor",
    "AnyEndorsements",
    "AnyEvidence",
    "AnyOfPolicy",
    "AnyPolicy",
    "AnyVerifiedEvidence",
    "BoundValues",
    "Check",
    "CheckGroup",
    "CheckOutcome",
    "CheckTree",
    "CodeIdentity",
    "CompositionRefusedError",
    "ExpectedNonce",
    "ExpectedReportData",
    "ExpectedReportDataPrefix",
    "FirmwareVersion",
    "GuestPolicyDemand",
    "MaskedBits",
    "Piece",
    "PlatformDemand",
    "PolicyError",
    "RefusedError",
    "RequiredLayers",
    "Rule",
    "SgxEvidence",
    "SgxPolicy",
    "SimulatedRoot",
    "SnpEndorsements",
    "SnpEvidence",
    "SnpPolicy",
    "TeePolicy",
    "VendorKey",
    "VendorRoot",
    "VerifiedCertificate",
    "VerifiedComposite",
    "VerifiedSgxEvidence",
    "VerifiedSnpEvidence",
    "VerifiedTcb",
    "appraise",
    "appraise_all",
    "appraise_any",
    "appraise_certificate",
    "appraise_snp",
    "explain",
    "explain_any",
    "explain_certificate",
    "explain_snp",
    "parse_any_policy",
    "parse_policy",
    "parse_snp_policy",
    "print_any_policy",
    "print_policy",
    "print_snp_policy",
]
