"""The host's record of an enclave."""

import asyncio
from dataclasses import dataclass, field

from casemate.host.enclave_states import Deaths
from casemate.host.entry import EntryGate
from casemate.host.ocall_terms import NO_TERMS, OcallTerms
from casemate.host.tls_relay import TlsRelay
from casemate.wire.messages.host import EnclaveIs

NOWHERE = 0
"""The chip's number of an enclave that it has not loaded; it counts from 1."""


@dataclass(slots=True, eq=False)
class EnclaveRecord:
    """The host's record of an enclave. A request that starts, stops or destroys it holds :attr:`turn`."""

    shown: EnclaveIs
    lasting: bool
    """It is in the catalogue: the next host launches it again."""
    launcher: str = ""
    """The token's name that launched it, empty for the machine's owner; the chip limits anchors by it."""
    place: int = NOWHERE
    """The chip's number for it."""
    ocalls: OcallTerms = NO_TERMS
    """What its manifest says about OCALLs; read where the operator has handlers of his own."""
    gate: EntryGate | None = None
    """Carries entries into it; None while it does not run."""
    relay: TlsRelay | None = None
    """The relay of the enclave's own TLS port, if it has one."""
    is_ending: bool = False
    """The chip has been asked to stop it: that its link ends is no death."""
    turn: asyncio.Lock = field(default_factory=asyncio.Lock)
    deaths: Deaths = field(default_factory=Deaths)
    coming: "asyncio.Task[None] | None" = None
    """The launch in the background, if there is one; calls wait for it."""
    beginning: "asyncio.Task[None] | None" = None
    """Has a service start, in the background."""
    candidate: "asyncio.Task[None] | None" = None
    """For an enclave that may replace another: destroys it, where the switch to it does not come."""
    retiring: "asyncio.Task[None] | None" = None
    """For one that was replaced: lets its calls end, and stops it."""
    discarding: "asyncio.Task[None] | None" = None
    """For one that nothing goes back to any more: destroys it once it has retired."""

    @property
    def is_kept(self) -> bool:
        """Whether the catalogue has a row for it."""
        return self.lasting or self.candidate is not None
