"""The maker's signing keys: ECDSA on P-256, at random or from a seed."""

from enum import StrEnum

from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.asymmetric.utils import decode_dss_signature

from casemate.makers.errors import MakerError
from casemate.makers.keys import DRAWN_BEYOND_ORDER, from_seed, parse_private_key

_P256_ORDER = 0xFFFFFFFF_00000000_FFFFFFFF_FFFFFFFF_BCE6FAAD_A7179E84_F3B9CAC2_FC632551
_COORDINATE_SIZE = 32


class KeyRole(StrEnum):
    """What a key is for; also the name of its file."""

    ROOT = "root"
    PROCESSOR_CA = "processor"
    PLATFORM_CA = "platform"
    TCB_SIGNING = "tcb-signing"


def make_key(role: KeyRole, seed: str | None) -> ec.EllipticCurvePrivateKey:
    """A new key; the same one every time for a seed, which then anybody can make who knows the seed."""
    if seed is None:
        return ec.generate_private_key(ec.SECP256R1())
    number = int.from_bytes(from_seed(seed, f"key {role}", _COORDINATE_SIZE + DRAWN_BEYOND_ORDER), "big")
    return ec.derive_private_key(number % (_P256_ORDER - 1) + 1, ec.SECP256R1())


def sign(key: ec.EllipticCurvePrivateKey, message: bytes) -> bytes:
    """The signature of ``message`` as TCB info and QE identity carry it: R || S, big-endian."""
    der = key.sign(message, ec.ECDSA(hashes.SHA256(), deterministic_signing=True))
    return b"".join(number.to_bytes(_COORDINATE_SIZE, "big") for number in decode_dss_signature(der))


def parse_public_key(point: bytes) -> ec.EllipticCurvePublicKey:
    """A chip's key from an uncompressed point."""
    try:
        return ec.EllipticCurvePublicKey.from_encoded_point(ec.SECP256R1(), point)
    except ValueError:
        raise MakerError(f"public_key is {point.hex()}, want an uncompressed point on P-256") from None


def parse_signing_key(pem: bytes) -> ec.EllipticCurvePrivateKey:
    """One of the maker's own keys from its file."""
    key = parse_private_key(pem)
    if not isinstance(key, ec.EllipticCurvePrivateKey):
        raise MakerError(f"a key file holds {type(key).__name__}, want an elliptic curve key")
    return key
