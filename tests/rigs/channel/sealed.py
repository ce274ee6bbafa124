"""A client's side of a session, written down once more with nothing but primitives: it may do what no client should."""

import os
from dataclasses import dataclass, field

from cryptography.hazmat.primitives.asymmetric.x25519 import X25519PublicKey
from cryptography.hazmat.primitives.ciphers.aead import AESGCM
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.hpke import AEAD, KDF, KEM, Suite
from cryptography.hazmat.primitives.kdf.hkdf import HKDF

from casemate.client.core import AttestedEnclave, PendingCall
from casemate.wire.encodings.message import encode_message
from casemate.wire.protocol.call import CallBinding, CallRequest, Envelope, SessionBinding
from casemate.wire.protocol.padding import pad, unpad

SUITE = Suite(KEM.X25519, KDF.HKDF_SHA256, AEAD.AES_256_GCM)


@dataclass
class Sealer:
    """Seals requests under any number, any times."""

    hpke_key: bytes
    """To whom the secret is sealed."""
    about: SessionBinding
    named: bytes = b""
    """The key that is named in what everything is bound to; the same, unless a test says otherwise."""
    secret: bytes = field(default_factory=lambda: os.urandom(32))

    def __post_init__(self) -> None:
        self.named = self.named or self.hpke_key
        public = X25519PublicKey.from_public_bytes(self.hpke_key)
        self.encapsulation = SUITE.encrypt(self.secret, public, info=self.about.encapsulation_info(self.named))
        keys = HKDF(SHA256(), 64, None, self.about.keys_info(self.named)).derive(self.secret)
        self.requests, self.responses = AESGCM(keys[:32]), AESGCM(keys[32:])

    def envelope(self, binding: CallBinding, text: bytes, *, carries_secret: bool = True) -> Envelope:
        """A sealed request of any text at all."""
        sealed = self.requests.encrypt(binding.nonce, text, binding.request_aad())
        return Envelope(binding, sealed, self.encapsulation if carries_secret else None)

    def request(self, binding: CallBinding, request: CallRequest) -> Envelope:
        """A sealed request."""
        return self.envelope(binding, pad(encode_message(request)))

    def opened(self, sealed: bytes, envelope: Envelope) -> bytes:
        """The text of a response."""
        aad = envelope.binding.response_aad(envelope.sealed)
        return bytes(unpad(self.responses.decrypt(envelope.binding.nonce, sealed, aad)))


def resealed(target: AttestedEnclave, name: str, request: CallRequest) -> PendingCall:
    """A request that is already there, whoever made and signed it, in a session of one's own."""
    return PendingCall(target, *target._session.seal(name, lambda _: request))


def response_text(pending: PendingCall, sealed: bytes) -> bytes:
    """The text of an honest response."""
    return bytes(unpad(pending.enclave.open_response(sealed, pending.envelope)))


def sealed_response(pending: PendingCall, padded: bytes) -> bytes:
    """A response as the enclave would seal it, by somebody who has the session's keys."""
    binding, request = pending.envelope.binding, pending.envelope.sealed
    return pending.enclave._session._keys._responses.encrypt(binding.nonce, padded, binding.response_aad(request))
