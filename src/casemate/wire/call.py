"""A sealed call: what is bound, what is sealed, what is signed. Client and enclave apply the ciphers.

A request is sealed with HPKE (:data:`HPKE_SUITE`) to the enclave's attested key with :meth:`CallBinding.info` as
``info``; the response is sealed with AES-256-GCM under the request's ``response_key``, which is used once, so the nonce
is zero, with :func:`response_aad` as associated data. Both plaintexts are padded first (``wire.padding``), so that a
relay learns the size of arguments and output roughly, and of small ones nothing: refusal and result look the same.
"""

import hashlib
from dataclasses import dataclass
from typing import Annotated

from casemate.wire.faults import Fault
from casemate.wire.message import U64, Bytes32, Bytes64, Limit, Name, encode_fields, encode_message, message

HPKE_SUITE = "DHKEM(X25519, HKDF-SHA256), HKDF-SHA256, AES-256-GCM"
"""RFC 9180 names of the suite, single shot, base mode; the sealed form is the encapsulated key and the ciphertext."""

RESPONSE_NONCE = bytes(12)
"""Zero, since each response key is fresh and seals one response."""

MAX_ARGUMENTS = 16 * 1024 * 1024
"""The longest arguments of one call (bytes of JSON)."""

MAX_OUTPUT = 16 * 1024 * 1024
"""The longest output that a manifest may allow (bytes of JSON)."""

MAX_SEALED = 17 * 1024 * 1024
"""The longest sealed request or response (bytes): the longest content, its padding, and the ciphers' own bytes."""

_INFO_LABEL = b"casemate request v1\x00"
_CALLER_LABEL = b"casemate caller v1\x00"
_RESPONSE_LABEL = b"casemate response v1\x00"
_RECEIPT_LABEL = b"casemate receipt v1\x00"
_COMMITMENT_LABEL = b"casemate commitment v1\x00"


@dataclass(frozen=True, slots=True)
class CallBinding:
    """What a request says it is for: which quote, session, number and entry point.

    That is not enough to tell enclaves apart: an enclave never sees its own quote, so it takes the hash on trust, and
    sessions and numbers are small integers that another enclave has too. What is sealed or signed for a call therefore
    always names the enclave's HPKE key as well, which is fresh at each launch and which the enclave knows for itself.
    """

    quote_hash: Bytes32
    """SHA-256 of the quote that the caller appraised: the caller's word, which the receipt repeats. Whoever checks the
    receipt compares it with that quote."""
    session: U64
    sequence: U64
    """Rises with each call of a session; the enclave refuses one that is not above the last."""
    entry: Name

    def info(self, hpke_key: bytes) -> bytes:
        """The HPKE ``info`` of the request.

        Args:
            hpke_key: the enclave's public key: its own for the enclave, the attested one for the client. Never one that
                came with the request.
        """
        return _INFO_LABEL + hpke_key + encode_fields(self)


@message(0x10)
@dataclass(frozen=True, slots=True)
class Envelope:
    """A sealed request as gateway and host see it."""

    binding: CallBinding
    sealed: Annotated[bytes, Limit(MAX_SEALED)]

    def request_hash(self) -> bytes:
        """SHA-256 of the encoded envelope, which the response binds."""
        return hashlib.sha256(encode_message(self)).digest()


@dataclass(frozen=True, slots=True)
class CallerProof:
    """A caller's Ed25519 key and its signature over :func:`caller_transcript`."""

    public_key: Bytes32
    signature: Bytes64


@dataclass(frozen=True, slots=True)
class CallContent:
    """The part of a request that its caller signs."""

    response_key: Bytes32
    """AES-256-GCM key for the one response."""
    input_blind: Bytes32
    output_blind: Bytes32
    arguments: Annotated[bytes, Limit(MAX_ARGUMENTS)]
    """JSON, UTF-8."""


@message(0x11)
@dataclass(frozen=True, slots=True)
class CallRequest:
    """The plaintext of a request."""

    content: CallContent
    caller: CallerProof | None


def caller_transcript(binding: CallBinding, hpke_key: bytes, content: CallContent) -> bytes:
    """What a caller signs, so that no signature serves another enclave, another launch or another call.

    The key is what ties it to one enclave. Who opens a request has its plaintext and can seal that once more, for
    another enclave's key; the signature inside still names the first one's.

    Args:
        binding: the call.
        hpke_key: as for :meth:`CallBinding.info`.
        content: goes in as its hash.
    """
    return _CALLER_LABEL + binding.info(hpke_key) + hashlib.sha256(encode_fields(content)).digest()


def response_aad(request_hash: bytes) -> bytes:
    """Associated data of a response: ties it to the one request."""
    return _RESPONSE_LABEL + request_hash


def commitment(blind: bytes, content: bytes) -> bytes:
    """A hiding and binding commitment to ``content``: SHA-256 over a label, 32 random bytes, and the content."""
    return hashlib.sha256(_COMMITMENT_LABEL + blind + content).digest()


@dataclass(frozen=True, slots=True)
class Receipt:
    """What an enclave says it computed: code, caller, commitments to input and output, and its place in the order."""

    quote_hash: Bytes32
    mr_enclave: Bytes32
    session: U64
    sequence: U64
    entry: Name
    caller: Bytes32 | None
    """The caller's public key; None where the entry point admits anyone and nobody signed."""
    input_commitment: Bytes32
    output_commitment: Bytes32
    counter: U64
    """Counts the receipts of one launch from 1 without a gap, so whoever holds them all sees that none is missing."""

    def signed_bytes(self) -> bytes:
        """What the receipt key signs."""
        return _RECEIPT_LABEL + encode_fields(self)


@message(0x12)
@dataclass(frozen=True, slots=True)
class CallResult:
    """The plaintext of a good response."""

    output: Annotated[bytes, Limit(MAX_OUTPUT)]
    """JSON, UTF-8."""
    receipt: Receipt
    signature: Bytes64
    """Ed25519 by the attested receipt key over :meth:`Receipt.signed_bytes`."""


@message(0x13)
@dataclass(frozen=True, slots=True)
class CallFailed:
    """The plaintext of a response that refuses: the caller alone learns why."""

    fault: Fault
