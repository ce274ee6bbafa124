"""The makers' private keys: as PEM in files of mode 0600, at random or from a public seed."""

from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric.ec import EllipticCurvePrivateKey
from cryptography.hazmat.primitives.asymmetric.rsa import RSAPrivateKey
from cryptography.hazmat.primitives.asymmetric.types import PrivateKeyTypes
from cryptography.hazmat.primitives.kdf.hkdf import HKDF
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat, load_pem_private_key

from casemate.makers.errors import MakerError

DRAWN_BEYOND_ORDER = 16
"""A seeded key is drawn from so many bytes more than the curve's order has: with 128 bits more, the remainder's bias is
negligible (FIPS 186-5, A.2.1)."""


def from_seed(seed: str, purpose: str, size: int) -> bytes:
    """Bytes that follow from a public seed, other ones for each purpose."""
    info = f"casemate simulated vendor v1: {purpose}".encode()  # the label of all seeded machines: it stays
    return HKDF(hashes.SHA256(), size, None, info).derive(seed.encode())


def encode_private_key(key: EllipticCurvePrivateKey | RSAPrivateKey) -> bytes:
    """PKCS #8 in PEM."""
    return key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())


def parse_private_key(pem: bytes) -> PrivateKeyTypes:
    """The way back, of whatever kind the key is; :class:`MakerError` where the file is damaged."""
    try:
        return load_pem_private_key(pem, None)
    except (ValueError, TypeError):
        raise MakerError("a key file is damaged: want PKCS #8 in PEM, without a password") from None
