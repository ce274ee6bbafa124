"""Enclave to host and back: the records of a sealed state, in the middle of an entry, under the rules of OCALLs.

Every question carries a number of the same sequence as OCALLs, and the answer repeats it; see ``messages.entry`` for
what becomes of late answers and wrong numbers. The host stores what it is given and reads none of it. It may lose
records, or show old ones: the enclave believes nothing but what leads to the digest in its anchor.
"""

from dataclasses import dataclass
from typing import Annotated

from casemate.wire.encodings.message import U32, U64, Bytes32, Limit, message
from casemate.wire.messages.request import Request
from casemate.wire.protocol.faults import Fault
from casemate.wire.protocol.sealed_record import MAX_RECORD

Record = Annotated[bytes, Limit(MAX_RECORD)]

MAX_READ = 8 * 1024 * 1024
"""Most bytes of records in one answer; there may always be one record."""


@message(0xA8)
@dataclass(frozen=True, slots=True)
class StateRead:
    """A record and those before it, please, newest first, as many as fit. Reply: ``StateRecords``."""

    number: U64
    namespace: Bytes32
    head: Bytes32 | None
    """Which record to begin with; None asks for the newest history that is whole."""


@message(0xA9)
@dataclass(frozen=True, slots=True)
class StateRecords:
    """Sealed records, each the predecessor of the one before; none where there is no such record."""

    number: U64
    records: tuple[Record, ...]


@message(0xAA)
@dataclass(frozen=True, slots=True)
class StateAppend:
    """Store this record durably. Reply: ``StateStored``."""

    number: U64
    record: Record


@message(0xAB)
@dataclass(frozen=True, slots=True)
class StateStored:
    """It is on the disk."""

    number: U64


@message(0xAC)
@dataclass(frozen=True, slots=True)
class StateRefused:
    """The host cannot do that: its disk is full, its database damaged, or the namespace is not this enclave's."""

    number: U64
    fault: Fault


@message(0xAD)
@dataclass(frozen=True, slots=True)
class StateForget:
    """No reply: a checkpoint has been committed, so nothing before it is needed any more, nor its rivals."""

    namespace: Bytes32
    head: Bytes32
    """The checkpoint's last record."""


STATE_ANSWERS = (StateRecords, StateStored, StateRefused)
"""What a host may say about a question of an enclave's store."""


@dataclass(frozen=True, slots=True)
class StoredState:
    """What a host has of one sealed state; its own word."""

    namespace: Bytes32
    newest_epoch: U64
    records: U32
    size: U64
    """Bytes of all its records."""


@message(0xAF)
@dataclass(frozen=True, slots=True)
class StatesAre:
    """All states that a host has records of."""

    states: tuple[StoredState, ...]


@message(0xAE)
@dataclass(frozen=True, slots=True)
class ListStates(Request[StatesAre]):
    """Client to host: the sealed states that the host has records of."""
