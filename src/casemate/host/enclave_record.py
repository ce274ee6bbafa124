"""One enclave in the host's keeping."""

import asyncio
from dataclasses import dataclass, field

from casemate.host.enclave_states import Deaths
from casemate.host.entry import EntryGate
from casemate.host.tls_relay import TlsRelay
from casemate.wire.messages.host import EnclaveIs

NOWHERE = 0
"""The chip's number of an enclave that it has not loaded; it counts from 1."""


@dataclass(slots=True, eq=False)
class EnclaveRecord:
    """What is known of an enclave. Whoever starts, stops or destroys it holds :attr:`turn`."""

    shown: EnclaveIs
    lasting: bool
    """It is in the catalogue: the next host launches it again."""
    launcher: str = ""
    """For whom it was launched; empty for the machine's owner: the chip counts anchors of sealed states by this."""
    place: int = NOWHERE
    """The chip's number for it."""
    gate: EntryGate | None = None
    """Where it is entered while it runs."""
    relay: TlsRelay | None = None
    """Its own TLS port, if it has one."""
    turn: asyncio.Lock = field(default_factory=asyncio.Lock)
    deaths: Deaths = field(default_factory=Deaths)
    coming: "asyncio.Task[None] | None" = None
    """It is being launched again: whoever calls it waits for that."""
