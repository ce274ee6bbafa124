"""The relying party's ciphers: requests sealed to an appraised key, responses opened, receipts verified."""

from cryptography.exceptions import InvalidSignature, InvalidTag
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey
from cryptography.hazmat.primitives.asymmetric.x25519 import X25519PublicKey
from cryptography.hazmat.primitives.ciphers.aead import AESGCM
from cryptography.hazmat.primitives.hpke import AEAD, KDF, KEM, Suite

from casemate.client.errors import ReceiptRefusedError, ResponseRefusedError
from casemate.wire.protocol.call import RESPONSE_NONCE, Receipt

_SUITE = Suite(KEM.X25519, KDF.HKDF_SHA256, AEAD.AES_256_GCM)
"""``wire.protocol.call.HPKE_SUITE`` (RFC 9180, sections 7.1 to 7.3)."""


def seal_request(hpke_key: bytes, info: bytes, text: bytes) -> bytes:
    """The encapsulated key and the ciphertext of ``text``, for the enclave that holds ``hpke_key``."""
    try:
        return _SUITE.encrypt(text, X25519PublicKey.from_public_bytes(hpke_key), info=info)
    except ValueError:  # a point of low order (RFC 9180, section 7.1.4), which no honest enclave reports
        raise ResponseRefusedError("the enclave's HPKE key is a point that keeps no secret") from None


def open_response(key: bytes, sealed: bytes, associated: bytes) -> bytes:
    """The text that the holder of ``key``, who is the enclave alone, sealed for the request in ``associated``."""
    try:
        return AESGCM(key).decrypt(RESPONSE_NONCE, sealed, associated)
    except InvalidTag:
        raise ResponseRefusedError("the response does not open: no answer of the enclave's to this request") from None


def check_receipt_signature(receipt_key: bytes, receipt: Receipt, signature: bytes) -> None:
    """Refuses a receipt that ``receipt_key`` did not sign."""
    try:
        Ed25519PublicKey.from_public_bytes(receipt_key).verify(signature, receipt.signed_bytes())
    except (InvalidSignature, ValueError):
        raise ReceiptRefusedError(
            "receipt signature", got="one that does not verify", want=f"one by {receipt_key.hex()}"
        ) from None
