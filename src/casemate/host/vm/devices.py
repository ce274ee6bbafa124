"""The devices at a guest's I/O ports: two serial ports."""

from collections import deque
from collections.abc import Callable

from casemate.host.vm.console import Console
from casemate.wire.snp.port_access import PortAccess

COM1, COM2 = 0x3F8, 0x2F8
PORTS = 8
"""A UART takes eight ports from its base on."""

MAX_INPUT = 64 * 1024
"""Bytes that wait for the guest; more are dropped."""

_DATA, _LINE_CONTROL, _LINE_STATUS, _SCRATCH = 0, 3, 5, 7
_DIVISOR_ACCESS = 0x80
_DATA_READY, _CAN_SEND = 0x01, 0x60


class SerialPort:
    """A 16550 UART without interrupts, as guests poll it; calls ``on_byte`` for each byte that the guest sends."""

    def __init__(self, on_byte: Callable[[int], None]) -> None:
        self._on_byte = on_byte
        self._input: deque[int] = deque(maxlen=MAX_INPUT)
        self._kept = [0] * PORTS

    def give(self, content: bytes) -> None:
        """Queues bytes for the guest."""
        self._input.extend(content)

    def empty(self) -> None:
        """Drops the bytes that the guest has not read."""
        self._input.clear()

    def read(self, register: int) -> int:
        """The byte that IN from one of its eight ports reads."""
        if register == _DATA and not self._kept[_LINE_CONTROL] & _DIVISOR_ACCESS:
            return self._input.popleft() if self._input else 0
        if register == _LINE_STATUS:
            return _CAN_SEND | (_DATA_READY if self._input else 0)
        return self._kept[register]

    def write(self, register: int, value: int) -> None:
        """OUT to one of its eight ports."""
        if register == _DATA and not self._kept[_LINE_CONTROL] & _DIVISOR_ACCESS:
            self._on_byte(value)
        else:
            self._kept[register] = value


MAX_HANDED = 64 * 1024
"""Most bytes that are kept for a reader of COM2."""


class Devices:
    """COM1 prints; COM2 carries data."""

    def __init__(self) -> None:
        self.console = Console()
        """The output of COM1."""
        self.handed = bytearray()
        """The output of COM2, up to a limit, in case that nothing reads it."""
        self.data = SerialPort(self._hand)
        self._bases = {COM1: SerialPort(self.console.put), COM2: self.data}

    def _hand(self, byte: int) -> None:
        if len(self.handed) < MAX_HANDED:
            self.handed.append(byte)

    def access(self, access: PortAccess, value: int) -> int:
        """Serves an access: the value that IN reads; OUT writes ``value`` and returns 0.

        Wider accesses continue at the next port.
        """
        found = 0
        for at in range(access.size):
            found |= self._byte(access.port + at, value >> 8 * at & 0xFF, is_in=access.is_in) << 8 * at
        return found

    def _byte(self, port: int, value: int, *, is_in: bool) -> int:
        device = self._bases.get(port - port % PORTS)
        if device is None:
            return 0xFF if is_in else 0  # no device at this port: reads give all ones
        if is_in:
            return device.read(port % PORTS)
        device.write(port % PORTS, value)
        return 0
