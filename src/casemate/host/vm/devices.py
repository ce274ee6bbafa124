"""What a guest finds at its ports: two serial ports, and nothing elsewhere."""

from casemate.host.vm.console import Console
from casemate.host.vm.serial import COM1, COM2, PORTS, SerialPort
from casemate.wire.snp.port_access import PortAccess

MAX_HANDED = 64 * 1024
"""Bytes that wait for whoever listens on COM2."""


class Devices:
    """COM1 prints; COM2 carries data."""

    def __init__(self) -> None:
        self.console = Console()
        """What was printed."""
        self.handed = bytearray()
        """What was handed out over COM2, up to a limit: more is a guest's that nobody listens to."""
        self.data = SerialPort(self._hand)
        self._bases = {COM1: SerialPort(self.console.put), COM2: self.data}

    def _hand(self, byte: int) -> None:
        if len(self.handed) < MAX_HANDED:
            self.handed.append(byte)

    def access(self, access: PortAccess, value: int) -> int:
        """What IN reads; OUT writes ``value`` and gives 0. Wider accesses go on at the next port."""
        found = 0
        for at in range(access.size):
            found |= self._byte(access.port + at, access.is_in, value >> 8 * at & 0xFF) << 8 * at
        return found

    def _byte(self, port: int, is_in: bool, value: int) -> int:  # noqa: FBT001 - one of two ways
        device = self._bases.get(port - port % PORTS)
        if device is None:
            return 0xFF if is_in else 0  # nobody drives the bus
        if is_in:
            return device.read(port % PORTS)
        device.write(port % PORTS, value)
        return 0
