"""A serial port as guests poll it: a 16550 UART without interrupts."""

from collections import deque
from collections.abc import Callable

COM1, COM2 = 0x3F8, 0x2F8
PORTS = 8
"""A UART takes eight ports from its base on."""

MAX_INPUT = 64 * 1024
"""Bytes that wait for the guest; more are dropped."""

_DATA, _LINE_CONTROL, _LINE_STATUS, _SCRATCH = 0, 3, 5, 7
_DIVISOR_ACCESS = 0x80
_DATA_READY, _CAN_SEND = 0x01, 0x60


class SerialPort:
    """What the guest sends goes to ``on_byte``; what it is to receive waits."""

    def __init__(self, on_byte: Callable[[int], None]) -> None:
        self._on_byte = on_byte
        self._input: deque[int] = deque(maxlen=MAX_INPUT)
        self._kept = [0] * PORTS

    def give(self, content: bytes) -> None:
        """Bytes for the guest."""
        self._input.extend(content)

    def empty(self) -> None:
        """Takes back what the guest has not read."""
        self._input.clear()

    def read(self, register: int) -> int:
        """What IN from one of its eight ports gives."""
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
