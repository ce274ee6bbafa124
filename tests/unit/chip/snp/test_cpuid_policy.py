import pytest

from casemate.chip.snp.cpuid_policy import check_cpuid
from casemate.chip.snp.errors import FirmwareError
from casemate.wire.snp.cpuid_page import CpuidFunction
from casemate.wire.snp.mode import VmMode

SEV = 0x8000_001F


def told(**function: int) -> tuple[CpuidFunction, ...]:
    return (CpuidFunction(**function),)


@pytest.mark.parametrize(
    "function",
    [
        {"eax_in": 0, "eax": 0x10, "ebx": 0x68747541, "ecx": 0x444D4163, "edx": 0x69746E65},
        {"eax_in": 1, "eax": 0xA00F11, "ebx": 0xFFFFFFFF, "ecx": 0xCED8220B, "edx": 0x78BFBFD},
        {"eax_in": 7, "ebx": 0x980189},
        {"eax_in": 7, "ecx_in": 1, "eax": 0xFFFFFFFF},
        {"eax_in": 0xD, "eax": 3, "xcr0_in": 1, "ebx": 576, "ecx": 576},
        {"eax_in": 0xD, "eax": 3, "xcr0_in": 3, "ebx": 576, "ecx": 576},
        {"eax_in": 0xD, "ecx_in": 1, "xcr0_in": 3, "ebx": 576},
        {"eax_in": 0xD, "ecx_in": 1},
        {"eax_in": 0xD, "ecx_in": 2},
        {"eax_in": SEV, "eax": 0x3A, "ebx": 0x4073},
        {"eax_in": 0x4000_0000, "eax": 0x4000_0001},
    ],
)
def test_takes_what_is_true(function: dict[str, int]) -> None:
    check_cpuid(told(**function), VmMode.SEV_SNP)


@pytest.mark.parametrize(
    ("function", "words"),
    [
        ({"eax_in": 1, "ecx": 1 << 24}, "Fn00000001_x0: ecx claims 0x01000000"),
        ({"eax_in": 1, "ecx": 1 << 28}, "ecx claims 0x10000000"),  # AVX
        ({"eax_in": 7, "edx": 1 << 29}, "Fn00000007_x0: edx claims 0x20000000"),
        ({"eax_in": 7, "ecx": 1 << 7}, "ecx claims 0x00000080"),  # shadow stacks
        ({"eax_in": 0x8000_0008, "ebx": 1 << 12}, "Fn80000008_x0: ebx claims 0x00001000"),  # IBPB
        ({"eax_in": 0x8000_0021, "eax": 1}, "Fn80000021_x0: eax"),
        ({"eax_in": 0x8000_0001, "ecx": 1 << 31}, "Fn80000001_x0: ecx"),
        ({"eax_in": SEV, "eax": 1, "ebx": 51}, "eax claims 0x00000001"),
        ({"eax_in": SEV, "eax": 1 << 14, "ebx": 51}, "eax claims 0x00004000"),
        ({"eax_in": SEV, "eax": 2, "ebx": 47}, "C-bit at 47"),
        ({"eax_in": SEV, "eax": 2, "ebx": 0x5033}, "5 VMPLs"),
        ({"eax_in": 0xD, "eax": 7, "xcr0_in": 3, "ebx": 576}, "eax claims 0x00000004"),
        ({"eax_in": 0xD, "xcr0_in": 3, "ebx": 512}, "512 bytes, it takes 576"),
        ({"eax_in": 0xD, "xcr0_in": 3, "ebx": 0x10000}, "65536 bytes, it takes 576"),
        ({"eax_in": 0xD, "ecx_in": 1, "xcr0_in": 3, "ebx": 840}, "840 bytes, it takes 576"),
        ({"eax_in": 0xD, "ecx_in": 2, "ebx": 576}, "576 bytes, it takes 0"),
        ({"eax_in": 0xD, "xcr0_in": 7, "ebx": 576}, "state components"),
        ({"eax_in": 0xD, "xcr0_in": 3, "xss_in": 1 << 11, "ebx": 576}, "state components"),
    ],
)
def test_refuses_what_is_not(function: dict[str, int], words: str) -> None:
    with pytest.raises(FirmwareError, match=words) as refusal:
        check_cpuid(told(**function), VmMode.SEV_SNP)
    assert refusal.value.status == "INVALID_PARAM"


@pytest.mark.parametrize(("mode", "bits"), [(VmMode.SEV, 0x2), (VmMode.SEV_ES, 0xA), (VmMode.AUTHENTICATED, 0x3A)])
def test_a_guest_is_told_the_protection_that_it_has(mode: VmMode, bits: int) -> None:
    check_cpuid(told(eax_in=SEV, eax=bits, ebx=51), mode)
    for bit in range(32):
        if not bits >> bit & 1:
            with pytest.raises(FirmwareError):
                check_cpuid(told(eax_in=SEV, eax=bits | 1 << bit, ebx=51), mode)
