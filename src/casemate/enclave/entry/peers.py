"""All that an enclave can talk to."""

from dataclasses import dataclass

from casemate.enclave.chip.leaf import Leaf
from casemate.enclave.guest.console import Console
from casemate.enclave.guest.guest import Guest
from casemate.enclave.io.pump import Pump
from casemate.enclave.io.socket_peer import SocketPeer


@dataclass(frozen=True, slots=True)
class Peers:
    """Chip, host, guest, what the guest prints, and the one place to wait for them."""

    pump: Pump
    leaf: Leaf
    host: SocketPeer
    guest: Guest
    console: Console
