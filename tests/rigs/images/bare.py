"""A guest on a bare emulated processor without SEV: its firmware, RAM, and two serial ports."""

from collections import deque
from typing import TYPE_CHECKING

import unicorn
from unicorn import x86_const as x86

if TYPE_CHECKING:
    from collections.abc import Callable

RAM = 16 * 1024 * 1024
COM1, COM2, LINE_STATUS = 0x3F8, 0x2F8, 5
CAN_SEND, DATA_READY = 0x20, 0x01
ALIAS = 0xF_0000
"""Where real mode sees the last 64 KiB below 4 GiB."""


class Bare:
    def __init__(self, image: bytes, data: bytes = b"") -> None:
        self.console = bytearray()
        self.sent = bytearray()
        self.waiting = deque(data)
        self.before_data: Callable[[], object] = bool
        """Called before each byte that the guest takes from COM2."""
        self.emulator = unicorn.Uc(unicorn.UC_ARCH_X86, unicorn.UC_MODE_16)
        self.emulator.ctl_set_cpu_model(x86.UC_CPU_X86_EPYC)
        self.emulator.mem_map(0, RAM)
        self.emulator.mem_map((1 << 32) - 0x1_0000, 0x1_0000)
        self.emulator.mem_write((1 << 32) - len(image), image)
        self.emulator.mem_write(ALIAS + 0x1_0000 - len(image), image)
        self.emulator.hook_add(unicorn.UC_HOOK_INSN, self._in, aux1=x86.UC_X86_INS_IN)
        self.emulator.hook_add(unicorn.UC_HOOK_INSN, self._out, aux1=x86.UC_X86_INS_OUT)

    def run(self, instructions: int = 2_000_000) -> str:
        """From the reset vector until it halts; what it has printed."""
        self.emulator.reg_write(x86.UC_X86_REG_CS, ALIAS >> 4)
        self.emulator.emu_start(ALIAS + 0xFFF0, 0, count=instructions)
        return self.console.decode()

    def _in(self, _emulator: unicorn.Uc, port: int, _size: int, _context: object) -> int:
        match port - LINE_STATUS:
            case 0x3F8:
                return CAN_SEND
            case 0x2F8:
                return CAN_SEND | (DATA_READY if self.waiting else 0)
        self.before_data()
        return self.waiting.popleft() if port == COM2 else 0xFF

    def _out(self, _emulator: unicorn.Uc, port: int, _size: int, value: int, _context: object) -> None:
        {COM1: self.console, COM2: self.sent}[port].append(value & 0xFF)
