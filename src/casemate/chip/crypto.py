"""Every cryptographic primitive of the silicon; no other file of this room touches hazmat."""

from cryptography.hazmat.primitives.asymmetric.ec import (
    ECDSA,
    SECP256R1,
    EllipticCurvePrivateKey,
    derive_private_key,
)
from cryptography.hazmat.primitives.asymmetric.utils import decode_dss_signature
from cryptography.hazmat.primitives.ciphers.algorithms import AES
from cryptography.hazmat.primitives.cmac import CMAC
from cryptography.hazmat.primitives.hashes import SHA256, Hash
from cryptography.hazmat.primitives.kdf.hkdf import HKDF

from casemate.chip.secret import Secret

COORDINATE_SIZE = 32
_ORDER = 0xFFFFFFFF00000000FFFFFFFFFFFFFFFFBCE6FAADA7179E84F3B9CAC2FC632551
"""Order of P-256's base point (SP 800-186, 3.2.1.3)."""

_EXTRA = 16
"""Bytes drawn beyond the order's own 32, so that the remainder has no bias that matters (FIPS 186-5, A.2.1)."""


def cmac(key: bytes, message: bytes) -> bytes:
    """AES-CMAC (SP 800-38B), 16 bytes."""
    mac = CMAC(AES(key))
    mac.update(message)
    return mac.finalize()


def sha256(message: bytes) -> bytes:
    """SHA-256 by the library's own code, four times as fast as :mod:`hashlib` is without the host's OpenSSL."""
    digest = Hash(SHA256())
    digest.update(message)
    return digest.finalize()


def derive(secret: bytes, label: bytes, size: int) -> bytes:
    """HKDF-SHA-256 (RFC 5869) without salt; ``label`` says what the output is for."""
    return HKDF(SHA256(), size, salt=None, info=label).derive(secret)


class SigningKey:
    """A P-256 key whose signatures are the same each time (RFC 6979), in the raw form that quotes carry."""

    __slots__ = ("_key", "public_key")

    def __init__(self, key: EllipticCurvePrivateKey) -> None:
        self._key = key
        numbers = key.public_key().public_numbers()
        self.public_key: bytes = numbers.x.to_bytes(COORDINATE_SIZE) + numbers.y.to_bytes(COORDINATE_SIZE)
        """X || Y, big-endian."""

    @classmethod
    def derived(cls, secret: Secret, label: bytes) -> "SigningKey":
        """The key that ``secret`` gives for the purpose ``label``."""
        stream = derive(secret.reveal(), label, COORDINATE_SIZE + _EXTRA)
        return cls(derive_private_key(int.from_bytes(stream) % (_ORDER - 1) + 1, SECP256R1()))

    def sign(self, message: bytes) -> bytes:
        """R || S over SHA-256 of the message, big-endian, 64 bytes."""
        r, s = decode_dss_signature(self._key.sign(message, ECDSA(SHA256(), deterministic_signing=True)))
        return r.to_bytes(COORDINATE_SIZE) + s.to_bytes(COORDINATE_SIZE)
