"""The GHCB MSR protocol: requests and responses that fit into 64 bits, for guests that have no GHCB page yet.

The lowest 12 bits (GHCBInfo) name the request, the rest (GHCBData) is its content; with GHCBInfo 0 the MSR is the
address of a GHCB. Source: AMD 56421 revision 2.03, 2.3 "GHCB MSR Protocol".
"""

from dataclasses import dataclass, fields
from enum import IntEnum
from typing import ClassVar, Self

from casemate.wire.errors import WireError
from casemate.wire.snp.page_info import PAGE_SIZE
from casemate.wire.snp.page_state import PageOperation

NO_GFN = (1 << 52) - 1
"""All bits set: no preference, or a registration that was refused."""

_INFO_MASK = 0xFFF
_VALUE_BITS = 64


class CpuidRegister(IntEnum):
    """The register of CPUID's result."""

    EAX = 0
    EBX = 1
    ECX = 2
    EDX = 3


class _Value:
    """A value of the MSR: GHCBInfo, and fields by their lowest bit and width; all other bits are zero."""

    __slots__ = ()
    INFO: ClassVar[int]
    BITS: ClassVar[tuple[tuple[int, int], ...]] = ()
    """Lowest bit and width of each field, in order."""

    @classmethod
    def parse(cls, value: int) -> Self:
        """Parses the MSR; :class:`WireError` where it holds something else."""
        if not 0 <= value < 1 << _VALUE_BITS or value & _INFO_MASK != cls.INFO:
            raise WireError(f"GHCB MSR {cls.__name__}", got=f"{value:#x}", want=f"GHCBInfo {cls.INFO:#05x}")
        parts = [value >> low & (1 << width) - 1 for low, width in cls.BITS]
        if cls._joined(parts) != value:
            raise WireError(f"GHCB MSR {cls.__name__}.reserved", got=f"{value:#x}", want="reserved bits 0")
        return cls(*parts)

    def encode(self) -> int:
        """Encodes the MSR; :class:`WireError` where a value does not fit its field."""
        parts = [int(getattr(self, field.name)) for field in fields(self)]  # type: ignore[arg-type]  # all are
        for part, (_, width) in zip(parts, self.BITS, strict=True):
            if not 0 <= part < 1 << width:
                raise WireError(f"GHCB MSR {type(self).__name__}", got=part, want=f"an integer of {width} bits")
        return self._joined(parts)

    @classmethod
    def _joined(cls, parts: list[int]) -> int:
        return cls.INFO | sum(part << low for part, (low, _) in zip(parts, cls.BITS, strict=True))


@dataclass(frozen=True, slots=True)
class GhcbAddress(_Value):
    """The address of the guest's GHCB; not a request."""

    INFO = 0x000
    BITS = ((12, 52),)
    gfn: int

    @property
    def gpa(self) -> int:
        return self.gfn * PAGE_SIZE


@dataclass(frozen=True, slots=True)
class SevInfo(_Value):
    """The hypervisor's protocol versions, and the C-bit's position. The MSR holds it before the guest asks, too."""

    INFO = 0x001
    BITS = ((48, 16), (32, 16), (24, 8))
    max_version: int
    min_version: int
    c_bit: int


@dataclass(frozen=True, slots=True)
class SevInfoRequest(_Value):
    """Reply: ``SevInfo``."""

    INFO = 0x002


@dataclass(frozen=True, slots=True)
class CpuidRequest(_Value):
    """One register of CPUID's answer, ECX being 0. Reply: ``CpuidResponse``."""

    INFO = 0x004
    BITS = ((32, 32), (30, 2))
    function: int
    register: int
    """A :class:`CpuidRegister`."""


@dataclass(frozen=True, slots=True)
class CpuidResponse(_Value):
    """The value of the register."""

    INFO = 0x005
    BITS = ((32, 32), (30, 2))
    value: int
    register: int


@dataclass(frozen=True, slots=True)
class ApResetHoldRequest(_Value):
    """Waits until another vCPU starts this one. Reply: ``ApResetHoldResponse``."""

    INFO = 0x006


@dataclass(frozen=True, slots=True)
class ApResetHoldResponse(_Value):
    """Not 0: the vCPU was started."""

    INFO = 0x007
    BITS = ((12, 52),)
    result: int


@dataclass(frozen=True, slots=True)
class PreferredGpaRequest(_Value):
    """Asks where the hypervisor prefers the GHCB. Reply: ``PreferredGpaResponse``."""

    INFO = 0x010


@dataclass(frozen=True, slots=True)
class PreferredGpaResponse(_Value):
    """The preferred page; ``NO_GFN``: any."""

    INFO = 0x011
    BITS = ((12, 52),)
    gfn: int


@dataclass(frozen=True, slots=True)
class RegisterGpaRequest(_Value):
    """Commits the guest to a GHCB at this page. Reply: ``RegisterGpaResponse``."""

    INFO = 0x012
    BITS = ((12, 52),)
    gfn: int


@dataclass(frozen=True, slots=True)
class RegisterGpaResponse(_Value):
    """The same GFN; ``NO_GFN``: refused."""

    INFO = 0x013
    BITS = ((12, 52),)
    gfn: int


@dataclass(frozen=True, slots=True)
class PageStateRequest(_Value):
    """Asks for one page of 4 KiB to be made private or shared. Reply: ``PageStateResponse``."""

    INFO = 0x014
    BITS = ((12, 40), (52, 4))
    gfn: int
    operation: int
    """:data:`PageOperation.PRIVATE` or :data:`PageOperation.SHARED`."""

    def __post_init__(self) -> None:
        """Refuses operations that are allowed in the shared buffer only."""
        if self.operation not in (PageOperation.PRIVATE, PageOperation.SHARED):
            raise WireError("GHCB MSR PageStateRequest.operation", got=self.operation, want="1 or 2")


@dataclass(frozen=True, slots=True)
class PageStateResponse(_Value):
    """0 for success."""

    INFO = 0x015
    BITS = ((32, 32),)
    error: int


@dataclass(frozen=True, slots=True)
class FeaturesRequest(_Value):
    """Reply: ``FeaturesResponse``."""

    INFO = 0x080


@dataclass(frozen=True, slots=True)
class FeaturesResponse(_Value):
    """The hypervisor's features."""

    INFO = 0x081
    BITS = ((12, 52),)
    features: int
    """Bits of :class:`HypervisorFeature`."""


@dataclass(frozen=True, slots=True)
class TerminateRequest(_Value):
    """Ends this guest. No reply."""

    INFO = 0x100
    BITS = ((12, 4), (16, 8))
    reason_set: int
    """0: general (56421, table 4)."""
    reason: int


class HypervisorFeature(IntEnum):
    """Bits of the hypervisor's features (56421, 4.1.14, table 10)."""

    SNP = 1 << 0
    SNP_AP_CREATION = 1 << 1
    RESTRICTED_INJECTION = 1 << 2
    RESTRICTED_INJECTION_TIMER = 1 << 3


MsrRequest = (
    GhcbAddress
    | SevInfoRequest
    | CpuidRequest
    | ApResetHoldRequest
    | PreferredGpaRequest
    | RegisterGpaRequest
    | PageStateRequest
    | FeaturesRequest
    | TerminateRequest
)
"""The requests that a guest may make."""

_REQUESTS: tuple[type[MsrRequest], ...] = (
    GhcbAddress,
    SevInfoRequest,
    CpuidRequest,
    ApResetHoldRequest,
    PreferredGpaRequest,
    RegisterGpaRequest,
    PageStateRequest,
    FeaturesRequest,
    TerminateRequest,
)


def parse_request(value: int) -> MsrRequest:
    """The request in the MSR of a guest that executed VMGEXIT; :class:`WireError` if it is none of these."""
    for kind in _REQUESTS:
        if value & _INFO_MASK == kind.INFO:
            return kind.parse(value)
    raise WireError("GHCB MSR GHCBInfo", got=f"{value & _INFO_MASK:#05x}", want="a request")
