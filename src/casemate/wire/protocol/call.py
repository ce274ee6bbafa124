"""Sealed calls: what is bound, sealed and signed. `docs/protocol.md` has the bytes, and an example.

A session has a secret, which its first request carries: 32 random bytes of the client's, sealed with HPKE
(:data:`HPKE_SUITE`) to the enclave's attested key, with :meth:`SessionBinding.encapsulation_info` as ``info``. The two
keys of the session, one for each direction, are derived from it. Requests and responses are sealed with AES-256-GCM,
with the call's sequence number as nonce and :meth:`CallBinding.request_aad` or :meth:`CallBinding.response_aad` as
associated data. Both plaintexts are padded first (``wire.protocol.padding``), so a relay learns the rough size of long
arguments and outputs, and cannot tell a refusal from a short result. This module computes bytes; client and enclave
apply the ciphers.
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
    Fixed,
    Limit,
    Name,
    encode_fields,
    message,
    retire,
)
from casemate.wire.protocol.faults import Fault
from casemate.wire.protocol.isolation import Isolation
from casemate.wire.protocol.tee import LAUNCH_DIGEST_SIZE

PROTOCOL = 2
"""The version of all that this module describes: of its labels and of its messages' tags."""

HPKE_SUITE = "DHKEM(X25519, HKDF-SHA256), HKDF-SHA256, AES-256-GCM"
"""RFC 9180 names of the suite, single shot, base mode; the sealed form is the encapsulated key and the ciphertext."""

SECRET_SIZE = 32
"""Bytes of a session's secret."""

ENCAPSULATION_SIZE = 80
"""Bytes of a sealed session secret: encapsulated key (32), ciphertext of the secret (32), authentication tag (16)."""

SESSION_KEYS_SIZE = 64
"""Bytes that HKDF-SHA256 expands a session's secret to: the key of its requests (32), then that of its responses (32).
"""

TAG_SIZE = 16
"""Bytes of AES-GCM's authentication tag, which ends every sealed text."""

MAX_ARGUMENTS = 16 * 1024 * 1024
"""The longest arguments of one call (bytes of JSON)."""

MAX_OUTPUT = 16 * 1024 * 1024
"""The longest output that a manifest may allow (bytes of JSON)."""

MAX_SEALED = 17 * 1024 * 1024
"""The longest sealed request or response (bytes): the longest content, its padding, and the ciphers' own bytes."""

MAX_REASON = 1024
"""The longest words of a declared error (bytes of UTF-8)."""

MAX_CHUNK = 1024 * 1024
"""The longest piece of a stream, either way (bytes)."""

Sha256 = Callable[[bytes], bytes]
"""A SHA-256 function. An enclave passes one that is faster than :mod:`hashlib`'s, which has no OpenSSL there."""


def _sha256(data: bytes) -> bytes:
    return hashlib.sha256(data).digest()


_ENCAPSULATION_LABEL = b"casemate session v2\x00"
_KEYS_LABEL = b"casemate session keys v2\x00"
_REQUEST_LABEL = b"casemate request v2\x00"
_RESPONSE_LABEL = b"casemate response v2\x00"
_CALLER_LABEL = b"casemate caller v2\x00"
_RECEIPT_LABEL = b"casemate receipt v3\x00"
_RECEIPT_LABEL_V2 = b"casemate receipt v2\x00"
_RECEIPT_LABEL_V1 = b"casemate receipt v1\x00"
_COMMITMENT_LABEL = b"casemate commitment v1\x00"

for _tag in (0x10, 0x11):  # envelope and request
    retire(_tag, "protocol", got=1, want=f"{PROTOCOL}: update the client")
for _tag in (0x12, 0x13, 0x14, 0x15):  # what a response may hold
    retire(_tag, "protocol", got=1, want=f"{PROTOCOL}: update the host")
for _tag in (0x1A, 0x1D):  # results whose receipt cannot name an error
    retire(_tag, "result", got="of an earlier form", want="one whose receipt can name an error: update the host")


@dataclass(frozen=True, slots=True)
class SessionBinding:
    """The quote and the number that a session is bound to, for as long as it lives.

    These do not tell enclaves apart: an enclave never sees its own quote, so it takes the hash on trust, and sessions
    are small integers that other enclaves use as well. So whatever binds a session also names the enclave's HPKE key,
    which is new at each launch and which the enclave knows for itself. In both methods, ``hpke_key`` is the enclave's
    public key: its own for the enclave, the attested one for the client; never one that came with a request.
    """

    quote_hash: Bytes32
    session: U64

    def encapsulation_info(self, hpke_key: bytes) -> bytes:
        """The HPKE ``info`` under which the session's secret is sealed."""
        return _ENCAPSULATION_LABEL + hpke_key + encode_fields(self)

    def keys_info(self, hpke_key: bytes) -> bytes:
        """The HKDF ``info`` with which the session's keys are derived from its secret; there is no salt."""
        return _KEYS_LABEL + hpke_key + encode_fields(self)


@dataclass(frozen=True, slots=True)
class _CallPosition:
    """The part of a call's binding that its session's keys are not bound to already."""

    sequence: U64
    entry: Name


@dataclass(frozen=True, slots=True)
class CallBinding:
    """The quote, session, number and entry point that a request is bound to.

    Quote and session, with the enclave's HPKE key, by the session's keys; number and entry point as associated data.
    """

    quote_hash: Bytes32
    """SHA-256 of the quote that the caller appraised. The receipt repeats it, and its reader compares it with the
    quote. The same in all calls of a session."""
    session: U64
    sequence: U64
    """Rises with each call of a session; the enclave refuses one that is not above the last."""
    entry: Name

    @property
    def of_session(self) -> SessionBinding:
        """What the session is bound to."""
        return SessionBinding(self.quote_hash, self.session)

    @property
    def nonce(self) -> bytes:
        """The AES-GCM nonce of this request, and under the other key, of its response: the sequence number."""
        return self.sequence.to_bytes(12, "little")

    def request_aad(self) -> bytes:
        """Associated data of the request."""
        return _REQUEST_LABEL + encode_fields(_CallPosition(self.sequence, self.entry))

    def response_aad(self, sealed_request: bytes) -> bytes:
        """Associated data of the response: ties it to the one request, by the tag that ends the sealed request."""
        return _RESPONSE_LABEL + encode_fields(_CallPosition(self.sequence, self.entry)) + sealed_request[-TAG_SIZE:]


@message(0x18)
@dataclass(frozen=True, slots=True)
class Envelope:
    """A sealed request as gateway and host see it."""

    binding: CallBinding
    sealed: Annotated[bytes, Limit(MAX_SEALED)]
    encapsulation: Annotated[bytes, Fixed(ENCAPSULATION_SIZE)] | None = None
    """The session's sealed secret; in every request until its client has opened a response of the session."""


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

    input_blind: Bytes32
    output_blind: Bytes32
    arguments: Annotated[bytes, Limit(MAX_ARGUMENTS)]
    """JSON, UTF-8; or in a stream, what its step says."""
    step: StreamStep | None = None
    """None for a call that is one request and one response."""


@message(0x19)
@dataclass(frozen=True, slots=True)
class CallRequest:
    """The plaintext of a request."""

    content: CallContent
    caller: CallerProof | None


def caller_transcript(
    binding: CallBinding,
    hpke_key: bytes,
    encapsulation_hash: bytes,
    content: CallContent,
    sha256: Sha256 = _sha256,
) -> bytes:
    """What a caller signs. The signature is valid for this call, in this session, to this launch of this enclave only.

    The key ties it to one enclave: whoever opens a request has its plaintext, and could seal that again for another
    enclave; the signature inside still names the first enclave's key. The encapsulation ties it to the one client that
    made the session's secret.

    Args:
        binding: the call.
        hpke_key: as for :class:`SessionBinding`.
        encapsulation_hash: SHA-256 of the session's sealed secret.
        content: signed as its hash.
        sha256: computes the hash.
    """
    return _CALLER_LABEL + hpke_key + encode_fields(binding) + encapsulation_hash + sha256(encode_fields(content))


def streamed_text(json_text: bytes, digest: bytes, size: int) -> bytes:
    """The text that a stream's receipt commits to: the JSON of its arguments or result, and the hash of its bytes.

    Args:
        json_text: the arguments of OPEN for the input, the returned value for the output, as compact JSON.
        digest: SHA-256 of all bytes in this direction, in order.
        size: how many bytes.
    """
    return b'{"value":%b,"stream":{"sha256":"%b","size":%d}}' % (json_text, digest.hex().encode(), size)


def refused_text(code: str, details: bytes) -> bytes:
    """The text that the receipt of a refusal commits to in place of an output.

    Args:
        code: the declared name.
        details: compact JSON; ``null`` where there are none.
    """
    return b'{"error":"%b","details":%b}' % (code.encode(), details)


def commitment(blind: bytes, content: bytes, sha256: Sha256 = _sha256) -> bytes:
    """A hiding and binding commitment to ``content``: SHA-256 over a label, 32 random bytes, and the content."""
    return sha256(_COMMITMENT_LABEL + blind + content)


@dataclass(frozen=True, slots=True)
class StateMark:
    """The point in an enclave's sealed state at which a call was answered.

    Calls that end at the same time are committed together and share an epoch. Of two receipts of one epoch:

    * if neither call changed the state, both saw one and the same: that of this epoch;
    * if one of them changed it, the other saw the state with these changes in it;
    * if both did, their changes came into the state in one step, and nobody has seen it with those of one alone. Each
      saw the state of the epoch before, of which the earlier one had changed nothing that the later one looked at.

    A receipt does not tell which of these calls its own was. Whoever has a receipt of a higher epoch was shown, in what
    that call looked at, the changes of all lower ones.
    """

    epoch: U64
    """Commits so far, including the one with this call's own changes."""
    recoveries: U32
    """How often the operator accepted an older state. Above 0, earlier commits may have been lost."""


@dataclass(frozen=True, slots=True)
class CallMetrics:
    """What a function used for one call, as its enclave measured it; of a stream, for all its steps together."""

    wall_us: U64
    """Microseconds from the moment that the guest was given the call to its answer; waits for OCALLs are in it, those
    for a guest or a turn are not."""
    cpu_us: U64 | None
    """Microseconds that the guest's process computed; None where the operating system does not tell."""
    peak_kib: U64 | None
    """The largest resident memory of the guest's process so far (KiB), in earlier calls as well; None where the
    operating system does not tell."""
    bytes_out: U64
    """Bytes of the result, or of the refusal's details, and of a stream's output."""
    ocalls: U32
    """OCALLs that the function asked for."""
    cold: bool
    """The guest was new: it had served nothing before this call."""


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
    isolation: Isolation | None = None
    """How the image keeps callers apart; None in receipts of version 1, which did not say."""
    error: Name | None = None
    """The declared error with which the function refused the call; None where it returned a result."""
    metrics: CallMetrics | None = None
    """What the call used, where the manifest wants it in receipts."""

    def signed_bytes(self) -> bytes:
        """The bytes that the receipt key signs.

        A receipt that says nothing that an earlier version could not say is signed as that version signed it, so that
        those who check receipts need to learn a new form only for what is new.
        """
        encoded = encode_fields(self)
        if self.error is not None or self.metrics is not None:
            return _RECEIPT_LABEL + encoded
        encoded = encoded[:-2]  # the last bytes say that there is no error and no metrics: v2 has no such fields
        if self.isolation is not None:
            return _RECEIPT_LABEL_V2 + encoded
        return _RECEIPT_LABEL_V1 + encoded[:-1]  # nor has v1 a mode


@message(0x1E)
@dataclass(frozen=True, slots=True)
class CallResult:
    """The plaintext of a response with a result."""

    output: Annotated[bytes, Limit(MAX_OUTPUT)]
    """JSON, UTF-8."""
    receipt: Receipt
    signature: Bytes64
    """Ed25519 by the attested receipt key over :meth:`Receipt.signed_bytes`."""
    metrics: CallMetrics


@dataclass(frozen=True, slots=True)
class Refusal:
    """A function's refusal of a call, with an error that its manifest declares."""

    code: Name
    """The error's name."""
    reason: Annotated[str, Limit(MAX_REASON)]
    """Its words in the manifest."""
    details: Annotated[bytes, Limit(MAX_OUTPUT)]
    """JSON as the error's schema lets it out; ``null`` where the manifest has no schema for it."""

    def committed(self) -> bytes:
        """What a receipt commits to; in a stream, inside its text."""
        return refused_text(self.code, self.details)


@message(0x1F)
@dataclass(frozen=True, slots=True)
class CallRefused:
    """The plaintext of a response in which the function refuses: to a call, or to a step, which ends the stream.

    Nothing that the function did to its state was kept. What it put out in this step is lost.
    """

    refusal: Refusal
    receipt: Receipt
    """Its ``error`` is the refusal's code; its output is :meth:`Refusal.committed`."""
    signature: Bytes64
    """As that of a result."""
    metrics: CallMetrics


@message(0x1C)
@dataclass(frozen=True, slots=True)
class StepTaken:
    """The plaintext of a response to a step that is not the last."""

    stream: U64
    is_hungry: bool
    """The function waits for input: CHUNK or END. Otherwise it has more to say: PULL."""
    data: Annotated[bytes, Limit(MAX_CHUNK)]
    """The output of the function since the last step."""


@message(0x17)
@dataclass(frozen=True, slots=True)
class StreamEnded:
    """The plaintext of the response to a stream's last step."""

    data: Annotated[bytes, Limit(MAX_CHUNK)]
    """The rest of the function's output."""
    result: CallResult
    """The function's return value. Its receipt is over :func:`streamed_text` of both directions; its session, sequence
    number and blinds are those of the request that this answers."""


@message(0x1B)
@dataclass(frozen=True, slots=True)
class CallFailed:
    """The plaintext of a response in which the enclave refuses; only the caller can read the reason."""

    fault: Fault
    metrics: CallMetrics | None = None
    """What the call used until then; of a stream, all its steps together. None where no guest was given it."""
