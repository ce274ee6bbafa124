"""Client to host, and host to client: the machine's log, which is the console lines of debug enclaves, and events.

The host keeps the last of them in memory. A client reads on from the number of the last entry that it has seen.
"""

from dataclasses import dataclass
from enum import StrEnum
from typing import Annotated

from casemate.wire.encodings.message import U64, Limit, message
from casemate.wire.messages.request import Request

MAX_ENTRY = 4096
"""Longest text of one entry (bytes of UTF-8): as long as a console line."""

MAX_ENTRIES = 128
"""Most entries of one answer."""


class LogSource(StrEnum):
    """Who says what an entry says."""

    CONSOLE = "console"
    """The function in a debug enclave has printed it. No other enclave's lines leave it."""
    ENCLAVE = "enclave"
    """The host, about a change of an enclave's state."""
    MACHINE = "machine"
    """The host, about the machine."""


@dataclass(frozen=True, slots=True)
class LogEntry:
    """One line of the log."""

    number: U64
    """Rises; starts anew with the host's process."""
    at: U64
    """Milliseconds since 1970, by the host's clock."""
    source: LogSource
    enclave: U64
    """The enclave's number; 0 where the entry is about the machine."""
    text: Annotated[str, Limit(MAX_ENTRY)]
    """A stranger's words: not cleaned of control characters."""


@message(0x7E)
@dataclass(frozen=True, slots=True)
class LogIs:
    """Entries in the order of their numbers; none where there are no newer ones. Missing numbers were dropped."""

    host: U64
    """Random, less than 2**53, and another for each process of the host: a client that sees a new one reads from 0."""
    entries: Annotated[tuple[LogEntry, ...], Limit(MAX_ENTRIES)]


@message(0x7F)
@dataclass(frozen=True, slots=True)
class ReadLog(Request[LogIs]):
    """The oldest entries that are kept and have a higher number than ``after``."""

    after: U64
