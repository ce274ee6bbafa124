"""To whom sealed data belong: the policy of a sealing key, and the name of a sealed state."""

import hashlib
from enum import StrEnum

_NAMESPACE_LABEL = b"casemate sealed state v1\x00"


class SealPolicy(StrEnum):
    """KEYREQUEST.KEYPOLICY (SDM volume 3D, 38.17.2) as manifests write it."""

    MRENCLAVE = "mrenclave"
    """This very code alone."""
    MRSIGNER = "mrsigner"
    """Every enclave of the same signer and product id whose security version is not lower."""


def state_namespace(policy: SealPolicy, *, mr_enclave: bytes, mr_signer: bytes, isv_prod_id: int, debug: bool) -> bytes:
    """The public name of an identity's sealed state (32 bytes): the host files records under it, the chip its anchor.

    Debug enclaves, which their host can steer, have states of their own, as EGETKEY gives them keys of their own.
    """
    identity = mr_enclave if policy is SealPolicy.MRENCLAVE else mr_signer + isv_prod_id.to_bytes(2, "little")
    kind = policy.encode() + (b" debug\x00" if debug else b" production\x00")
    return hashlib.sha256(_NAMESPACE_LABEL + kind + identity).digest()
