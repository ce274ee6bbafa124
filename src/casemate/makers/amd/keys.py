"""AMD's signing keys, RSA-4096, and the VLEKs that it derives; at random or from a seed."""

import secrets
from collections.abc import Callable
from enum import StrEnum

from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec, rsa
from cryptography.hazmat.primitives.asymmetric.x25519 import X25519PublicKey
from cryptography.hazmat.primitives.ciphers import Cipher
from cryptography.hazmat.primitives.ciphers.algorithms import ChaCha20
from cryptography.hazmat.primitives.hpke import AEAD, KDF, KEM, Suite
from cryptography.hazmat.primitives.kdf.hkdf import HKDF

from casemate.makers.errors import MakerError
from casemate.makers.keys import DRAWN_BEYOND_ORDER, encode_private_key, from_seed, parse_private_key
from casemate.wire.snp.tcb import Product
from casemate.wire.snp.vlek import VLEK_SIZE

KEY_BITS = 4096
VLEK_SECRET_SIZE = 48
_EXPONENT = 65537
_STREAM_KEY_SIZE = 32
_CHACHA_NONCE = bytes(16)
_P384_ORDER = 0xFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFC7634D81F4372DDF581A0DB248B0A77AECEC196ACCC52973


class AmdRole(StrEnum):
    """What a key is for; also the name of its files."""

    ARK = "ark"
    ASK = "ask"
    """Certifies VCEKs."""
    ASVK = "asvk"
    """Certifies VLEKs."""


def make_rsa_key(product: Product, role: AmdRole, seed: str | None) -> rsa.RSAPrivateKey:
    """A new key; the same one every time for a seed, which then anybody can make who knows the seed.

    OpenSSL takes no randomness of ours, so seeded keys are pycryptodome's: four times as slow.
    """
    if seed is None:
        return rsa.generate_private_key(public_exponent=_EXPONENT, key_size=KEY_BITS)
    from Crypto.PublicKey import RSA

    made = RSA.generate(KEY_BITS, _stream(from_seed(seed, f"{product} key {role}", _STREAM_KEY_SIZE)), _EXPONENT)
    return parse_rsa_key(made.export_key("PEM", pkcs=8))


def seeded_signer(key: rsa.RSAPrivateKey, seed: str) -> Callable[[bytes], bytes]:
    """Signs as AMD does, RSASSA-PSS with SHA-384 and a salt of 48 bytes, but with the salt from the seed."""
    from Crypto.Hash import SHA384
    from Crypto.PublicKey import RSA
    from Crypto.Signature import pss

    ours = RSA.import_key(encode_private_key(key))

    def sign(message: bytes) -> bytes:
        digest = SHA384.new(message)
        salt = from_seed(seed, f"salt {digest.hexdigest()}", _STREAM_KEY_SIZE)
        return pss.new(ours, salt_bytes=SHA384.digest_size, rand_func=_stream(salt)).sign(digest)

    return sign


def make_vlek_secret(product: Product, seed: str | None) -> bytes:
    """The secret that all VLEKs of a product are derived from."""
    if seed is None:
        return secrets.token_bytes(VLEK_SECRET_SIZE)
    return from_seed(seed, f"{product} vlek secret", VLEK_SECRET_SIZE)


def derive_vlek(secret: bytes, binding: bytes) -> ec.EllipticCurvePrivateKey:
    """The VLEK of a cloud provider at one TCB (:func:`vlek_binding`): the same on all its chips."""
    info = b"casemate simulated vlek v1: " + binding
    number = int.from_bytes(HKDF(hashes.SHA384(), VLEK_SIZE + DRAWN_BEYOND_ORDER, None, info).derive(secret), "big")
    return ec.derive_private_key(number % (_P384_ORDER - 1) + 1, ec.SECP384R1())


def wrap_vlek(key: ec.EllipticCurvePrivateKey, wrapping_key: bytes, binding: bytes) -> bytes:
    """The VLEK for one chip alone, sealed to the key that it sent (RFC 9180)."""
    scalar = key.private_numbers().private_value.to_bytes(VLEK_SIZE, "big")
    suite = Suite(KEM.X25519, KDF.HKDF_SHA256, AEAD.AES_256_GCM)
    return suite.encrypt(scalar, X25519PublicKey.from_public_bytes(wrapping_key), info=binding)


def parse_report_key(point: bytes) -> ec.EllipticCurvePublicKey:
    """A chip's VCEK from an uncompressed point."""
    try:
        return ec.EllipticCurvePublicKey.from_encoded_point(ec.SECP384R1(), point)
    except ValueError:
        raise MakerError(f"public_key is {point.hex()}, want an uncompressed point on P-384") from None


def parse_rsa_key(pem: bytes) -> rsa.RSAPrivateKey:
    """One of the maker's own keys from its file."""
    key = parse_private_key(pem)
    if not isinstance(key, rsa.RSAPrivateKey) or key.key_size != KEY_BITS:
        raise MakerError(f"a key file holds another key, want RSA-{KEY_BITS}")
    return key


def _stream(key: bytes) -> Callable[[int], bytes]:
    """An endless stream of pseudo-random bytes, the same one for the same key."""
    cipher = Cipher(ChaCha20(key, _CHACHA_NONCE), mode=None).encryptor()
    return lambda size: cipher.update(bytes(size))
