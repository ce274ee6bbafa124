"""A strict policy for SGX evidence, to change one demand of."""

from datetime import UTC, datetime
from typing import Any

from casemate.verifier import (
    INTEL_SGX_ROOT,
    AcceptedStatus,
    RequiredLayers,
    SgxPolicy,
)
from casemate.wire.protocol.sandbox_layers import LayerName
from casemate.wire.sgx.tcb_info import TcbStatus

STRICT: dict[str, Any] = {
    "root": INTEL_SGX_ROOT,
    "public_seed": "REFUSE_PUBLIC_SEED",
    "mr_enclave": frozenset({bytes(32)}),
    "mr_signer": "ANY_MRSIGNER",
    "product_id": 1,
    "minimum_svn": 2,
    "debug": "REFUSE_DEBUG",
    "tcb": (AcceptedStatus(TcbStatus.UP_TO_DATE, frozenset()),),
    "minimum_evaluation_number": 17,
    "minimum_tcb_date": datetime(2025, 1, 1, tzinfo=UTC),
    "dynamic_platform": "MUST_BE_OFF",
    "cached_keys": "MUST_BE_OFF",
    "smt": "MUST_BE_OFF",
    "report_data": "FRESH_NONCE",
    "layers": RequiredLayers(frozenset({LayerName.SECCOMP}), frozenset(LayerName)),
}


def policy(**changed: Any) -> SgxPolicy:
    return SgxPolicy(**(STRICT | changed))
