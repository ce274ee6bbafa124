"""The CPUID page: CPUID values for a guest, which the hypervisor proposes and the firmware checks at launch."""

from dataclasses import dataclass
from typing import ClassVar, Self

from casemate.wire.encodings.fields import exactly
from casemate.wire.encodings.spans import Layout, number, zeros
from casemate.wire.errors import WireError
from casemate.wire.snp.page_info import PAGE_SIZE

MAX_FUNCTIONS = 64
"""COUNT_MAX (56860, table CPUID Page Format)."""

_HEAD_SIZE = 16
_SOURCE = "AMD 56860, 8.17.2.6, table CPUID Page Format"


@dataclass(frozen=True, slots=True, kw_only=True)
class CpuidFunction:
    """CPUID_FUNCTION, 48 bytes: the inputs of CPUID and its outputs."""

    LAYOUT: ClassVar[Layout] = Layout(
        "CPUID_FUNCTION",
        "AMD 56860, 7.1 CPUID Reporting, table CPUID_FUNCTION",
        (
            number(0x00, 4, "eax_in"),
            number(0x04, 4, "ecx_in"),
            number(0x08, 8, "xcr0_in"),
            number(0x10, 8, "xss_in"),
            number(0x18, 4, "eax"),
            number(0x1C, 4, "ebx"),
            number(0x20, 4, "ecx"),
            number(0x24, 4, "edx"),
            zeros(0x28, 8),
        ),
    )

    eax_in: int
    """The leaf."""
    ecx_in: int = 0
    """The subleaf."""
    xcr0_in: int = 0
    xss_in: int = 0
    """What leaf 0xD depends on beside them."""
    eax: int = 0
    ebx: int = 0
    ecx: int = 0
    edx: int = 0

    @classmethod
    def parse(cls, data: bytes) -> Self:
        return cls(**cls.LAYOUT.parse(data))

    def encode(self) -> bytes:
        return self.LAYOUT.encode(self)


_HEAD = Layout("CPUID Page", _SOURCE, (number(0x00, 4, "count"), zeros(0x04, 12)))
_FUNCTION_SIZE = CpuidFunction.LAYOUT.size


@dataclass(frozen=True, slots=True)
class _Head:
    count: int


@dataclass(frozen=True, slots=True)
class CpuidPage:
    """4096 bytes: up to 64 functions, then zeros."""

    functions: tuple[CpuidFunction, ...]

    @classmethod
    def parse(cls, data: bytes) -> Self:
        exactly("CPUID Page", data, PAGE_SIZE)
        count = _HEAD.parse(data[:_HEAD_SIZE])["count"]
        _check(count)
        end = _HEAD_SIZE + count * _FUNCTION_SIZE
        if any(data[end:]):
            raise WireError("CPUID Page", got="something after the last function", want="zeros")
        return cls(
            tuple(CpuidFunction.parse(data[at : at + _FUNCTION_SIZE]) for at in range(_HEAD_SIZE, end, _FUNCTION_SIZE))
        )

    def encode(self) -> bytes:
        _check(len(self.functions))
        head = _HEAD.encode(_Head(len(self.functions)))
        return (head + b"".join(each.encode() for each in self.functions)).ljust(PAGE_SIZE, b"\x00")


def _check(count: int) -> None:
    if count > MAX_FUNCTIONS:
        raise WireError("CPUID Page.count", got=count, want=f"at most {MAX_FUNCTIONS}")
