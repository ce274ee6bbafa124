"""The identities that sealed data can be bound to, and the public name of a sealed state."""

import hashlib
from enum import StrEnum

from casemate.wire.protocol.deployment import NO_DEPLOYMENT
from casemate.wire.protocol.tee import Identity, Tee
from casemate.wire.sgx.keyrequest import KeyPolicy

_NAMESPACE_LABEL = b"casemate sealed state v1\x00"


class SealBinding(StrEnum):
    """The identity that a sealing key is bound to, as manifests write it; the same for every TEE."""

    MRENCLAVE = "mrenclave"
    """The measurement: only the same image can unseal."""
    MRSIGNER = "mrsigner"
    """The signer and the product id: every image of both can unseal, if its security version is not lower."""

    @property
    def key_policy(self) -> KeyPolicy:
        """KEYREQUEST.KEYPOLICY for this binding (SDM volume 3D, 38.17.2)."""
        return KeyPolicy.MRENCLAVE if self is SealBinding.MRENCLAVE else KeyPolicy.MRSIGNER


def state_namespace(binding: SealBinding, who: Identity) -> bytes:
    """The public name of an identity's sealed state (32 bytes): the host files records under it, the chip its anchor.

    Debug enclaves, which their host can steer, have states of their own, as the chip gives them keys of their own; and
    so have the same image in another kind of TEE, and each deployment that has an owner.
    """
    by_code = binding is SealBinding.MRENCLAVE
    identity = who.measurement if by_code else who.mr_signer + who.isv_prod_id.to_bytes(2, "little")
    kind = binding.encode() + (b" debug" if who.debug else b" production")
    tee = b"" if who.tee is Tee.SGX else b" " + who.tee.encode()
    owned = b"" if who.deployment == NO_DEPLOYMENT else b" deployment " + who.deployment.hex().encode()
    return hashlib.sha256(_NAMESPACE_LABEL + kind + tee + owned + b"\x00" + identity).digest()
