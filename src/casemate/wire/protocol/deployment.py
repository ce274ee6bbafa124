"""A deployment's identity: the hash of its owner's public key and its name, which the chip attests.

Two deployments of one image that have different owners, or names, are two parties: evidence tells them apart. One
without an owner has :data:`NO_DEPLOYMENT`.
"""

import hashlib
from typing import Final

DEPLOYMENT_SIZE: Final = 32
CONFIG_ID_SIZE: Final = 64
NO_DEPLOYMENT: Final = bytes(DEPLOYMENT_SIZE)
"""The identity of a deployment without an owner."""
_OWNER_SIZE: Final = 32
_LABEL: Final = b"casemate deployment 1\0"


def config_id(deployment: bytes) -> bytes:
    """CONFIGID (64 bytes) of an SGX enclave with that identity: it, and zeros. HOST_DATA of SEV-SNP is it alone."""
    return deployment.ljust(CONFIG_ID_SIZE, b"\x00")


def deployment_id(owner_key: bytes, name: str) -> bytes:
    """The identity of an owner's deployment: 32 bytes.

    Args:
        owner_key: the owner's Ed25519 public key.
        name: the deployment's, which its owner gives it.
    """
    if len(owner_key) != _OWNER_SIZE:  # the name follows without a length before it
        raise ValueError(f"an owner's key has {_OWNER_SIZE} bytes, got {len(owner_key)}")
    return hashlib.sha256(_LABEL + owner_key + name.encode()).digest()
