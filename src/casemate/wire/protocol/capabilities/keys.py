"""The tables ``[keys.NAME]``: keys that are made inside the enclave, and never leave it.

Example:
    [keys.documents]
    purpose = "sign"
    algorithm = "ed25519"
"""

import re
from collections.abc import Mapping
from dataclasses import dataclass
from enum import StrEnum
from typing import Final

from casemate.wire.protocol.manifest_table import ManifestError, Table, read_choice, shown

KEYS: Final = ("purpose", "algorithm")

MAX_KEYS = 32
"""Most keys of a manifest."""
KEY_NAME = re.compile(r"[a-z][a-z0-9]*(?:-[a-z0-9]+)*", re.ASCII)
MAX_KEY_NAME = 32
"""Longest name (characters)."""
_NAME_WORDS = f"lower-case letters, digits and inner hyphens, a letter first, at most {MAX_KEY_NAME}"


class Purpose(StrEnum):
    """What a key is for: one thing, and nothing else."""

    SIGN = "sign"
    """Signatures, which everybody can verify who has the public half."""
    MAC = "mac"
    """Tags, which only the enclave can verify."""
    ENCRYPT = "encrypt"
    """Texts that only the enclave can open."""
    DERIVE = "derive"
    """Further keys."""
    AGREE = "agree"
    """Secrets shared with whoever has another such key."""


class Algorithm(StrEnum):
    """How a key does what it is for."""

    ED25519 = "ed25519"
    """RFC 8032."""
    P256 = "p256"
    """ECDSA with SHA-256 (FIPS 186-5), or ECDH (SP 800-56A)."""
    P384 = "p384"
    """ECDSA with SHA-384, or ECDH."""
    SECP256K1 = "secp256k1"
    """ECDSA with SHA-256 (SEC 2, section 2.4.1)."""
    ML_DSA_65 = "ml-dsa-65"
    """FIPS 204, without a context."""
    HMAC_SHA_256 = "hmac-sha-256"
    """RFC 2104."""
    AES_256_GCM = "aes-256-gcm"
    """SP 800-38D, under a key of its own for each text: see docs/adr/0032-keys.md."""
    HKDF_SHA_256 = "hkdf-sha-256"
    """RFC 5869."""
    X25519 = "x25519"
    """RFC 7748."""


ALGORITHMS: Final[Mapping[Purpose, tuple[Algorithm, ...]]] = {
    Purpose.SIGN: (
        Algorithm.ED25519,
        Algorithm.P256,
        Algorithm.P384,
        Algorithm.SECP256K1,
        Algorithm.ML_DSA_65,
    ),
    Purpose.MAC: (Algorithm.HMAC_SHA_256,),
    Purpose.ENCRYPT: (Algorithm.AES_256_GCM,),
    Purpose.DERIVE: (Algorithm.HKDF_SHA_256,),
    Purpose.AGREE: (Algorithm.X25519, Algorithm.P256, Algorithm.P384),
}
"""What each purpose can be served by."""


@dataclass(frozen=True, slots=True)
class KeyRules:
    """A table ``[keys.NAME]``."""

    name: str
    purpose: Purpose
    algorithm: Algorithm


def parse_keys(top: Table) -> tuple[KeyRules, ...]:
    """The tables, in the file's order; none where there are none.

    Raises:
        ManifestError: names the key.
    """
    if "keys" not in top:
        return ()
    table = top.table("keys")
    names = table.names()
    if names and "state" not in top:
        raise ManifestError(
            "keys",
            got=f"{len(names)} of them, and there is no [state]",
            want="a state, in which they are kept",
            advice="add [state] with policy, recovery and max_kib to casemate.toml",
        )
    if len(names) > MAX_KEYS:
        raise ManifestError("keys", got=f"{len(names)} of them", want=f"at most {MAX_KEYS}")
    return tuple(_key(table, name) for name in names)


def _key(keys: Table, name: str) -> KeyRules:
    if not KEY_NAME.fullmatch(name) or len(name) > MAX_KEY_NAME:
        raise ManifestError(keys.key(shown(name)), got="no name of a key", want=_NAME_WORDS)
    table = keys.table(name, KEYS)
    purpose = read_choice(table, "purpose", Purpose)
    algorithm = read_choice(table, "algorithm", Algorithm)
    able = ALGORITHMS[purpose]
    if algorithm not in able:
        want = " or ".join(f'"{each}"' for each in able)
        raise ManifestError(table.key("algorithm"), got=f'"{algorithm}"', want=f'{want} for purpose = "{purpose}"')
    return KeyRules(name, purpose, algorithm)
