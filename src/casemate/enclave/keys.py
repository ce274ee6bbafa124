"""The enclave's key pairs and its sessions' keys.

All the cryptography of this room but that of TLS, local attestation and the verifier.

Both pairs are made when the process starts and are never stored: nothing sealed for one launch opens in the next.
"""

import hmac
import os

from cryptography.exceptions import InvalidSignature, InvalidTag
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey, Ed25519PublicKey
from cryptography.hazmat.primitives.asymmetric.x25519 import X25519PrivateKey, X25519PublicKey
from cryptography.hazmat.primitives.ciphers.aead import AESGCM
from cryptography.hazmat.primitives.hashes import SHA256, Hash
from cryptography.hazmat.primitives.hpke import AEAD, KDF, KEM, Suite
from cryptography.hazmat.primitives.kdf.hkdf import HKDF

from casemate.wire.errors import WireError
from casemate.wire.protocol.call import SECRET_SIZE, SESSION_KEYS_SIZE, CallBinding, Receipt, SessionBinding
from casemate.wire.protocol.caller_key import has_small_order
from casemate.wire.protocol.faults import Code, refuse
from casemate.wire.protocol.padding import pad, unpad
from casemate.wire.protocol.peers import PeerSession
from casemate.wire.protocol.sealed_secret import parse_secret, secret_info, secret_text

SUITE = Suite(KEM.X25519, KDF.HKDF_SHA256, AEAD.AES_256_GCM)
"""``wire.protocol.call.HPKE_SUITE`` (RFC 9180, sections 7.1 to 7.3)."""


class EnclaveKeys:
    """A fresh X25519 pair that sessions' secrets are sealed to, and a fresh Ed25519 pair that signs receipts."""

    __slots__ = ("_hpke", "_receipt", "hpke_key", "receipt_key")

    def __init__(self) -> None:
        self._hpke = X25519PrivateKey.generate()
        self._receipt = Ed25519PrivateKey.generate()
        self.hpke_key = self._hpke.public_key().public_bytes_raw()
        self.receipt_key = self._receipt.public_key().public_bytes_raw()

    def __repr__(self) -> str:
        """Shows the public keys only."""
        return f"EnclaveKeys(hpke_key={self.hpke_key.hex()}, receipt_key={self.receipt_key.hex()})"

    def open_session(self, encapsulation: bytes, about: SessionBinding) -> "SessionKeys":
        """The keys of a session whose secret a client sealed to this enclave; refuses all else as ``cannot-open``."""
        secret = self._secret(encapsulation, about.encapsulation_info(self.hpke_key))
        return SessionKeys(secret, about.keys_info(self.hpke_key))

    def open_peer_session(self, encapsulation: bytes, about: PeerSession) -> "SessionKeys":
        """The keys of a session whose secret another enclave sealed to this one; refuses as :meth:`open_session`."""
        return SessionKeys(self._secret(encapsulation, about.encapsulation_info()), about.keys_info())

    def _secret(self, encapsulation: bytes, info: bytes) -> bytes:
        try:
            secret = SUITE.decrypt(encapsulation, self._hpke, info=info)
        except InvalidTag:
            raise refuse(
                Code.CANNOT_OPEN, "the session's secret was not sealed for this enclave, quote and session"
            ) from None
        if len(secret) != SECRET_SIZE:
            raise refuse(Code.CANNOT_OPEN, f"a session's secret has {SECRET_SIZE} bytes")
        return secret

    def open_secret(self, text: str) -> bytes:
        """What another enclave has sealed for this one: see :mod:`casemate.wire.protocol.sealed_secret`.

        Raises:
            FaultError: ``cannot-open``: it was not, or not for this launch, or it has changed.
        """
        try:
            return bytes(unpad(SUITE.decrypt(parse_secret(text), self._hpke, info=secret_info(self.hpke_key))))
        except WireError as error:
            raise refuse(Code.CANNOT_OPEN, f"no sealed secret: {error}") from None
        except InvalidTag:
            raise refuse(Code.CANNOT_OPEN, "not sealed for this launch of this enclave, or changed since") from None

    def sign(self, receipt: Receipt) -> bytes:
        """The enclave's signature over a receipt."""
        return self._receipt.sign(receipt.signed_bytes())


class SessionKeys:
    """The ciphers of one session: requests are opened with one key, responses are sealed with the other.

    Neither takes a nonce from its caller: a call's is its sequence number, which the enclave uses up as the request
    opens and which then seals one response.
    """

    __slots__ = ("_requests", "_responses")

    def __init__(self, secret: bytes, info: bytes) -> None:
        keys = HKDF(SHA256(), SESSION_KEYS_SIZE, salt=None, info=info).derive(secret)
        half = SESSION_KEYS_SIZE // 2
        self._requests, self._responses = AESGCM(keys[:half]), AESGCM(keys[half:])

    def open(self, sealed: bytes, binding: CallBinding) -> bytes:
        """Opens a request that was sealed in this session for this number and entry point; else ``cannot-open``."""
        try:
            return self._requests.decrypt(binding.nonce, sealed, binding.request_aad())
        except InvalidTag:
            raise refuse(
                Code.CANNOT_OPEN, "not sealed in this session for this sequence number and entry point"
            ) from None

    def seal(self, text: bytes, binding: CallBinding, sealed_request: bytes) -> bytes:
        """Seals the one response to a request that has opened."""
        return self._responses.encrypt(binding.nonce, text, binding.response_aad(sealed_request))


class PeerKeys:
    """The ciphers of a session that this enclave has begun with another: the other way round than those above.

    They take a call's sequence number for the nonce, so each number is for one text.

    Args:
        called_key: the other's HPKE key, which nothing vouches for yet.
        about: the session, whose number and nonces the secret is bound to.

    Raises:
        FaultError: ``peer-refused``: the key is a point of low order (RFC 9180, section 7.1.4).
    """

    __slots__ = ("_requests", "_responses", "encapsulation")

    def __init__(self, called_key: bytes, about: PeerSession) -> None:
        secret = os.urandom(SECRET_SIZE)
        try:
            public = X25519PublicKey.from_public_bytes(called_key)
            self.encapsulation = SUITE.encrypt(secret, public, info=about.encapsulation_info())
        except ValueError:
            raise refuse(Code.PEER_REFUSED, "the other enclave's HPKE key is a point that keeps no secret") from None
        keys = HKDF(SHA256(), SESSION_KEYS_SIZE, salt=None, info=about.keys_info()).derive(secret)
        half = SESSION_KEYS_SIZE // 2
        self._requests, self._responses = AESGCM(keys[:half]), AESGCM(keys[half:])

    def seal(self, text: bytes, binding: CallBinding) -> bytes:
        """The sealed request; for one text under each sequence number."""
        return self._requests.encrypt(binding.nonce, text, binding.request_aad())

    def open(self, sealed: bytes, binding: CallBinding, sealed_request: bytes) -> bytes:
        """The text that the other enclave has sealed for this very request; refuses all else as ``peer-refused``."""
        try:
            return self._responses.decrypt(binding.nonce, sealed, binding.response_aad(sealed_request))
        except InvalidTag:
            raise refuse(Code.PEER_REFUSED, "the answer is none of the other enclave's to this request") from None


def seal_secret(public_key: bytes, text: bytes) -> str:
    """Seals a text for the enclave that has this HPKE key, which evidence has vouched for.

    Raises:
        FaultError: ``peer-refused``: the key is a point of low order (RFC 9180, section 7.1.4).
    """
    try:
        public = X25519PublicKey.from_public_bytes(public_key)
        return secret_text(SUITE.encrypt(pad(text), public, info=secret_info(public_key)))
    except ValueError:
        raise refuse(Code.PEER_REFUSED, "the other enclave's HPKE key is a point that keeps no secret") from None


class Sha256:
    """SHA-256 of bytes that come in pieces. Faster than :mod:`hashlib`, which has no OpenSSL in here."""

    __slots__ = ("_hash",)

    def __init__(self) -> None:
        self._hash = Hash(SHA256())

    def update(self, piece: bytes) -> None:
        """Hashes the next piece."""
        self._hash.update(piece)

    def digest(self) -> bytes:
        """The hash of all pieces so far."""
        return self._hash.copy().finalize()


def sha256(data: bytes) -> bytes:
    """SHA-256 of the bytes."""
    whole = Hash(SHA256())
    whole.update(data)
    return whole.finalize()


def is_same_hash(one: bytes, other: bytes) -> bool:
    """Compares in a time that does not depend on where they differ."""
    return hmac.compare_digest(one, other)


def seal_counted(key: bytes, nonce: bytes, text: bytes, associated: bytes) -> bytes:
    """Seals with AES-GCM under a sealing key. The nonce (12 bytes) must never be used twice with one key."""
    return AESGCM(key).encrypt(nonce, text, associated)


def unseal(key: bytes, nonce: bytes, sealed: bytes, associated: bytes) -> bytes:
    """Opens what :func:`seal_counted` sealed; refused as ``state-refused`` where any of it has changed."""
    try:
        return AESGCM(key).decrypt(nonce, sealed, associated)
    except InvalidTag:
        raise refuse(
            Code.STATE_REFUSED, "not sealed on this machine for this enclave's identity, or changed since"
        ) from None


def check_signature(public_key: bytes, signature: bytes, transcript: bytes) -> None:
    """Refuses a caller (``caller-refused``) whose Ed25519 signature over the transcript does not verify.

    A key for which anybody can sign is nobody's proof: some messages verify under it with a signature of zeros.
    """
    if has_small_order(public_key):
        raise refuse(Code.CALLER_REFUSED, "the caller's key is a point of small order, for which anybody can sign")
    try:
        Ed25519PublicKey.from_public_bytes(public_key).verify(signature, transcript)
    except (InvalidSignature, ValueError):
        raise refuse(Code.CALLER_REFUSED, "the caller's signature does not verify over this call") from None
