"""Sealed bytes as a host stores them: a header in the clear, which the seal covers, and the ciphertext.

Both the records of a sealed state and what a function seals and gives away have this format. The cipher is AES-128-GCM
under a sealing key for the header's KEYPOLICY, ISVSVN, TCB and KEYID; the encoded header is the associated data. The
plaintext is padded (``wire.protocol.padding``).

The records of a state form a chain: each names the digest of the one before it, so the digest of the newest stands for
the whole history. A commit is one record, or several parts where one would be too long for a frame.
"""

import hashlib
from dataclasses import dataclass
from enum import IntEnum
from typing import ClassVar, Self

from casemate.wire.encodings.spans import Layout, constant, number, raw, zeros
from casemate.wire.errors import WireError
from casemate.wire.protocol.seal_binding import SealBinding
from casemate.wire.sgx.keyrequest import KeyPolicy

MAX_RECORD = 6 * 1024 * 1024
"""Longest record (bytes): the longest part of a commit, its padding, and the header."""

NO_RECORD = bytes(32)
"""The predecessor of the first record of a state, and the anchor of a state without records."""

TAG_SIZE = 16
"""Bytes that AES-GCM adds."""

_MAGIC = b"casemate seal 1\x00"
_SOURCE = "casemate.wire.protocol.sealed_record"


class SealedKind(IntEnum):
    """The kinds of sealed content."""

    CHANGES = 1
    """The changes of one commit."""
    CHECKPOINT = 2
    """The whole state; the records before it are not needed any more."""
    BLOB = 3
    """A text that a function sealed; it belongs to no history."""


@dataclass(frozen=True, slots=True, kw_only=True)
class SealedHeader:
    """The associated data of a seal: 160 bytes."""

    LAYOUT: ClassVar[Layout] = Layout(
        "sealed header",
        _SOURCE,
        (
            constant(0, "magic", _MAGIC),
            number(16, 2, "kind", SealedKind),
            number(18, 2, "key_policy", KeyPolicy),
            number(20, 2, "isv_svn"),
            number(22, 2, "part"),
            number(24, 2, "parts"),
            zeros(26, 2),
            raw(28, 16, "tcb"),
            raw(44, 32, "key_id"),
            raw(76, 12, "nonce"),
            raw(88, 32, "namespace"),
            number(120, 8, "epoch"),
            raw(128, 32, "previous"),
        ),
    )

    kind: SealedKind
    key_policy: KeyPolicy
    """KEYREQUEST.KEYPOLICY: MRENCLAVE or MRSIGNER."""
    isv_svn: int
    part: int
    """Index of this record among the parts of its commit, from 0."""
    parts: int
    """How many parts the commit has; the anchor holds the last one's digest."""
    tcb: bytes
    """CPUSVN, or TCB_VERSION and zeros, of the platform that sealed."""
    key_id: bytes
    """KEYREQUEST.KEYID: random for each launch of an enclave, so that it may count its nonces."""
    nonce: bytes
    namespace: bytes
    """``wire.protocol.seal_binding.state_namespace`` of the enclaves that may open it."""
    epoch: int
    """Number of the commit; 0 for a blob."""
    previous: bytes
    """SHA-256 of the record before this one; zeros for the first record, and for a blob."""

    @property
    def binding(self) -> SealBinding:
        return SealBinding.MRENCLAVE if self.key_policy is KeyPolicy.MRENCLAVE else SealBinding.MRSIGNER

    @property
    def is_last(self) -> bool:
        """True for the last part of a commit."""
        return self.part + 1 == self.parts

    @classmethod
    def parse(cls, data: bytes) -> Self:
        header = cls(**cls.LAYOUT.parse(data))
        if header.key_policy not in (KeyPolicy.MRENCLAVE, KeyPolicy.MRSIGNER):
            raise WireError("sealed header.key_policy", got=int(header.key_policy), want="MRENCLAVE or MRSIGNER")
        if header.part >= header.parts:
            raise WireError("sealed header.part", got=header.part, want=f"below {header.parts}")
        if header.kind is SealedKind.BLOB and (header.epoch, header.previous, header.parts) != (0, NO_RECORD, 1):
            raise WireError("sealed header", got="a blob with a place in a history", want="zeros there")
        if header.kind is not SealedKind.BLOB and header.epoch == 0:
            raise WireError("sealed header.epoch", got=0, want="1 or more")
        return header

    def encode(self) -> bytes:
        return self.LAYOUT.encode(self)


@dataclass(frozen=True, slots=True)
class SealedRecord:
    """A header and what is sealed under it."""

    header: SealedHeader
    ciphertext: bytes
    """The ciphertext, followed by the cipher's tag."""

    @classmethod
    def parse(cls, data: bytes) -> Self:
        size = SealedHeader.LAYOUT.size
        if not size + TAG_SIZE <= len(data) <= MAX_RECORD:
            raise WireError("sealed record", got=f"{len(data)} bytes", want=f"{size + TAG_SIZE} to {MAX_RECORD}")
        return cls(SealedHeader.parse(data[:size]), data[size:])

    def encode(self) -> bytes:
        """The header and the ciphertext."""
        return self.header.encode() + self.ciphertext


def record_digest(record: bytes) -> bytes:
    """SHA-256 of an encoded record, by which the next record and the anchor name it."""
    return hashlib.sha256(record).digest()
