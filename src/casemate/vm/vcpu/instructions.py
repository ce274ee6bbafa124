"""Instructions that the emulator must not execute: those that a hypervisor may intercept, and those that SEV has added.

The emulator stops before an instruction whose address it was given. So each page of code is searched for every offset
at which such an instruction could begin. Where none really begins, the emulator never arrives, and the stop costs
nothing.

Source: AMD APM volume 3 (opcodes); volume 2, 15.9 to 15.13 (intercepts).
"""

from dataclasses import dataclass
from enum import Enum, auto

MAX_LENGTH = 15
_PREFIXES = frozenset((0x26, 0x2E, 0x36, 0x3E, 0x64, 0x65, 0x66, 0x67, 0xF0, 0xF2, 0xF3, *range(0x40, 0x50)))
_MOST_PREFIXES = 4
_OPERAND_SIZE, _ADDRESS_SIZE, _REPNE, _REP = 0x66, 0x67, 0xF2, 0xF3
_TWO_BYTES = 0x0F


class InstructionKind(Enum):
    """The kinds of such instructions."""

    HLT = auto()
    CPUID = auto()
    RDMSR = auto()
    WRMSR = auto()
    PORT = auto()
    INT = auto()
    VMGEXIT = auto()
    PVALIDATE = auto()
    RMPADJUST = auto()


@dataclass(frozen=True, slots=True)
class Instruction:
    """A decoded instruction that the emulator must not execute itself."""

    kind: InstructionKind
    length: int
    """Bytes."""
    info: int = 0
    """For INT the vector; for port I/O EXITINFO1 (APM volume 2, 15.10.2) without the port's number."""
    port: int | None = None
    """Port I/O with the number in the instruction."""


_IO_IN, _IO_STRING, _IO_REP, _IO_SIZE_SHIFT, _IO_ADDRESS_SHIFT = 1 << 0, 1 << 2, 1 << 3, 4, 7
_ONE_BYTE = {0xF4: InstructionKind.HLT, 0xCD: InstructionKind.INT}
_AFTER_0F = {0xA2: InstructionKind.CPUID, 0x32: InstructionKind.RDMSR, 0x30: InstructionKind.WRMSR}
_PORTS = frozenset((*range(0xE4, 0xE8), *range(0xEC, 0xF0), *range(0x6C, 0x70)))
_STRINGS = frozenset(range(0x6C, 0x70))
_WITH_NUMBER = frozenset(range(0xE4, 0xE8))
_GROUP = 0x01
_OF_GROUP = {
    (_REP, 0xD9): InstructionKind.VMGEXIT,
    (_REPNE, 0xD9): InstructionKind.VMGEXIT,
    (_REPNE, 0xFF): InstructionKind.PVALIDATE,
} | {(_REP, 0xFE): InstructionKind.RMPADJUST}
_OPCODES = frozenset((*_ONE_BYTE, *_PORTS, _TWO_BYTES))


def beginnings(page: bytes) -> tuple[int, ...]:
    """Offsets in ``page`` at which such an instruction may begin, prefixes included."""
    found: set[int] = set()
    for at, byte in enumerate(page):
        if byte not in _OPCODES or (byte == _TWO_BYTES and not _may_be_ours(page[at + 1 : at + 2])):
            continue
        found.add(at)
        first = at
        while first > 0 and at - first < _MOST_PREFIXES and page[first - 1] in _PREFIXES:
            first -= 1
            found.add(first)
    return tuple(sorted(found))


def decode(code: bytes, *, long_mode: bool) -> Instruction | None:
    """The instruction at the start of ``code``; None for one that the emulator executes itself.

    Args:
        code: from the instruction pointer on, up to 15 bytes.
        long_mode: 64-bit code; otherwise operands have 16 bits, as in real mode, the only other mode in which guests
            use ports.
    """
    at, prefixes = 0, set[int]()
    while at < len(code) and code[at] in _PREFIXES and (long_mode or not 0x40 <= code[at] < 0x50):
        prefixes.add(code[at])
        at += 1
    if at >= len(code):
        return None
    opcode, rest = code[at], code[at + 1 :]
    if opcode in _PORTS:
        return _port(opcode, rest, at, prefixes)
    if opcode == _TWO_BYTES and rest:
        return _two_bytes(rest, at, prefixes)
    if opcode in _ONE_BYTE and (opcode != 0xCD or rest):
        kind = _ONE_BYTE[opcode]
        return Instruction(kind, at + 2, rest[0]) if kind is InstructionKind.INT else Instruction(kind, at + 1)
    return None


def _may_be_ours(second: bytes) -> bool:
    return not second or second[0] in _AFTER_0F or second[0] == _GROUP


def _two_bytes(rest: bytes, at: int, prefixes: set[int]) -> Instruction | None:
    if rest[0] in _AFTER_0F:
        return Instruction(_AFTER_0F[rest[0]], at + 2)
    if rest[0] == _GROUP and len(rest) > 1:
        for prefix in prefixes:
            kind = _OF_GROUP.get((prefix, rest[1]))
            if kind is not None:
                return Instruction(kind, at + 3)
    return None


def _port(opcode: int, rest: bytes, at: int, prefixes: set[int]) -> Instruction | None:
    size = 1 if not opcode & 1 else 2 if _OPERAND_SIZE in prefixes else 4
    is_in = not opcode & 2
    info = (_IO_IN if is_in else 0) | size << _IO_SIZE_SHIFT | 1 << _IO_ADDRESS_SHIFT + 2
    if opcode in _STRINGS:
        info |= _IO_STRING | (_IO_REP if prefixes & {_REP, _REPNE} else 0)
        return Instruction(InstructionKind.PORT, at + 1, info)
    if opcode in _WITH_NUMBER:
        return Instruction(InstructionKind.PORT, at + 2, info, rest[0]) if rest else None
    return Instruction(InstructionKind.PORT, at + 1, info)
