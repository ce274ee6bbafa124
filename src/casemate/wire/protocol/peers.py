"""What two enclaves bind their session to, and what a request between them says. `docs/protocol.md` has the bytes.

A calls, B is called. Each draws a nonce; A draws a secret and seals it with HPKE to B's key. Each then puts into its
REPORTDATA a hash over both nonces, both HPKE keys, the hash of the sealed secret, the session's number, and its own
receipt key and layers, under a label of its side. So a proof counts for this one session, for this side of it, and for
the one process that has the key: evidence of another genuine instance cannot stand in for it, nor one side's for the
other's.
"""

import hashlib
from dataclasses import dataclass
from enum import Enum

from casemate.wire.encodings.message import U8, U32, U64, Bytes16, Bytes32, encode_fields, message
from casemate.wire.protocol.call import CallContent
from casemate.wire.protocol.sandbox_layers import SandboxLayers

MAX_DEPTH = 8
"""Most enclaves below the one that a client calls: a call of depth 0 is a client's."""

TRACE_SIZE = 16
"""Bytes of a trace."""

MAX_FAN_OUT = 256
"""Most calls of others that one call makes."""

_ENCAPSULATION_LABEL = b"casemate peer session v1\x00"
_KEYS_LABEL = b"casemate peer session keys v1\x00"
_SESSION_LABEL = b"casemate peer session name v1\x00"


class PeerSide(Enum):
    """The two sides of a session; the value begins what the side's REPORTDATA is a hash of."""

    CALLER = b"casemate peer caller v1\x00"
    CALLED = b"casemate peer called v1\x00"


@dataclass(frozen=True, slots=True)
class PeerSession:
    """What tells a session apart from all others, before it has a secret."""

    caller_nonce: Bytes32
    called_nonce: Bytes32
    caller_key: Bytes32
    """The caller's HPKE key (X25519), new at each of its launches. It is never sealed to here."""
    called_key: Bytes32
    """The called enclave's HPKE key, to which the secret is sealed."""
    number: U64
    """The session's number at the called enclave."""

    def encapsulation_info(self) -> bytes:
        """The HPKE ``info`` under which the secret is sealed."""
        return _ENCAPSULATION_LABEL + encode_fields(self)

    def keys_info(self) -> bytes:
        """The HKDF ``info`` with which the session's keys are derived from its secret; there is no salt."""
        return _KEYS_LABEL + encode_fields(self)


@dataclass(frozen=True, slots=True)
class PeerBinding:
    """What one side vouches for."""

    session: PeerSession
    encapsulation_hash: Bytes32
    """SHA-256 of the sealed secret."""
    receipt_key: Bytes32
    """The side's own (Ed25519)."""
    layers: SandboxLayers
    """The side's own."""

    def report_data(self, side: PeerSide) -> bytes:
        """The 64 bytes of the side's REPORTDATA: SHA-512 over its label and the fields."""
        return hashlib.sha512(side.value + encode_fields(self)).digest()

    def session_name(self) -> bytes:
        """What stands for a quote's hash in the session's calls and receipts (32 bytes).

        It is computed from the called side's binding. Both sides know it, whichever way they have proved themselves,
        while a called enclave never sees its own evidence.
        """
        return hashlib.sha256(_SESSION_LABEL + self.report_data(PeerSide.CALLED)).digest()


@dataclass(frozen=True, slots=True)
class Course:
    """Where a call stands in the calls that one client's call has led to."""

    trace: Bytes16
    """Random, and the same in all of them."""
    depth: U8
    """0 in a client's call, and one more in each call that it leads to."""
    time_ms: U32
    """How long the caller waits for the answer (milliseconds)."""


@message(0x16)
@dataclass(frozen=True, slots=True)
class PeerRequest:
    """The plaintext of a request between enclaves. The session says who calls; nobody signs."""

    content: CallContent
    course: Course
