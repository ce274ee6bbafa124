"""Everything that an enclave talks to, and the one place where it waits."""

from dataclasses import dataclass

from casemate.enclave.chip.leaf import Leaf
from casemate.enclave.guest.console import Console
from casemate.enclave.guest.guest import Guest
from casemate.enclave.io.pump import Pump
from casemate.enclave.io.socket_peer import SocketPeer


@dataclass(frozen=True, slots=True)
class Peers:
    """Chip, host and guest, the console that the guest prints on, and the pump that serves them."""

    pump: Pump
    leaf: Leaf
    host: SocketPeer
    guest: Guest
    console: Console
