"""Receipts of the calls that a call has made of other enclaves. `docs/protocol.md` has the bytes.

An enclave that calls another has appraised it, and checks the receipt of each answer. Where its manifest says
``[receipt] inner = true``, it hands these receipts on to its own caller, and its own receipt commits to them, in the
order in which the answers came. Below each stand the receipts that came with it, so a client has the whole tree in one
list: a receipt, then those below it, then the next of its own level.

What a client believes of an enclave in the tree is the word of the enclave above it: that it has proved to be this
signer's product, and that this receipt key is its own.
"""

import hashlib
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, fields
from typing import Annotated, Self

from casemate.wire.encodings.message import U8, U16, Bytes32, Bytes64, Limit, Name, encode_fields, message
from casemate.wire.errors import WireError
from casemate.wire.protocol.call import MAX_SEALED, Receipt, Sha256
from casemate.wire.protocol.peers import MAX_DEPTH, MAX_FAN_OUT
from casemate.wire.protocol.tee import Tee

MAX_BELOW = 256
"""Most receipts below those of the calls that a call has made itself. Where an answer would bring more, they are left
out: the receipt that commits to them stays."""

MAX_INNER = MAX_FAN_OUT + MAX_BELOW
"""Most receipts that come with an answer."""

_LIST_LABEL = b"casemate inner receipts v1\x00"
_CHAINED_LABEL = b"casemate receipt v4\x00"


def _sha256(data: bytes) -> bytes:
    return hashlib.sha256(data).digest()


@dataclass(frozen=True, slots=True)
class ChainedReceipt(Receipt):
    """The receipt of a call that has made others, whose receipts it commits to."""

    inner: Bytes32 = bytes(32)
    """:func:`inner_hash` of those."""

    def signed_bytes(self) -> bytes:
        """The bytes that the receipt key signs."""
        return _CHAINED_LABEL + encode_fields(self)

    @classmethod
    def of(cls, receipt: Receipt, inner: bytes) -> Self:
        """``receipt`` with a commitment to others."""
        return cls(**{field.name: getattr(receipt, field.name) for field in fields(Receipt)}, inner=inner)


@dataclass(frozen=True, slots=True)
class InnerCall:
    """The receipt of a call of another enclave, with what its caller knows of that enclave."""

    service: Name
    """NAME of the caller's table ``[uses.NAME]``. The receipt has the measurement."""
    tee: Tee
    mr_signer: Bytes32
    product_id: U16
    security_version: U16
    deployment: Bytes32
    """Zeros where it has no owner."""
    receipt_key: Bytes32
    """The other enclave's, which it has proved to the caller."""
    receipt: Receipt
    inner: Bytes32 | None
    """What the receipt commits to beside; None where it names no others."""
    signature: Bytes64

    @property
    def signed(self) -> Receipt:
        """The receipt as it was signed."""
        return self.receipt if self.inner is None else ChainedReceipt.of(self.receipt, self.inner)


@dataclass(frozen=True, slots=True)
class InnerReceipt:
    """One in the list of all receipts that come with an answer."""

    level: U8
    """1 for a call that the answering enclave has made, 2 for one that a call of level 1 has made, and so on."""
    call: InnerCall


@message(0xFF40)
@dataclass(frozen=True, slots=True)
class Accounted:
    """The plaintext of a response that comes with the receipts of other calls."""

    said: Annotated[bytes, Limit(MAX_SEALED)]
    """A CallResult, CallRefused or StreamEnded, encoded, whose signature is over its receipt *and* the hash of the
    receipts of level 1: see :class:`ChainedReceipt`."""
    inner: Annotated[tuple[InnerReceipt, ...], Limit(MAX_INNER)]
    """Not empty."""


@dataclass(frozen=True, slots=True)
class Branch:
    """A receipt in the tree."""

    call: InnerCall
    below: tuple[InnerReceipt, ...]
    """As they would stand below the answer of this call: levels from 1."""

    @property
    def is_whole(self) -> bool:
        """Whether the receipts are there that this one commits to."""
        return self.call.inner is None or bool(self.below)


def inner_hash(calls: Sequence[InnerCall], sha256: Sha256 = _sha256) -> bytes:
    """What a receipt commits to: SHA-256 over a label and the SHA-256 of each call that it has made, in order."""
    return sha256(_LIST_LABEL + b"".join(sha256(encode_fields(call)) for call in calls))


def branches(inner: Sequence[InnerReceipt]) -> Iterator[Branch]:
    """The receipts of level 1 in a list, each with those below it.

    Raises:
        WireError: the levels are those of no tree, or of one that is too deep.
    """
    at = 0
    while at < len(inner):
        if inner[at].level != 1:
            raise WireError("inner receipts.level", got=str(inner[at].level), want="1, or one more than that above it")
        end = at + 1
        while end < len(inner) and inner[end].level > 1:
            if inner[end].level > MAX_DEPTH:
                raise WireError("inner receipts.level", got=str(inner[end].level), want=f"at most {MAX_DEPTH}")
            end += 1
        below = tuple(InnerReceipt(each.level - 1, each.call) for each in inner[at + 1 : end])
        yield Branch(inner[at].call, below)
        at = end


def check_committed(inner: Sequence[InnerReceipt], committed: bytes | None, sha256: Sha256 = _sha256) -> None:
    """Refuses a list that is not what the receipt above it commits to, at any level. Checks no signatures.

    A branch may have nothing below it, though its receipt commits to something: that was left out.

    Args:
        inner: from whomever; empty where there is none, or it was left out.
        committed: by the receipt above; None where it names no others.
        sha256: computes hashes.

    Raises:
        WireError: receipts were exchanged, dropped, added, or their order was changed.
    """
    if not inner:
        return
    found = list(branches(inner))
    if committed is None:
        raise WireError("inner receipts", got=f"{len(inner)}", want="none: the receipt above them names no others")
    if inner_hash([branch.call for branch in found], sha256) != committed:
        raise WireError("inner receipts", got="others, or in another order", want="those that the receipt names")
    for branch in found:
        check_committed(branch.below, branch.call.inner, sha256)


class InnerReceipts:
    """The receipts of the calls that one call makes, as they come."""

    __slots__ = ("_below", "_kept")

    def __init__(self) -> None:
        self._kept: list[InnerReceipt] = []
        self._below = 0

    def add(self, call: InnerCall, below: Sequence[InnerReceipt]) -> None:
        """Keeps the receipt of an answer, and those that came with it where there is room: see :data:`MAX_BELOW`.

        Args:
            call: the next.
            below: whose hashes were checked.
        """
        self._kept.append(InnerReceipt(1, call))
        deepest = max((each.level for each in below), default=0)
        if self._below + len(below) <= MAX_BELOW and deepest < MAX_DEPTH:
            self._below += len(below)
            self._kept.extend(InnerReceipt(each.level + 1, each.call) for each in below)

    @property
    def kept(self) -> tuple[InnerReceipt, ...]:
        """All of them, for an answer."""
        return tuple(self._kept)
