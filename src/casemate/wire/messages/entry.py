"""Host to enclave (entries) and back: several entries at a time, questions in between.

Each side assumes the other is hostile. Frames are numbered as :mod:`casemate.link.numbered_frames` says:

* The host gives each entry a number above 0, which no other entry under way has. The enclave answers under that number,
  in whatever order its work is done: with the entry's reply, or a ``Fault``.
* Everything else has the frame number 0, which asks for no reply: from the enclave ``Ready``, its questions (``Ocall``
  and those of ``messages.state``), lines of a debug enclave (``Log``), what calls have used (``Used``), what the
  behaviour monitor found (``Noticed``), and a ``Fault`` about a frame of which it cannot tell the entry; from the host
  the answers to questions.
* A question has a number of its own in the message, and its answer repeats it. An answer that nobody waits for, or that
  comes after its call has ended, is dropped without a reply.

The first frame of an enclave is ``Ready``, but for the lines (``Log``) that a debug enclave's function prints while it
is loaded: until then the host enters nothing. It may have as many calls (``Enter``,
``PlainEnter``) under way as ``Ready`` says, and besides them :data:`MAX_OTHERS` entries of other kinds. What goes
beyond that is refused as ``busy``: the enclave's memory is bounded. These are more calls than the enclave serves at
once: it knows its callers, and those who wait in it for a guest keep nobody else out.
"""

from dataclasses import dataclass
from typing import Annotated

from casemate.wire.encodings.message import U8, U64, Bytes32, Fixed, Limit, Name, message, retire
from casemate.wire.protocol.call import MAX_ARGUMENTS, MAX_OUTPUT, MAX_SEALED, PROTOCOL, Envelope, Refusal
from casemate.wire.protocol.capabilities.service import Hook
from casemate.wire.protocol.faults import Fault
from casemate.wire.protocol.manifest import Monitored, Reaction
from casemate.wire.protocol.sandbox_layers import SandboxLayers
from casemate.wire.protocol.tee import MAX_REPORT

MAX_OCALL = 1024 * 1024
"""Longest arguments or answer of one OCALL (bytes of JSON)."""

MAX_WAITING = 32
"""Calls that may wait in an enclave besides the ``limits.concurrent`` that it serves at once."""

MAX_CALLS = 64 + MAX_WAITING
"""Most calls of one enclave that may be under way."""

MAX_OTHERS = 64
"""Most entries of other kinds than calls that may be under way: challenges, and bytes of TLS connections."""

MAX_ENTRIES = 64
"""Most entry points of an enclave (``wire.protocol.manifest_text``)."""


@message(0x5B)
@dataclass(frozen=True, slots=True)
class Ready:
    """The enclave's first frame: it can be entered."""

    calls: U8
    """How many calls may be under way, those that wait inside included; 1 to :data:`MAX_CALLS`."""
    hooks: Annotated[tuple[Hook, ...], Limit(len(Hook))] = ()
    """Those that the service has."""


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


@dataclass(frozen=True, slots=True)
class EntryUsage:
    """What answered calls of one entry point have used; the times of each were rounded to 1 ms, its memory to 1 MiB."""

    entry: Name
    """Empty for calls over RA-TLS, of which the host does not see the entry point."""
    calls: U64
    cold: U64
    """Those of them that had a new guest."""
    wall_ms: U64
    cpu_ms: U64
    """0 where the enclave's operating system does not tell."""
    peak_mib: U64
    """The largest guest's; 0 where nobody tells."""
    ocalls: U64


@message(0x5C)
@dataclass(frozen=True, slots=True)
class Used:
    """The enclave tells what calls have used since it told last: once a second at most."""

    entries: Annotated[tuple[EntryUsage, ...], Limit(MAX_ENTRIES + 1)]


@message(0x5D)
@dataclass(frozen=True, slots=True)
class Noticed:
    """The enclave's behaviour monitor has found more than the manifest expects."""

    subject: Monitored
    count: U64
    """In the subject's unit."""
    most: U64
    then: Reaction


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
    """The function's answer in the clear."""

    output: Annotated[bytes, Limit(MAX_OUTPUT)]
    """The result: JSON. Empty where the function refuses."""
    refusal: Refusal | None = None
