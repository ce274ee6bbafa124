"""A service's configuration, as its deployment's owner signs it.

The signature names the deployment and a version: a configuration of another deployment is refused, and so is an
earlier version.
"""

from dataclasses import dataclass
from typing import Annotated, Final

from casemate.wire.encodings.message import U64, Bytes32, Fixed, Limit, Name

MAX_CONFIGURATION: Final = 64 * 1024
"""Longest configuration (bytes of JSON)."""
MAX_VERSION: Final = 2**53 - 1
"""Highest version of a configuration: the largest integer in JSON."""
_LABEL: Final = b"casemate configuration 1\0"


@dataclass(frozen=True, slots=True)
class SignedConfiguration:
    """A configuration, and the owner's word for it."""

    owner_key: Bytes32
    """Ed25519: with :attr:`name` it gives the deployment's identity (:mod:`casemate.wire.protocol.deployment`)."""
    name: Name
    """The deployment's."""
    version: U64
    text: Annotated[bytes, Limit(MAX_CONFIGURATION)]
    """JSON."""
    signature: Annotated[bytes, Fixed(64)]
    """Over :func:`signed_configuration`."""


def signed_configuration(deployment: bytes, version: int, text: bytes) -> bytes:
    """What the owner signs.

    Args:
        deployment: its identity, 32 bytes.
        version: of the configuration.
        text: JSON.
    """
    return _LABEL + deployment + version.to_bytes(8, "little") + text
