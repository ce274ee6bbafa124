"""To whom sealed data belong: the policy of a sealing key, and the name of a sealed state."""

import hashlib
from enum import StrEnum

from casemate.wire.protocol.tee import Identity, Tee

_NAMESPACE_LABEL = b"casemate sealed state v1\x00"


class SealPolicy(StrEnum):
    """KEYREQUEST.KEYPOLICY (SDM volume 3D, 38.17.2) as manifests write it, whatever the TEE."""

    MRENCLAVE = "mrenclave"
    """This very code alone, by its measurement."""
    MRSIGNER = "mrsigner"
    """Every enclave of the same signer and product id whose security version is not lower."""


def state_namespace(policy: SealPolicy, who: Identity) -> bytes:
    """The public name of an identity's sealed state (32 bytes): the host files records under it, the chip its anchor.

    Debug enclaves, which their host can steer, have states of their own, as the chip gives them keys of their own; and
    so has the same image in another kind of TEE.
    """
    by_code = policy is SealPolicy.MRENCLAVE
    identity = who.measurement if by_code else who.mr_signer + who.isv_prod_id.to_bytes(2, "little")
    kind = policy.encode() + (b" debug" if who.debug else b" production")
    tee = b"" if who.tee is Tee.SGX else b" " + who.tee.encode()
    return hashlib.sha256(_NAMESPACE_LABEL + kind + tee + b"\x00" + identity).digest()
