"""ATTRIBUTES, MISCSELECT and CET_ATTRIBUTES of an enclave, and the masks over them."""

from dataclasses import dataclass
from enum import STRICT, IntFlag
from typing import ClassVar, Self

from casemate.wire.encodings.spans import Layout, number

_SOURCE = "Intel SDM vol. 3D, 38.7.1 ATTRIBUTES"

ALL_ONES_64 = 0xFFFF_FFFF_FFFF_FFFF


class AttributeFlag(IntFlag, boundary=STRICT):
    """ATTRIBUTES.FLAGS; every other bit is reserved and must be zero."""

    INIT = 1 << 0
    """EINIT has succeeded; set by the processor."""
    DEBUG = 1 << 1
    """A debugger may read and write the enclave's memory."""
    MODE64BIT = 1 << 2
    PROVISIONKEY = 1 << 4
    """EGETKEY gives provisioning keys."""
    EINITTOKEN_KEY = 1 << 5
    CET = 1 << 6
    KSS = 1 << 7
    """Key separation and sharing: CONFIGID, CONFIGSVN, ISVFAMILYID, ISVEXTPRODID."""
    AEXNOTIFY = 1 << 10


class MiscSelect(IntFlag, boundary=STRICT):
    """MISCSELECT (SDM 38.7.2); every other bit is reserved and must be zero."""

    EXINFO = 1 << 0
    CPINFO = 1 << 1


class CetAttributes(IntFlag, boundary=STRICT):
    """CET_ATTRIBUTES (SDM 38.7.3); every other bit is reserved and must be zero."""

    SH_STK_EN = 1 << 0
    ENDBR_EN = 1 << 1
    LEG_IW_EN = 1 << 2
    NO_TRACK_EN = 1 << 3
    SUPPRESS_DIS = 1 << 4


XFRM_LEGACY = 0x3
"""x87 and SSE: the two bits that every enclave's XFRM must have (SDM 38.7.2.2)."""


@dataclass(frozen=True, slots=True)
class Attributes:
    """ATTRIBUTES, 16 bytes: what an enclave may do and which processor state it saves."""

    LAYOUT: ClassVar[Layout] = Layout(
        "ATTRIBUTES", _SOURCE, (number(0, 8, "flags", AttributeFlag), number(8, 8, "xfrm"))
    )

    flags: AttributeFlag
    xfrm: int
    """XSAVE feature request mask, as XCR0."""

    @classmethod
    def parse(cls, data: bytes) -> Self:
        return cls(**cls.LAYOUT.parse(data))

    def encode(self) -> bytes:
        return self.LAYOUT.encode(self)

    @property
    def debug(self) -> bool:
        """Whether a debugger may look inside."""
        return AttributeFlag.DEBUG in self.flags


@dataclass(frozen=True, slots=True)
class AttributeMask:
    """A mask over ATTRIBUTES, 16 bytes: any bit may be set."""

    LAYOUT: ClassVar[Layout] = Layout("ATTRIBUTEMASK", _SOURCE, (number(0, 8, "flags"), number(8, 8, "xfrm")))

    flags: int
    xfrm: int

    @classmethod
    def parse(cls, data: bytes) -> Self:
        return cls(**cls.LAYOUT.parse(data))

    def encode(self) -> bytes:
        return self.LAYOUT.encode(self)

    def over(self, attributes: Attributes) -> bytes:
        """The bits of ``attributes`` that are in the mask, as 16 bytes."""
        flags, xfrm = attributes.flags & self.flags, attributes.xfrm & self.xfrm
        return int(flags).to_bytes(8, "little") + xfrm.to_bytes(8, "little")


ALL_ATTRIBUTES = AttributeMask(ALL_ONES_64, ALL_ONES_64)
"""The mask of all bits."""
