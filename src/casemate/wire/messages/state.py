"""Enclave to host and back: the records of a sealed state, during an entry, under the rules of OCALLs.

A question has a number of the same sequence as OCALLs, and the answer repeats it; ``messages.entry`` explains how late
answers and wrong numbers are treated. The host stores the records and cannot read them. It may lose some, or return old
ones: the enclave only believes records that lead to the digest in its anchor.
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
    """Asks for a record and those before it, newest first, as many as fit. Reply: ``StateRecords``."""

    number: U64
    namespace: Bytes32
    head: Bytes32 | None
    """The first record; None asks for the newest complete history."""


@message(0xA9)
@dataclass(frozen=True, slots=True)
class StateRecords:
    """Sealed records, each the predecessor of the one before; none where there is no such record."""

    number: U64
    records: tuple[Record, ...]


@message(0xAA)
@dataclass(frozen=True, slots=True)
class StateAppend:
    """Asks the host to store this record durably. Reply: ``StateStored``."""

    number: U64
    record: Record


@message(0xAB)
@dataclass(frozen=True, slots=True)
class StateStored:
    """The record is stored."""

    number: U64


@message(0xAC)
@dataclass(frozen=True, slots=True)
class StateRefused:
    """The host cannot do that: its disk is full, its database damaged, or the namespace belongs to another enclave."""

    number: U64
    fault: Fault


@message(0xAD)
@dataclass(frozen=True, slots=True)
class StateForget:
    """A checkpoint has been committed, so the host may delete the records before it, and other histories. No reply."""

    namespace: Bytes32
    head: Bytes32
    """The checkpoint's last record."""


STATE_ANSWERS = (StateRecords, StateStored, StateRefused)
"""The answers of a host to an enclave's store."""


@dataclass(frozen=True, slots=True)
class StoredState:
    """The host's account of one sealed state."""

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
