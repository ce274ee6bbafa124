"""Checks that a SIGSTRUCT is signed by the key that it holds: the chip at EINIT, and images after signing."""

from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric.padding import PKCS1v15
from cryptography.hazmat.primitives.asymmetric.rsa import RSAPublicNumbers
from cryptography.hazmat.primitives.hashes import SHA256

from casemate.wire.errors import CasemateError
from casemate.wire.sgx.sigstruct import EXPONENT, Sigstruct


class SigstructSignatureError(CasemateError):
    """The SIGSTRUCT is well formed, but its signature does not verify under its key."""


def verify_sigstruct(sigstruct: Sigstruct) -> None:
    """Checks Q1, Q2 and the RSA-3072 PKCS#1 v1.5 signature; says nothing about whose key it is.

    Raises:
        WireError: Q1 or Q2 do not belong to signature and modulus.
        SigstructSignatureError: the signature does not verify, or the modulus is no RSA-3072 modulus.
    """
    sigstruct.check_q1_q2()
    modulus = int.from_bytes(sigstruct.modulus, "little")
    if modulus.bit_length() != 8 * len(sigstruct.modulus):
        raise SigstructSignatureError(f"SIGSTRUCT.modulus has {modulus.bit_length()} bits, EINIT wants 3072")
    try:
        key = RSAPublicNumbers(EXPONENT, modulus).public_key()
        key.verify(sigstruct.signature[::-1], sigstruct.signed_bytes(), PKCS1v15(), SHA256())
    except (InvalidSignature, ValueError):
        raise SigstructSignatureError(
            f"SIGSTRUCT.signature does not verify under the key with MRSIGNER {sigstruct.mr_signer().hex()}"
        ) from None
