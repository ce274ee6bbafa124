"""Every cryptographic primitive of the silicon; no other file of this room touches hazmat."""

from cryptography.exceptions import InvalidSignature, InvalidTag
from cryptography.hazmat.primitives.asymmetric.ec import (
    ECDSA,
    SECP256R1,
    SECP384R1,
    EllipticCurvePrivateKey,
    EllipticCurvePublicNumbers,
    derive_private_key,
)
from cryptography.hazmat.primitives.asymmetric.utils import decode_dss_signature, encode_dss_signature
from cryptography.hazmat.primitives.asymmetric.x25519 import X25519PrivateKey
from cryptography.hazmat.primitives.ciphers.aead import AESGCM
from cryptography.hazmat.primitives.ciphers.algorithms import AES
from cryptography.hazmat.primitives.cmac import CMAC
from cryptography.hazmat.primitives.hashes import SHA256, SHA384, Hash
from cryptography.hazmat.primitives.hpke import AEAD, KDF, KEM, Suite
from cryptography.hazmat.primitives.kdf.hkdf import HKDF

from casemate.chip.errors import ForgedError
from casemate.chip.secret import Secret

COORDINATE_SIZE = 32
_ORDER = 0xFFFFFFFF00000000FFFFFFFFFFFFFFFFBCE6FAADA7179E84F3B9CAC2FC632551
"""Order of P-256's base point (SP 800-186, 3.2.1.3)."""

_ORDER_384 = 0xFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFC7634D81F4372DDF581A0DB248B0A77AECEC196ACCC52973
"""Order of P-384's base point (SP 800-186, 3.2.1.4)."""

COORDINATE_SIZE_384 = 48

_SUITE = Suite(KEM.X25519, KDF.HKDF_SHA256, AEAD.AES_256_GCM)

_EXTRA = 16
"""Bytes drawn beyond the order's own, so that the remainder has no bias that matters (FIPS 186-5, A.2.1)."""


def cmac(key: bytes, message: bytes) -> bytes:
    """AES-CMAC (SP 800-38B), 16 bytes."""
    mac = CMAC(AES(key))
    mac.update(message)
    return mac.finalize()


def seal_gcm(key: Secret, nonce: bytes, plaintext: bytes, associated: bytes) -> bytes:
    """AES-GCM (SP 800-38D): ciphertext and 16 bytes of tag."""
    return AESGCM(key.reveal()).encrypt(nonce, plaintext, associated)


def open_gcm(key: Secret, nonce: bytes, sealed: bytes, associated: bytes) -> bytes:
    """The way back from :func:`seal_gcm`; :class:`ForgedError` where that did not make it."""
    try:
        return AESGCM(key.reveal()).decrypt(nonce, sealed, associated)
    except InvalidTag:
        raise ForgedError("the authentication tag is another") from None


def check_p384(point: tuple[int, int], signature: tuple[int, int], message: bytes) -> None:
    """Returns if ``signature`` (R and S) over SHA-384 of the message is of the P-384 key at ``point``.

    Raises:
        ForgedError: it is not, or the point is not on the curve.
    """
    try:
        key = EllipticCurvePublicNumbers(*point, SECP384R1()).public_key()
        key.verify(encode_dss_signature(*signature), message, ECDSA(SHA384()))
    except (InvalidSignature, ValueError):
        raise ForgedError("the signature is not of this key") from None


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


class WrappingKey:
    """A fresh X25519 pair that a maker seals a key to (HPKE, RFC 9180)."""

    __slots__ = ("_key", "public_key")

    def __init__(self) -> None:
        self._key = X25519PrivateKey.generate()
        self.public_key: bytes = self._key.public_key().public_bytes_raw()

    def open(self, sealed: bytes, info: bytes) -> Secret:
        """What was sealed with exactly this ``info``; :class:`ForgedError` where it was not, or to another key."""
        try:
            return Secret(_SUITE.decrypt(sealed, self._key, info=info))
        except InvalidTag:
            raise ForgedError("the key is sealed to another chip, or for another use") from None


class ReportKey:
    """A P-384 key whose signatures are the same each time (RFC 6979): a VCEK or VLEK."""

    __slots__ = ("_key", "public_key")

    def __init__(self, key: EllipticCurvePrivateKey) -> None:
        self._key = key
        numbers = key.public_key().public_numbers()
        point = numbers.x.to_bytes(COORDINATE_SIZE_384) + numbers.y.to_bytes(COORDINATE_SIZE_384)
        self.public_key: bytes = b"\x04" + point
        """An uncompressed point (SEC 1, 2.3.3), 97 bytes."""

    @classmethod
    def derived(cls, secret: Secret, label: bytes) -> "ReportKey":
        """The key that ``secret`` gives for the purpose ``label``."""
        stream = derive(secret.reveal(), label, COORDINATE_SIZE_384 + _EXTRA)
        return cls(derive_private_key(int.from_bytes(stream) % (_ORDER_384 - 1) + 1, SECP384R1()))

    @classmethod
    def given(cls, number: Secret) -> "ReportKey":
        """The key with this private number, 48 bytes, big-endian; ``ValueError`` where there is none."""
        return cls(derive_private_key(int.from_bytes(number.reveal()), SECP384R1()))

    def sign(self, message: bytes) -> tuple[int, int]:
        """R and S over SHA-384 of the message."""
        return decode_dss_signature(self._key.sign(message, ECDSA(SHA384(), deterministic_signing=True)))
