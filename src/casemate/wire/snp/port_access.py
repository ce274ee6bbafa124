"""An access to an I/O port as EXITINFO1 describes it, in a VMCB and in a GHCB.

Source: APM volume 2, 15.10.2 "IN and OUT Behavior", figure "EXITINFO1 for IOIO Intercept".
"""

from dataclasses import dataclass
from typing import Self

from casemate.wire.errors import WireError

_IN = 1 << 0
_STRING = 1 << 2
_REPEAT = 1 << 3
_SIZE_SHIFT = 4
_SIZES = (1, 2, 4)
"""Bits SZ8, SZ16 and SZ32, which happen to be numbers of bytes."""
_ADDRESS_SHIFT = 7
_ADDRESS_SIZES = (1, 2, 4)
"""Bits A16, A32 and A64."""
_PORT_SHIFT = 16
_RESERVED = 1 << 1 | 7 << 13 | ~0xFFFF_FFFF


@dataclass(frozen=True, slots=True)
class PortAccess:
    """One IN or OUT of a register."""

    port: int
    size: int
    """Bytes: 1, 2 or 4."""
    is_in: bool

    @classmethod
    def parse(cls, info_1: int) -> Self:
        """Parses EXITINFO1.

        Raises:
            WireError: no processor reports such a value, or it is a string operation (:class:`PortString`).
        """
        sizes, addresses = info_1 >> _SIZE_SHIFT & 7, info_1 >> _ADDRESS_SHIFT & 7
        if info_1 & _RESERVED or sizes not in _SIZES or addresses not in (0, *_ADDRESS_SIZES):
            raise WireError("EXITINFO1", got=f"{info_1:#x}", want="one size, at most one address size, the rest 0")
        if info_1 & (_STRING | _REPEAT):
            raise WireError("EXITINFO1", got=f"{info_1:#x}", want="no INS or OUTS")
        return cls(port=info_1 >> _PORT_SHIFT, size=sizes, is_in=bool(info_1 & _IN))

    def encode(self) -> int:
        """EXITINFO1 in 64-bit code."""
        address_size = _ADDRESS_SIZES[-1] << _ADDRESS_SHIFT
        return self.port << _PORT_SHIFT | address_size | self.size << _SIZE_SHIFT | (_IN if self.is_in else 0)

    def merge(self, rax: int, value: int) -> int:
        """RAX after an IN that has read ``value``: 32 bits clear the upper half, fewer leave the other bits."""
        mask = (1 << 8 * self.size) - 1
        kept = 0 if self.size == 4 else rax & ~mask
        return kept | value & mask


@dataclass(frozen=True, slots=True)
class PortString:
    """INS or OUTS: repeated accesses whose values are contiguous in memory."""

    access: PortAccess
    count: int

    @staticmethod
    def is_meant(info_1: int) -> bool:
        """Whether EXITINFO1 describes one of these, rather than a :class:`PortAccess`."""
        return bool(info_1 & _STRING)

    @classmethod
    def parse(cls, info_1: int, info_2: int) -> Self:
        """From SW_EXITINFO1 and SW_EXITINFO2 of a GHCB, the second being the number of repetitions (56421, 4.1.2).

        Raises:
            WireError: no processor makes such a one, or it is not of memory.
        """
        if not cls.is_meant(info_1):
            raise WireError("EXITINFO1", got=f"{info_1:#x}", want="INS or OUTS")
        return cls(PortAccess.parse(info_1 & ~(_STRING | _REPEAT)), info_2 if info_1 & _REPEAT else 1)

    @property
    def size(self) -> int:
        """Bytes of memory, of all repetitions."""
        return self.count * self.access.size

    def encode(self) -> int:
        """SW_EXITINFO1 in 64-bit code, with REP."""
        return self.access.encode() | _STRING | _REPEAT
