"""XFRM: the allowed combinations of processor state, and the size of a state save area (SSA) frame for each.

XFRM is the value of XCR0 while an enclave runs, so its rules are those of XSETBV (Intel SDM vol. 1, 13.3). ECREATE
refuses what XSETBV would (SDM vol. 3D, ECREATE, and "Processor Extended States and ENCLS[ECREATE]").
"""

from enum import STRICT, IntFlag

from casemate.wire.errors import WireError
from casemate.wire.sgx.attributes import MiscSelect

PAGE_SIZE = 4096


class State(IntFlag, boundary=STRICT):
    """XCR0: components of processor state that user software may have (SDM vol. 1, 13.1)."""

    X87 = 1 << 0
    SSE = 1 << 1
    AVX = 1 << 2
    BNDREGS = 1 << 3
    BNDCSR = 1 << 4
    OPMASK = 1 << 5
    ZMM_HI256 = 1 << 6
    HI16_ZMM = 1 << 7
    PKRU = 1 << 9
    XTILECFG = 1 << 17
    XTILEDATA = 1 << 18


MPX = State.BNDREGS | State.BNDCSR
AVX512 = State.OPMASK | State.ZMM_HI256 | State.HI16_ZMM
AMX = State.XTILECFG | State.XTILEDATA

_LEGACY_AND_HEADER = 512 + 64
"""Bytes of an XSAVE area before its extended part (SDM vol. 1, 13.4)."""
_AREAS = {
    State.AVX: (576, 256),
    State.BNDREGS: (960, 64),
    State.BNDCSR: (1024, 64),
    State.OPMASK: (1088, 64),
    State.ZMM_HI256: (1152, 512),
    State.HI16_ZMM: (1664, 1024),
    State.PKRU: (2688, 8),
    State.XTILECFG: (2752, 64),
    State.XTILEDATA: (2816, 8192),
}
"""Offset and size in the standard format (bytes): CPUID leaf 0DH as server processors answer it."""
_GPRSGX = 184
"""General registers at the frame's end (SDM vol. 3D, 38.9.1.1, bytes)."""
_EXINFO = 16
_CET_STATE = 16


def check_xfrm(xfrm: int, *, supported: int) -> State:
    """The components that ``xfrm`` enables.

    Args:
        xfrm: 64 bits.
        supported: XCR0 bits that the processor has.

    Raises:
        WireError: XSETBV would fault on it, or the processor does not have them all.
    """
    if xfrm & ~supported or xfrm & ~_ALL:
        raise WireError("XFRM", got=f"{xfrm:#x}", want=f"bits of {supported:#x} alone: this processor has no others")
    state = State(xfrm)
    if (State.X87 | State.SSE) & ~state:
        raise WireError("XFRM", got=f"{xfrm:#x}", want="bits 0 and 1 (x87, SSE)")
    for name, bits in (("MPX", MPX), ("AVX-512", AVX512), ("AMX", AMX)):
        if state & bits and bits & ~state:
            raise WireError("XFRM", got=f"{xfrm:#x}", want=f"all bits of {name} or none ({bits:#x})")
    if state & AVX512 and State.AVX not in state:
        raise WireError("XFRM", got=f"{xfrm:#x}", want=f"AVX ({State.AVX:#x}), which AVX-512 needs")
    return state


def xsave_size(state: State) -> int:
    """Bytes of the XSAVE area for these components, in the standard format."""
    return max((at + size for each, (at, size) in _AREAS.items() if each in state), default=_LEGACY_AND_HEADER)


def ssa_frame_pages(state: State, misc_select: MiscSelect, *, cet: bool) -> int:
    """The least SECS.SSAFRAMESIZE (pages): XSAVE area, MISC region, CET state, and the general registers."""
    size = xsave_size(state) + _GPRSGX
    size += _EXINFO if MiscSelect.EXINFO in misc_select else 0
    size += _CET_STATE if cet else 0
    return -(-size // PAGE_SIZE)


_ALL = int(State.X87 | State.SSE | State.AVX | MPX | AVX512 | State.PKRU | AMX)
