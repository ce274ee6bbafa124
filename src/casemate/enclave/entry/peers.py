"""Everything that an enclave talks to, and the loop in which it waits."""

from dataclasses import dataclass

from casemate.enclave.chip.leaf import Leaf
from casemate.enclave.enclave_time import EnclaveTime
from casemate.enclave.guest.guest_maker import GuestMaker
from casemate.enclave.guest.guests import Guests
from casemate.enclave.io.host_link import HostLink
from casemate.enclave.io.loop import Loop
from casemate.enclave.keys import EnclaveKeys
from casemate.wire.protocol.sandbox_layers import SandboxLayers


@dataclass(frozen=True, slots=True)
class Peers:
    """Chip, host and guests, and the loop that serves them."""

    loop: Loop
    leaf: Leaf
    host: HostLink
    guests: Guests
    maker: GuestMaker
    clock: EnclaveTime
    """The enclave's time, one for all that judge by it."""


@dataclass(frozen=True, slots=True)
class OwnProof:
    """What this enclave vouches for by its REPORTs."""

    keys: EnclaveKeys
    layers: SandboxLayers
