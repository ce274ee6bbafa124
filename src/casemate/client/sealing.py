"""The relying party's ciphers: a session's secret sealed to an appraised key, its calls sealed, receipts verified."""

import os

from cryptography.exceptions import InvalidSignature, InvalidTag
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey
from cryptography.hazmat.primitives.asymmetric.x25519 import X25519PublicKey
from cryptography.hazmat.primitives.ciphers.aead import AESGCM
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.hpke import AEAD, KDF, KEM, Suite
from cryptography.hazmat.primitives.kdf.hkdf import HKDF

from casemate.client.errors import ReceiptRefusedError, ResponseRefusedError
from casemate.wire.protocol.call import SECRET_SIZE, SESSION_KEYS_SIZE, CallBinding, Receipt, SessionBinding
from casemate.wire.protocol.caller_key import has_small_order

_SUITE = Suite(KEM.X25519, KDF.HKDF_SHA256, AEAD.AES_256_GCM)
"""``wire.protocol.call.HPKE_SUITE`` (RFC 9180, sections 7.1 to 7.3)."""


class SessionKeys:
    """The ciphers of one session, from a secret that is made here and nowhere kept.

    They do not watch their nonces: :class:`casemate.client.session.ClientSession` does, the only one to hold them.

    Args:
        hpke_key: the appraised enclave's, to which the secret is sealed.
        about: the session.

    Raises:
        ResponseRefusedError: the key is a point of low order (RFC 9180, section 7.1.4): no honest enclave reports one.
    """

    __slots__ = ("_requests", "_responses", "encapsulation")

    def __init__(self, hpke_key: bytes, about: SessionBinding) -> None:
        secret = os.urandom(SECRET_SIZE)
        try:
            public = X25519PublicKey.from_public_bytes(hpke_key)
            self.encapsulation = _SUITE.encrypt(secret, public, info=about.encapsulation_info(hpke_key))
        except ValueError:
            raise ResponseRefusedError("the enclave's HPKE key is a point that keeps no secret") from None
        keys = HKDF(SHA256(), SESSION_KEYS_SIZE, salt=None, info=about.keys_info(hpke_key)).derive(secret)
        half = SESSION_KEYS_SIZE // 2
        self._requests, self._responses = AESGCM(keys[:half]), AESGCM(keys[half:])

    def seal(self, text: bytes, binding: CallBinding) -> bytes:
        """The sealed request; for one text under each sequence number."""
        return self._requests.encrypt(binding.nonce, text, binding.request_aad())

    def open(self, sealed: bytes, binding: CallBinding, sealed_request: bytes) -> bytes:
        """The text that the enclave, which alone has the session's keys as well, sealed for this very request."""
        try:
            return self._responses.decrypt(binding.nonce, sealed, binding.response_aad(sealed_request))
        except InvalidTag:
            raise ResponseRefusedError(
                "the response does not open: no answer of the enclave's to this request"
            ) from None


def check_receipt_signature(receipt_key: bytes, receipt: Receipt, signature: bytes) -> None:
    """Refuses a receipt that ``receipt_key`` did not sign, and any under a key for which anybody can sign."""
    if has_small_order(receipt_key):
        raise ReceiptRefusedError("receipt key", got=receipt_key.hex(), want="a key that has an owner")
    try:
        Ed25519PublicKey.from_public_bytes(receipt_key).verify(signature, receipt.signed_bytes())
    except (InvalidSignature, ValueError):
        raise ReceiptRefusedError(
            "receipt signature", got="one that does not verify", want=f"one by {receipt_key.hex()}"
        ) from None
