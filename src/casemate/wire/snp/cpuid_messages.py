"""MSG_CPUID_REQ and MSG_CPUID_RSP, by which a guest has the firmware check CPUID values that its hypervisor told it."""

from dataclasses import dataclass
from typing import ClassVar, Self

from casemate.wire.encodings.spans import Layout, number, zeros
from casemate.wire.errors import WireError
from casemate.wire.snp.cpuid_page import MAX_FUNCTIONS, CpuidFunction
from casemate.wire.snp.guest_message import MessageStatus

_SOURCE = "AMD 56860, 7.1 CPUID Reporting"
_HEAD_SIZE = 16
_FUNCTION_SIZE = CpuidFunction.LAYOUT.size


@dataclass(frozen=True, slots=True)
class _RequestHead:
    LAYOUT: ClassVar[Layout] = Layout("MSG_CPUID_REQ", _SOURCE, (number(0x00, 4, "count"), zeros(0x04, 12)))

    count: int


@dataclass(frozen=True, slots=True)
class _ResponseHead:
    LAYOUT: ClassVar[Layout] = Layout(
        "MSG_CPUID_RSP",
        _SOURCE,
        (number(0x00, 4, "status", MessageStatus), number(0x04, 4, "count"), zeros(0x08, 8)),
    )

    status: MessageStatus
    count: int


@dataclass(frozen=True, slots=True)
class CpuidRequest:
    """MSG_CPUID_REQ: 16 bytes, and 48 for each of up to 64 functions with the values that the guest was told."""

    functions: tuple[CpuidFunction, ...]

    @classmethod
    def parse(cls, data: bytes) -> Self:
        head = _RequestHead(**_RequestHead.LAYOUT.parse(data[:_HEAD_SIZE]))
        return cls(_functions("MSG_CPUID_REQ", data, head.count))

    def encode(self) -> bytes:
        return _RequestHead.LAYOUT.encode(_RequestHead(len(self.functions))) + _encoded(self.functions)


@dataclass(frozen=True, slots=True)
class CpuidResponse:
    """MSG_CPUID_RSP: the same for the functions of the request, with the result of the check."""

    status: MessageStatus
    functions: tuple[CpuidFunction, ...] = ()

    @classmethod
    def parse(cls, data: bytes) -> Self:
        head = _ResponseHead(**_ResponseHead.LAYOUT.parse(data[:_HEAD_SIZE]))
        return cls(head.status, _functions("MSG_CPUID_RSP", data, head.count))

    def encode(self) -> bytes:
        head = _ResponseHead(self.status, len(self.functions))
        return _ResponseHead.LAYOUT.encode(head) + _encoded(self.functions)


def _functions(what: str, data: bytes, count: int) -> tuple[CpuidFunction, ...]:
    if count > MAX_FUNCTIONS:
        raise WireError(f"{what}.count", got=count, want=f"at most {MAX_FUNCTIONS}")
    if len(data) != _HEAD_SIZE + count * _FUNCTION_SIZE:
        raise WireError(what, got=f"{len(data)} bytes", want=f"{_HEAD_SIZE + count * _FUNCTION_SIZE} bytes")
    return tuple(
        CpuidFunction.parse(data[at : at + _FUNCTION_SIZE]) for at in range(_HEAD_SIZE, len(data), _FUNCTION_SIZE)
    )


def _encoded(functions: tuple[CpuidFunction, ...]) -> bytes:
    return b"".join(each.encode() for each in functions)
