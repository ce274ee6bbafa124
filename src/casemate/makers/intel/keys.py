"""The vendor's signing keys: ECDSA on P-256, at random or from a seed."""

import secrets
from enum import StrEnum

from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.asymmetric.utils import decode_dss_signature
from cryptography.hazmat.primitives.kdf.hkdf import HKDF

from casemate.makers.errors import VendorError
from casemate.wire.protocol.simulated_mark import SERIAL_TAIL_SIZE, SimulatedSerial

_P256_ORDER = 0xFFFFFFFF_00000000_FFFFFFFF_FFFFFFFF_BCE6FAAD_A7179E84_F3B9CAC2_FC632551
_SEEDED_KEY_SIZE = 48
"""128 bits more than the order: the remainder's bias is negligible (FIPS 186-5, A.2.1)."""

_SERIAL_SIZE = 16
_COORDINATE_SIZE = 32


class KeyRole(StrEnum):
    """Whose key it is; also the name of its file."""

    ROOT = "root"
    PROCESSOR_CA = "processor"
    PLATFORM_CA = "platform"
    TCB_SIGNING = "tcb-signing"


def make_key(role: KeyRole, seed: str | None) -> ec.EllipticCurvePrivateKey:
    """A new key; the same one every time for a seed, which then anybody can make who knows the seed."""
    if seed is None:
        return ec.generate_private_key(ec.SECP256R1())
    number = int.from_bytes(from_seed(seed, f"key {role}", _SEEDED_KEY_SIZE), "big")
    return ec.derive_private_key(number % (_P256_ORDER - 1) + 1, ec.SECP256R1())


def seeded_serial(seed: str, what: bytes) -> int:
    """The serial number that a seeded vendor gives to the certificate of one of its own keys: 127 bits."""
    return int.from_bytes(from_seed(seed, f"serial {what.hex()}", _SERIAL_SIZE), "big") >> 1 | 1


def leaf_serial(seed: str | None, what: bytes, *, seeded: bool) -> int:
    """The serial number of the certificate of a chip's key for ``what``: at random, or as a seeded vendor gives it.

    Args:
        seed: the vendor's.
        what: chip, TCB and key.
        seeded: whether the chip's fuses came from a public seed.
    """
    start = SimulatedSerial.of(seeded=seeded or seed is not None)
    if seed is None:
        return start.number(secrets.token_bytes(SERIAL_TAIL_SIZE))
    return start.number(from_seed(seed, f"serial {what.hex()}", SERIAL_TAIL_SIZE))


def sign(key: ec.EllipticCurvePrivateKey, message: bytes) -> bytes:
    """The signature of ``message`` as TCB info and QE identity carry it: R || S, big-endian."""
    der = key.sign(message, ec.ECDSA(hashes.SHA256(), deterministic_signing=True))
    return b"".join(number.to_bytes(_COORDINATE_SIZE, "big") for number in decode_dss_signature(der))


def parse_public_key(point: bytes) -> ec.EllipticCurvePublicKey:
    """A chip's key from an uncompressed point."""
    try:
        return ec.EllipticCurvePublicKey.from_encoded_point(ec.SECP256R1(), point)
    except ValueError:
        raise VendorError(f"public_key is {point.hex()}, want an uncompressed point on P-256") from None


def encode_private_key(key: ec.EllipticCurvePrivateKey) -> bytes:
    """PKCS #8 in PEM, for a file of mode 0600."""
    return key.private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    )


def parse_private_key(pem: bytes) -> ec.EllipticCurvePrivateKey:
    """The way back from :func:`encode_private_key`."""
    try:
        key = serialization.load_pem_private_key(pem, None)
    except (ValueError, TypeError):
        raise VendorError("a key file is damaged: want PKCS #8 in PEM, without a password") from None
    if not isinstance(key, ec.EllipticCurvePrivateKey):
        raise VendorError(f"a key file holds {type(key).__name__}, want an elliptic curve key")
    return key


def from_seed(seed: str, purpose: str, size: int) -> bytes:
    """Bytes that follow from a public seed, other ones for each purpose."""
    info = f"casemate simulated vendor v1: {purpose}".encode()
    return HKDF(hashes.SHA256(), size, None, info).derive(seed.encode())
