"""Quotes of real SGX hardware, and a policy that accepts them."""

from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from casemate.verifier import (
    INTEL_SGX_ROOT,
    SgxEvidence,
    SgxPolicy,
)
from casemate.verifier.sgx.policy import AcceptedStatus
from casemate.wire.sgx.collateral import Collateral
from casemate.wire.sgx.tcb_info import TcbStatus

GOOD_TIME = datetime.fromtimestamp(1751624924, UTC)


def policy(**changed: Any) -> SgxPolicy:
    """Takes any enclave on any platform that is not revoked, unless told otherwise."""
    members: dict[str, Any] = {
        "root": INTEL_SGX_ROOT,
        "public_seed": "REFUSE_PUBLIC_SEED",
        "mr_enclave": "UNSAFE_ANY_ENCLAVE",
        "mr_signer": "ANY_MRSIGNER",
        "product_id": "ANY_PRODUCT_ID",
        "minimum_svn": "ANY_SVN",
        "debug": "REFUSE_DEBUG",
        "tcb": tuple(AcceptedStatus(status, "ANY_ADVISORY") for status in TcbStatus if status is not TcbStatus.REVOKED),
        "minimum_evaluation_number": "ANY_EVALUATION_NUMBER",
        "minimum_tcb_date": "ANY_TCB_DATE",
        "dynamic_platform": "ANY_DYNAMIC_PLATFORM",
        "cached_keys": "ANY_CACHED_KEYS",
        "smt": "ANY_SMT",
        "report_data": "UNSAFE_ANY_REPORT_DATA",
        "layers": "UNSAFE_ANY_SANDBOX",
    }
    return SgxPolicy(**(members | changed))


def load(vectors: Path, name: str) -> tuple[SgxEvidence, Collateral]:
    quote = (vectors / "sgx" / f"{name}.bin").read_bytes()
    collateral = (vectors / "sgx" / f"{name}.collateral.json").read_bytes()
    return SgxEvidence(quote, None), Collateral.parse(collateral)
