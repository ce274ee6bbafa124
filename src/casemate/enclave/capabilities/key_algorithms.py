"""What keys do, by their algorithms: formats and choices of parameters around the library's primitives.

A secret is 32 bytes (48 for P-384) however its algorithm is called, so that all are kept in one way. Public halves are
SubjectPublicKeyInfo in DER (RFC 5280, section 4.1.2.7).
"""

import hashlib
import hmac
import os
from functools import lru_cache
from typing import Final, TypeAlias

from cryptography.exceptions import InvalidSignature, InvalidTag, UnsupportedAlgorithm
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.asymmetric.mldsa import MLDSA65PrivateKey
from cryptography.hazmat.primitives.asymmetric.utils import decode_dss_signature, encode_dss_signature
from cryptography.hazmat.primitives.asymmetric.x25519 import X25519PrivateKey, X25519PublicKey
from cryptography.hazmat.primitives.ciphers.aead import AESGCM
from cryptography.hazmat.primitives.hashes import SHA256, SHA384
from cryptography.hazmat.primitives.kdf.hkdf import HKDF
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat, load_der_public_key

from casemate.enclave.rehearsal import RehearsalError
from casemate.wire.protocol.capabilities.keys import Algorithm
from casemate.wire.protocol.faults import Code, refuse

SECRET_SIZE: Final = 32
LEAST_DERIVED, MOST_DERIVED, DERIVED = 16, 1024, 32
"""Bytes that are derived: the least, the most, and the usual number."""

_P384_SECRET_SIZE = 48
_CURVES: dict[Algorithm, ec.EllipticCurve] = {
    Algorithm.P256: ec.SECP256R1(),
    Algorithm.P384: ec.SECP384R1(),
    Algorithm.SECP256K1: ec.SECP256K1(),
}
_SECP256K1_ORDER = 0xFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFEBAAEDCE6AF48A03BBFD25E8CD0364141

_AGREE_LABEL = b"casemate agree v1\x00"
_ENCRYPT_LABEL = b"casemate encrypt v1\x00"
_FORM = b"\x01"
_SALT_SIZE, _COMMITMENT_SIZE, _TAG_SIZE = 32, 32, 16
_HEAD_SIZE = 1 + 4
_NONCE = bytes(12)

_Private: TypeAlias = Ed25519PrivateKey | ec.EllipticCurvePrivateKey | MLDSA65PrivateKey | X25519PrivateKey


def new_secret(algorithm: Algorithm) -> bytes:
    """The secret of a new key."""
    if algorithm in _CURVES:
        return _scalar(ec.generate_private_key(_CURVES[algorithm]), algorithm)
    return os.urandom(SECRET_SIZE)


def public_half(algorithm: Algorithm, secret: bytes) -> bytes:
    """SubjectPublicKeyInfo, DER; for algorithms that have a public half."""
    return _private(algorithm, secret).public_key().public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo)


def sign(algorithm: Algorithm, secret: bytes, data: bytes) -> bytes:
    """A signature: 64 bytes of Ed25519, 3309 of ML-DSA-65; of ECDSA an Ecdsa-Sig-Value in DER (RFC 3279)."""
    match _private(algorithm, secret):
        case ec.EllipticCurvePrivateKey() as key:
            signature = key.sign(data, _ecdsa(algorithm))
            return _with_low_s(signature) if algorithm is Algorithm.SECP256K1 else signature
        case Ed25519PrivateKey() | MLDSA65PrivateKey() as key:
            return key.sign(data)
    raise AssertionError(algorithm)


def verify(algorithm: Algorithm, secret: bytes, data: bytes, signature: bytes) -> bool:
    """Whether the signature, or the tag, is of this key and over these data."""
    if algorithm is Algorithm.HMAC_SHA_256:
        return hmac.compare_digest(mac(secret, data), signature)
    try:
        match _private(algorithm, secret).public_key():
            case ec.EllipticCurvePublicKey() as key:
                key.verify(signature, data, _ecdsa(algorithm))
            case X25519PublicKey():
                raise AssertionError(algorithm)
            case other:
                other.verify(signature, data)
    except InvalidSignature:
        return False
    return True


def mac(secret: bytes, data: bytes) -> bytes:
    """HMAC-SHA-256: 32 bytes."""
    return hmac.digest(secret, data, "sha256")


def derive(secret: bytes, info: bytes, length: int | None) -> bytes:
    """HKDF-SHA-256 without a salt; ``guest-error`` for a length that cannot be had."""
    wanted = DERIVED if length is None else length
    if not LEAST_DERIVED <= wanted <= MOST_DERIVED:
        raise refuse(Code.GUEST_ERROR, f"{wanted} bytes cannot be derived, want {LEAST_DERIVED} to {MOST_DERIVED}")
    return HKDF(SHA256(), wanted, salt=None, info=info).derive(secret)


def agree(algorithm: Algorithm, secret: bytes, peer: bytes, info: bytes) -> bytes:
    """32 bytes that only the owners of both keys have: HKDF-SHA-256 of the shared point, over both keys and ``info``.

    Args:
        algorithm: of the own key.
        secret: the own key's.
        peer: the other's public half: SubjectPublicKeyInfo, DER.
        info: what they are for; both sides say the same.

    Raises:
        FaultError: ``guest-error``: the other's is no key of this algorithm, or is a point that keeps no secret.
    """
    want = f"a public key of {algorithm}: SubjectPublicKeyInfo in DER, as context.keys.public gives it"
    try:
        theirs = load_der_public_key(peer)
        match _private(algorithm, secret), theirs:
            case X25519PrivateKey() as own, X25519PublicKey():
                shared = own.exchange(theirs)
            case ec.EllipticCurvePrivateKey() as own, ec.EllipticCurvePublicKey() if (
                own.curve.name == theirs.curve.name
            ):
                shared = own.exchange(ec.ECDH(), theirs)
            case _:
                raise refuse(Code.GUEST_ERROR, f"the other's key is of another kind, want {want}")
    except (ValueError, UnsupportedAlgorithm):
        raise refuse(Code.GUEST_ERROR, f"the other's key is none, or keeps no secret, want {want}") from None
    both = sorted(hashlib.sha256(each).digest() for each in (public_half(algorithm, secret), peer))
    return HKDF(SHA256(), DERIVED, salt=None, info=b"".join((_AGREE_LABEL, *both, info))).derive(shared)


def encrypt(secret: bytes, version: int, name: str, data: bytes, associated: bytes) -> bytes:
    """A text that :func:`decrypt` opens: form (1 byte), version (u32), salt (32), commitment (32), ciphertext and tag.

    Each text has a key of its own, so that no nonce can repeat, and a commitment to it, so that it opens in one way.
    """
    salt = os.urandom(_SALT_SIZE)
    key, commitment = _key_of_text(secret, version, name, salt)
    head = _FORM + version.to_bytes(4, "little")
    return b"".join((head, salt, commitment, AESGCM(key).encrypt(_NONCE, data, associated)))


def version_in(text: bytes) -> int | None:
    """Which version of its key has made a text; None where none has."""
    if len(text) < _HEAD_SIZE + _SALT_SIZE + _COMMITMENT_SIZE + _TAG_SIZE or text[:1] != _FORM:
        return None
    return int.from_bytes(text[1:_HEAD_SIZE], "little")


def decrypt(secret: bytes, version: int, name: str, text: bytes, associated: bytes) -> bytes:
    """The data in a text of this version; ``cannot-open`` where it was changed, or made for other associated data."""
    salt, rest = text[_HEAD_SIZE : _HEAD_SIZE + _SALT_SIZE], text[_HEAD_SIZE + _SALT_SIZE :]
    key, commitment = _key_of_text(secret, version, name, salt)
    if hmac.compare_digest(rest[:_COMMITMENT_SIZE], commitment):
        try:
            return AESGCM(key).decrypt(_NONCE, rest[_COMMITMENT_SIZE:], associated)
        except InvalidTag:
            pass
    raise refuse(Code.CANNOT_OPEN, f"key {name!r} has not made this text with these associated data")


def rehearse_keys() -> None:
    """Uses every algorithm once, so that a confined process finds all of the library loaded."""
    for algorithm in (Algorithm.ED25519, Algorithm.ML_DSA_65, *_CURVES):
        secret = new_secret(algorithm)
        _check(verify(algorithm, secret, b"", sign(algorithm, secret, b"")))
    for algorithm in (Algorithm.X25519, Algorithm.P256, Algorithm.P384):
        secret, other = new_secret(algorithm), new_secret(algorithm)
        theirs = agree(algorithm, other, public_half(algorithm, secret), b"")
        _check(agree(algorithm, secret, public_half(algorithm, other), b"") == theirs)
    secret = new_secret(Algorithm.AES_256_GCM)
    _check(verify(Algorithm.HMAC_SHA_256, secret, b"", mac(secret, b"")))
    _check(decrypt(secret, 1, "rehearsal", encrypt(secret, 1, "rehearsal", b"", b""), b"") == b"")
    _check(derive(secret, b"", None) != secret)
    _private.cache_clear()


def _check(holds: bool) -> None:  # noqa: FBT001 - what was tried
    if not holds:
        raise RehearsalError("a key does not verify, open or agree as it should")


def _key_of_text(secret: bytes, version: int, name: str, salt: bytes) -> tuple[bytes, bytes]:
    info = b"".join((_ENCRYPT_LABEL, version.to_bytes(4, "little"), name.encode()))
    both = HKDF(SHA256(), SECRET_SIZE + _COMMITMENT_SIZE, salt=salt, info=info).derive(secret)
    return both[:SECRET_SIZE], both[SECRET_SIZE:]


@lru_cache(maxsize=64)
def _private(algorithm: Algorithm, secret: bytes) -> _Private:
    """The library's key, remembered: to make one takes as long as to use it."""
    match algorithm:
        case Algorithm.ED25519:
            return Ed25519PrivateKey.from_private_bytes(secret)
        case Algorithm.ML_DSA_65:
            return MLDSA65PrivateKey.from_seed_bytes(secret)
        case Algorithm.X25519:
            return X25519PrivateKey.from_private_bytes(secret)
        case Algorithm.P256 | Algorithm.P384 | Algorithm.SECP256K1:
            return ec.derive_private_key(int.from_bytes(secret, "big"), _CURVES[algorithm])
    raise AssertionError(algorithm)


def _scalar(key: ec.EllipticCurvePrivateKey, algorithm: Algorithm) -> bytes:
    size = _P384_SECRET_SIZE if algorithm is Algorithm.P384 else SECRET_SIZE
    return key.private_numbers().private_value.to_bytes(size, "big")


def _ecdsa(algorithm: Algorithm) -> ec.ECDSA:
    return ec.ECDSA(SHA384() if algorithm is Algorithm.P384 else SHA256())


def _with_low_s(signature: bytes) -> bytes:
    """The form in which chains take signatures of secp256k1: of the two values of s, the lower one (BIP 62)."""
    r, s = decode_dss_signature(signature)
    return encode_dss_signature(r, min(s, _SECP256K1_ORDER - s))
