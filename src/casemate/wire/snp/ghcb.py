"""The guest-hypervisor communication block (GHCB): a shared page for a guest's requests to its hypervisor.

A guest may be hostile, and its other vCPUs can change the page while it is read. So copy the page once, parse the copy,
and write back what :meth:`Ghcb.answer` returns: a value that was checked must be the one that is used. Source: AMD
56421 revision 2.03, 2.6 "GHCB Layout" and chapter 4.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from enum import Enum, IntEnum
from typing import Self

from casemate.wire.encodings.fields import exactly
from casemate.wire.errors import WireError
from casemate.wire.snp.page_info import PAGE_SIZE

SHARED_BUFFER = 0x800
SHARED_BUFFER_SIZE = 0x7F0
VERSIONS = (1, 2)
"""Supported protocol versions; SNP requires 2."""

_VALID_BITMAP = 0x3F0
_VALID_BITMAP_SIZE = 16
_VERSION = 0xFFA
_USAGE = 0xFFC
_QUADWORD = 8


class GhcbField(Enum):
    """A field of the page that has a bit in VALID_BITMAP; its value is its offset."""

    CPL = 0x0CB
    XSS = 0x140
    RAX = 0x1F8
    RCX = 0x308
    RDX = 0x310
    RBX = 0x318
    SW_EXITCODE = 0x390
    SW_EXITINFO1 = 0x398
    SW_EXITINFO2 = 0x3A0
    SW_SCRATCH = 0x3A8
    XCR0 = 0x3E8

    @property
    def size(self) -> int:
        return 1 if self is GhcbField.CPL else _QUADWORD

    @property
    def bit(self) -> int:
        """Its bit in VALID_BITMAP, which has one for each quadword."""
        return self.value // _QUADWORD


class ExitCode(IntEnum):
    """SW_EXITCODE of the events that are supported (56421, tables 5 and 6)."""

    CPUID = 0x72
    IOIO = 0x7B
    MSR = 0x7C
    AP_RESET_HOLD = 0x8000_0004
    PAGE_STATE_CHANGE = 0x8000_0010
    GUEST_REQUEST = 0x8000_0011
    EXTENDED_GUEST_REQUEST = 0x8000_0012
    HYPERVISOR_FEATURES = 0x8000_FFFD
    TERMINATE = 0x8000_FFFE


class Malformed(IntEnum):
    """SW_EXITINFO2 where SW_EXITINFO1 is 2: why the request was malformed (56421, table 7)."""

    GHCB_NOT_REGISTERED = 1
    INVALID_USAGE = 2
    INVALID_SCRATCH_AREA = 3
    MISSING_INPUT = 4
    INVALID_INPUT = 5
    INVALID_EVENT = 6


class GuestRequestError(IntEnum):
    """Upper half of SW_EXITINFO2 after a guest request: the hypervisor's own refusal (56421, 4.1.7 and 4.1.8)."""

    NONE = 0
    INVALID_LENGTH = 1
    """Too few pages for the certificates; RBX says how many are needed."""
    BUSY = 2
    """Try again later, with the very same message."""


_MALFORMED_INPUT = 2


@dataclass(frozen=True, slots=True)
class Ghcb:
    """A copy of the page.

    :meth:`get` refuses fields that the guest did not mark valid in VALID_BITMAP: they hold what an earlier request
    left.
    """

    content: bytes

    @classmethod
    def parse(cls, data: bytes) -> Self:
        """Parses 4096 bytes; reserved parts may hold anything, as on hardware.

        Raises:
            WireError: another size, protocol version or usage.
        """
        exactly("GHCB", data, PAGE_SIZE)
        version = int.from_bytes(data[_VERSION : _VERSION + 2], "little")
        if version not in VERSIONS:
            raise WireError("GHCB.protocol_version", got=version, want=f"{VERSIONS[0]} to {VERSIONS[-1]}")
        usage = int.from_bytes(data[_USAGE : _USAGE + 4], "little")
        if usage:
            raise WireError("GHCB.usage", got=f"{usage:#x}", want="0, as this specification uses it")
        return cls(bytes(data))

    def encode(self) -> bytes:
        return self.content

    @property
    def version(self) -> int:
        """The protocol version that the guest speaks."""
        return int.from_bytes(self.content[_VERSION : _VERSION + 2], "little")

    def has(self, field: GhcbField) -> bool:
        """Whether the field's valid bit is set."""
        return bool(self.content[_VALID_BITMAP + field.bit // 8] >> field.bit % 8 & 1)

    def get(self, field: GhcbField) -> int:
        """The field's value; :class:`WireError` if it is not valid."""
        if not self.has(field):
            raise WireError(f"GHCB.{field.name.lower()}", got="not valid", want="its bit set in valid_bitmap")
        return int.from_bytes(self.content[field.value : field.value + field.size], "little")

    @property
    def exit_code(self) -> ExitCode:
        """The requested event; :class:`WireError` if it is not valid, or not supported."""
        code = self.get(GhcbField.SW_EXITCODE)
        try:
            return ExitCode(code)
        except ValueError:
            raise WireError("GHCB.sw_exitcode", got=f"{code:#x}", want="an event that is served") from None

    @property
    def shared_buffer(self) -> bytes:
        """0x7F0 bytes for data that does not fit into fields."""
        return self.content[SHARED_BUFFER : SHARED_BUFFER + SHARED_BUFFER_SIZE]

    def answer(
        self,
        values: Mapping[GhcbField, int] = {},
        *,
        info_1: int = 0,
        info_2: int = 0,
        shared_buffer: bytes | None = None,
    ) -> Self:
        """The page as the hypervisor returns it: with these values, and no other field valid.

        Args:
            values: registers, and what else the event returns.
            info_1: SW_EXITINFO1: 0 for success, 1 for an exception, 2 for a malformed request.
            info_2: SW_EXITINFO2.
            shared_buffer: None leaves it unchanged.

        Raises:
            WireError: a value does not fit its field.
        """
        page = bytearray(self.content)
        page[_VALID_BITMAP : _VALID_BITMAP + _VALID_BITMAP_SIZE] = bytes(_VALID_BITMAP_SIZE)
        results = {**values, GhcbField.SW_EXITINFO1: info_1, GhcbField.SW_EXITINFO2: info_2}
        for field, value in results.items():
            if not 0 <= value < 1 << 8 * field.size:
                raise WireError(f"GHCB.{field.name.lower()}", got=value, want=f"an integer of {field.size} bytes")
            page[field.value : field.value + field.size] = value.to_bytes(field.size, "little")
            page[_VALID_BITMAP + field.bit // 8] |= 1 << field.bit % 8
        if shared_buffer is not None:
            exactly("GHCB.shared_buffer", shared_buffer, SHARED_BUFFER_SIZE)
            page[SHARED_BUFFER : SHARED_BUFFER + SHARED_BUFFER_SIZE] = shared_buffer
        return type(self)(bytes(page))

    def refuse(self, why: Malformed) -> Self:
        """The page as the hypervisor returns it for a malformed request."""
        return self.answer(info_1=_MALFORMED_INPUT, info_2=why)


def guest_request_result(error: GuestRequestError, firmware: int = 0) -> int:
    """SW_EXITINFO2 after a guest request: the hypervisor's error above, the firmware's status below."""
    return error << 32 | firmware
