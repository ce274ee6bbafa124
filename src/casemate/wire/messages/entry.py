"""Host to enclave (entry calls) and back: one entry at a time, OCALLs in between.

Each side assumes the other is hostile.

Replies have no numbers: the n-th reply belongs to the n-th entry. Two rules keep both ends in step, whatever is late:

* A message about an OCALL carries the OCALL's number. The enclave drops it without a reply unless it waits for that
  very number. So an answer that comes after its call has ended is neither taken for an entry, nor for the answer to
  the next OCALL.
* While the enclave waits for an answer it drops everything else without a reply, entries included: a host that enters
  during an OCALL has already lost count. A dropped ``Enter`` uses up no sequence number.
"""

from dataclasses import dataclass
from typing import Annotated

from casemate.wire.encodings.message import U64, Bytes32, Fixed, Limit, Name, message, retire
from casemate.wire.protocol.call import MAX_ARGUMENTS, MAX_OUTPUT, MAX_SEALED, PROTOCOL, Envelope
from casemate.wire.protocol.faults import Fault
from casemate.wire.protocol.sandbox_layers import SandboxLayers
from casemate.wire.protocol.tee import MAX_REPORT

MAX_OCALL = 1024 * 1024
"""Longest arguments or answer of one OCALL (bytes of JSON)."""


@message(0x50)
@dataclass(frozen=True, slots=True)
class Challenge:
    """Asks for a proof over this nonce, in a report for this target. Reply: ``ChallengeAnswer``."""

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


retire(0x52, "protocol", got=1, want=f"{PROTOCOL}: update the client")  # an entry whose envelope is of protocol 1


@message(0x5A)
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
"""OCALLs that every Casemate host answers. A manifest may declare others, for a host that can answer them."""


@message(0x54)
@dataclass(frozen=True, slots=True)
class Ocall:
    """The guest asks the host. Reply: ``OcallAnswer`` or ``OcallRefused``, with the same number."""

    number: U64
    """Rises during the enclave's life, so no two OCALLs have the same number."""
    name: Name
    arguments: Annotated[bytes, Limit(MAX_OCALL)]


@message(0x55)
@dataclass(frozen=True, slots=True)
class OcallAnswer:
    """The host's answer, which may be a lie."""

    number: U64
    answer: Annotated[bytes, Limit(MAX_OCALL)]


@message(0x56)
@dataclass(frozen=True, slots=True)
class Log:
    """A line that the guest printed; only debug enclaves send it."""

    text: Annotated[str, Limit(4096)]


@message(0x57)
@dataclass(frozen=True, slots=True)
class OcallRefused:
    """The host has no answer. The guest learns that, but not why."""

    number: U64
    fault: Fault


@message(0x58)
@dataclass(frozen=True, slots=True)
class PlainEnter:
    """A call in the clear, of an entry point that the manifest declares ``plain``: the operator sees all of it.

    It has no caller, and its result no receipt. Reply: ``PlainLeft`` or ``Fault``.
    """

    entry: Name
    arguments: Annotated[bytes, Limit(MAX_ARGUMENTS)]


@message(0x59)
@dataclass(frozen=True, slots=True)
class PlainLeft:
    """The result in the clear: JSON."""

    output: Annotated[bytes, Limit(MAX_OUTPUT)]
