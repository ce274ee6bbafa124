"""Sealed calls: what is bound, sealed and signed. `docs/protocol.md` has the bytes, and an example.

A request is sealed with HPKE (:data:`HPKE_SUITE`) to the enclave's attested key, with :meth:`CallBinding.info` as
``info``. The response is sealed with AES-256-GCM under the request's ``response_key`` and :func:`response_aad` as
associated data; that key seals this response alone, so the nonce is zero. Both plaintexts are padded first
(``wire.protocol.padding``), so a relay learns the rough size of long arguments and outputs, and cannot tell a refusal
from a short result. This module computes bytes; client and enclave apply the ciphers.
"""

import hashlib
from collections.abc import Callable
from dataclasses import dataclass
from enum import IntEnum
from typing import Annotated

from casemate.wire.encodings.message import (
    U32,
    U64,
    Bytes32,
    Bytes64,
    Limit,
    Name,
    encode_fields,
    encode_message,
    message,
)
from casemate.wire.protocol.faults import Fault
from casemate.wire.protocol.tee import LAUNCH_DIGEST_SIZE

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

MAX_CHUNK = 1024 * 1024
"""The longest piece of a stream, either way (bytes)."""

Sha256 = Callable[[bytes], bytes]
"""A SHA-256 function. An enclave passes one that is faster than :mod:`hashlib`'s, which has no OpenSSL there."""


def _sha256(data: bytes) -> bytes:
    return hashlib.sha256(data).digest()


_INFO_LABEL = b"casemate request v1\x00"
_CALLER_LABEL = b"casemate caller v1\x00"
_RESPONSE_LABEL = b"casemate response v1\x00"
_RECEIPT_LABEL = b"casemate receipt v1\x00"
_COMMITMENT_LABEL = b"casemate commitment v1\x00"


@dataclass(frozen=True, slots=True)
class CallBinding:
    """The quote, session, number and entry point that a request is bound to.

    These do not tell enclaves apart: an enclave never sees its own quote, so it takes the hash on trust, and sessions
    and numbers are small integers that other enclaves use as well. So everything that is sealed or signed for a call
    also names the enclave's HPKE key, which is new at each launch and which the enclave knows for itself.
    """

    quote_hash: Bytes32
    """SHA-256 of the quote that the caller appraised. The receipt repeats it, and its reader compares it with the
    quote."""
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

    def request_hash(self, sha256: Sha256 = _sha256) -> bytes:
        """SHA-256 of the encoded envelope, which the response binds."""
        return sha256(encode_message(self))


@dataclass(frozen=True, slots=True)
class CallerProof:
    """A caller's Ed25519 key and its signature over :func:`caller_transcript`."""

    public_key: Bytes32
    signature: Bytes64


class StepKind(IntEnum):
    """The kinds of steps of a stream."""

    OPEN = 1
    """The first step: the arguments are the call's JSON."""
    CHUNK = 2
    """A piece of the input follows: raw bytes, 1 to ``MAX_CHUNK``."""
    END = 3
    """The input is over; no bytes."""
    PULL = 4
    """Asks for more output; no bytes."""
    CANCEL = 5
    """Ends the stream early; no bytes. Answered with a ``StepTaken`` without bytes."""


@dataclass(frozen=True, slots=True)
class StreamStep:
    """Marks a request as a step of a stream, which belongs to the session and the caller that opened it."""

    kind: StepKind
    stream: U64
    """0 in OPEN; otherwise the enclave's number for the stream."""


@dataclass(frozen=True, slots=True)
class CallContent:
    """The part of a request that its caller signs."""

    response_key: Bytes32
    """AES-256-GCM key for the one response."""
    input_blind: Bytes32
    output_blind: Bytes32
    arguments: Annotated[bytes, Limit(MAX_ARGUMENTS)]
    """JSON, UTF-8; or in a stream, what its step says."""
    step: StreamStep | None = None
    """None for a call that is one request and one response."""


@message(0x11)
@dataclass(frozen=True, slots=True)
class CallRequest:
    """The plaintext of a request."""

    content: CallContent
    caller: CallerProof | None


def caller_transcript(binding: CallBinding, hpke_key: bytes, content: CallContent, sha256: Sha256 = _sha256) -> bytes:
    """What a caller signs. The signature is valid for this call to this launch of this enclave only.

    The key ties it to one enclave: whoever opens a request has its plaintext, and could seal that again for another
    enclave; the signature inside still names the first enclave's key.

    Args:
        binding: the call.
        hpke_key: as for :meth:`CallBinding.info`.
        content: signed as its hash.
        sha256: computes the hash.
    """
    return _CALLER_LABEL + binding.info(hpke_key) + sha256(encode_fields(content))


def streamed_text(json_text: bytes, digest: bytes, size: int) -> bytes:
    """The text that a stream's receipt commits to: the JSON of its arguments or result, and the hash of its bytes.

    Args:
        json_text: the arguments of OPEN for the input, the returned value for the output, as compact JSON.
        digest: SHA-256 of all bytes in this direction, in order.
        size: how many bytes.
    """
    return b'{"value":%b,"stream":{"sha256":"%b","size":%d}}' % (json_text, digest.hex().encode(), size)


def response_aad(request_hash: bytes) -> bytes:
    """Associated data of a response: ties it to the one request."""
    return _RESPONSE_LABEL + request_hash


def commitment(blind: bytes, content: bytes, sha256: Sha256 = _sha256) -> bytes:
    """A hiding and binding commitment to ``content``: SHA-256 over a label, 32 random bytes, and the content."""
    return sha256(_COMMITMENT_LABEL + blind + content)


@dataclass(frozen=True, slots=True)
class StateMark:
    """The point in an enclave's sealed state at which a call was answered."""

    epoch: U64
    """Commits so far, this call's own included; two receipts of one epoch saw one state."""
    recoveries: U32
    """How often the operator accepted an older state. Above 0, earlier commits may have been lost."""


@dataclass(frozen=True, slots=True)
class Receipt:
    """An enclave's statement about one call: code, caller, commitments to input and output, position."""

    quote_hash: Bytes32
    measurement: Annotated[bytes, Limit(LAUNCH_DIGEST_SIZE)]
    """MRENCLAVE, or the launch digest."""
    session: U64
    sequence: U64
    entry: Name
    caller: Bytes32 | None
    """The caller's public key; None where the entry point admits anyone and nobody signed."""
    input_commitment: Bytes32
    output_commitment: Bytes32
    counter: U64
    """Counts the receipts of one launch from 1 without a gap, so a holder of all of them notices when one is missing.
    """
    state: StateMark | None = None
    """None if the call used no sealed state."""

    def signed_bytes(self) -> bytes:
        """The bytes that the receipt key signs."""
        return _RECEIPT_LABEL + encode_fields(self)


@message(0x12)
@dataclass(frozen=True, slots=True)
class CallResult:
    """The plaintext of a response with a result."""

    output: Annotated[bytes, Limit(MAX_OUTPUT)]
    """JSON, UTF-8."""
    receipt: Receipt
    signature: Bytes64
    """Ed25519 by the attested receipt key over :meth:`Receipt.signed_bytes`."""


@message(0x14)
@dataclass(frozen=True, slots=True)
class StepTaken:
    """The plaintext of a response to a step that is not the last."""

    stream: U64
    is_hungry: bool
    """The function waits for input: CHUNK or END. Otherwise it has more to say: PULL."""
    data: Annotated[bytes, Limit(MAX_CHUNK)]
    """The output of the function since the last step."""


@message(0x15)
@dataclass(frozen=True, slots=True)
class StreamEnded:
    """The plaintext of the response to a stream's last step."""

    data: Annotated[bytes, Limit(MAX_CHUNK)]
    """The rest of the function's output."""
    result: CallResult
    """The function's return value. Its receipt is over :func:`streamed_text` of both directions; its session, sequence
    number and blinds are those of the request that this answers."""


@message(0x13)
@dataclass(frozen=True, slots=True)
class CallFailed:
    """The plaintext of a response that refuses; only the caller can read the reason."""

    fault: Fault
