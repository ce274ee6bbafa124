"""Host to enclave (entry calls) and back: one entry at a time, OCALLs in between. Each takes the other for hostile.

Replies carry no numbers: the n-th reply belongs to the n-th entry. Two rules keep both ends in step, whatever is late:

* What is said about an OCALL carries the OCALL's number, and the enclave drops it without a reply unless it waits for
  that very number. An answer that comes after its call has ended is therefore no entry, and no answer to the next
  OCALL.
* While the enclave waits for an answer it drops everything else, entries included, without a reply: a host that enters
  in the middle of an OCALL has lost count already. A dropped ``Enter`` uses up no sequence number.
"""

from dataclasses import dataclass
from typing import Annotated

from casemate.wire.encodings.message import U64, Bytes32, Fixed, Limit, Name, message
from casemate.wire.protocol.call import MAX_ARGUMENTS, MAX_OUTPUT, MAX_SEALED, Envelope
from casemate.wire.protocol.faults import Fault
from casemate.wire.protocol.sandbox_layers import SandboxLayers
from casemate.wire.protocol.tee import MAX_REPORT

MAX_OCALL = 1024 * 1024
"""Longest arguments or answer of one OCALL (bytes of JSON)."""


@message(0x50)
@dataclass(frozen=True, slots=True)
class Challenge:
    """Prove yourself to this nonce, in a report for this target. Reply: ``ChallengeAnswer``."""

    nonce: Bytes32
    target_info: Annotated[bytes, Fixed(512)]


@message(0x51)
@dataclass(frozen=True, slots=True)
class ChallengeAnswer:
    """A report, the values its REPORTDATA binds, and a new session's number (which nothing vouches for: see ADR)."""

    report: Annotated[bytes, Limit(MAX_REPORT)]
    hpke_key: Bytes32
    receipt_key: Bytes32
    layers: SandboxLayers
    session: U64


@message(0x52)
@dataclass(frozen=True, slots=True)
class Enter:
    """A sealed call. Reply: ``Left``, or a ``Fault`` where the envelope could not be opened."""

    envelope: Envelope


@message(0x53)
@dataclass(frozen=True, slots=True)
class Left:
    """A sealed response."""

    sealed: Annotated[bytes, Limit(MAX_SEALED)]


ANSWERED_OCALLS = ("echo", "log", "time")
"""OCALLs that every Casemate host answers. A manifest may declare others, for a host that has an answer to them."""


@message(0x54)
@dataclass(frozen=True, slots=True)
class Ocall:
    """The guest asks the host. Reply: ``OcallAnswer`` or ``OcallRefused``, with the same number."""

    number: U64
    """Rises over the enclave's life, so no two OCALLs share one."""
    name: Name
    arguments: Annotated[bytes, Limit(MAX_OCALL)]


@message(0x55)
@dataclass(frozen=True, slots=True)
class OcallAnswer:
    """What the host says; lies included."""

    number: U64
    answer: Annotated[bytes, Limit(MAX_OCALL)]


@message(0x56)
@dataclass(frozen=True, slots=True)
class Log:
    """A line the guest printed; sent by debug enclaves alone."""

    text: Annotated[str, Limit(4096)]


@message(0x57)
@dataclass(frozen=True, slots=True)
class OcallRefused:
    """The host has no answer. The guest learns that much and not why."""

    number: U64
    fault: Fault


@message(0x58)
@dataclass(frozen=True, slots=True)
class PlainEnter:
    """A call in the clear, of an entry point whose manifest says ``plain``: the operator sees all of it.

    Nobody is its caller, and nobody gets a receipt. Reply: ``PlainLeft`` or ``Fault``.
    """

    entry: Name
    arguments: Annotated[bytes, Limit(MAX_ARGUMENTS)]


@message(0x59)
@dataclass(frozen=True, slots=True)
class PlainLeft:
    """The result in the clear: JSON."""

    output: Annotated[bytes, Limit(MAX_OUTPUT)]
