"""All that an enclave can talk to."""

from dataclasses import dataclass

from casemate.enclave.console import Console
from casemate.enclave.guest import Guest
from casemate.enclave.leaf import Leaf
from casemate.enclave.peers import SocketPeer
from casemate.enclave.pump import Pump


@dataclass(frozen=True, slots=True)
class Surroundings:
    """Chip, host, guest, what the guest prints, and the one place to wait for them."""

    pump: Pump
    leaf: Leaf
    host: SocketPeer
    guest: Guest
    console: Console
