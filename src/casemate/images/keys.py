"""The developer's key: RSA-3072 with exponent 3, as EINIT demands, in a PEM file of the user.

With this key one can sign a next version, which unseals what this version sealed to MRSIGNER. So the file is created
with mode 0600, and a file that other users could read is refused.
"""

import hashlib
from dataclasses import dataclass, field
from typing import Self

from cryptography.exceptions import UnsupportedAlgorithm
from cryptography.hazmat.primitives.asymmetric.padding import PKCS1v15
from cryptography.hazmat.primitives.asymmetric.rsa import RSAPrivateKey, generate_private_key
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.serialization import (
    Encoding,
    NoEncryption,
    PrivateFormat,
    load_pem_private_key,
)

from casemate.images.errors import KeyFileError
from casemate.wire.sgx.sigstruct import EXPONENT, KEY_SIZE

KEY_BITS = 8 * KEY_SIZE


@dataclass(frozen=True, slots=True)
class DeveloperKey:
    """A key that signs enclaves."""

    _key: RSAPrivateKey = field(repr=False)

    @classmethod
    def generate(cls) -> Self:
        """A new key; takes about a second."""
        return cls(generate_private_key(public_exponent=EXPONENT, key_size=KEY_BITS))

    @classmethod
    def from_pem(cls, pem: bytes) -> Self:
        """Reads an unencrypted PEM file; :class:`KeyFileError` where it holds no key that EINIT accepts."""
        try:
            key = load_pem_private_key(pem, password=None)
        except (ValueError, TypeError, UnsupportedAlgorithm):
            raise KeyFileError("the file holds no unencrypted private key in PEM") from None
        if not isinstance(key, RSAPrivateKey):
            raise KeyFileError("the key is not an RSA key; SIGSTRUCT takes RSA-3072 with exponent 3")
        exponent = key.public_key().public_numbers().e
        if key.key_size != KEY_BITS or exponent != EXPONENT:
            raise KeyFileError(
                f"the key is RSA-{key.key_size} with exponent {exponent}; SIGSTRUCT takes RSA-3072 with exponent 3"
            )
        return cls(key)

    def pem(self) -> bytes:
        """The private key, PKCS #8."""
        return self._key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())

    def modulus(self) -> int:
        """The public modulus."""
        return self._key.public_key().public_numbers().n

    def mr_signer(self) -> bytes:
        """MRSIGNER of all enclaves that this key signs."""
        return hashlib.sha256(self.modulus().to_bytes(KEY_SIZE, "little")).digest()

    def sign(self, message: bytes) -> int:
        """The RSASSA-PKCS1-v1_5 signature with SHA-256, as a number; it is deterministic."""
        return int.from_bytes(self._key.sign(message, PKCS1v15(), SHA256()), "big")
