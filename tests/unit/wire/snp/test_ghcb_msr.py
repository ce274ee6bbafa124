import pytest
from hypothesis import given
from hypothesis import strategies as st

from casemate.wire.errors import WireError
from casemate.wire.snp.ghcb_msr import (
    NO_GFN,
    ApResetHoldResponse,
    CpuidRegister,
    CpuidRequest,
    CpuidResponse,
    FeaturesRequest,
    FeaturesResponse,
    GhcbAddress,
    HypervisorFeature,
    MsrRequest,
    PageStateRequest,
    PageStateResponse,
    PreferredGpaResponse,
    RegisterGpaRequest,
    RegisterGpaResponse,
    SevInfo,
    SevInfoRequest,
    TerminateRequest,
    parse_request,
)
from casemate.wire.snp.page_state import PageOperation

# What the macros of Linux make of these values: arch/x86/include/asm/sev-common.h (GHCB_MSR_*, GHCB_SEV_TERM_REASON).
LINUX_REQUESTS: list[tuple[MsrRequest, int]] = [
    (SevInfoRequest(), 0x002),
    (CpuidRequest(0x8000_001F, CpuidRegister.EBX), 0x8000_001F_4000_0004),
    (RegisterGpaRequest(0x18), 0x0000_0000_0001_8012),
    (PageStateRequest(0x18, PageOperation.SHARED), 0x0020_0000_0001_8014),
    (PageStateRequest(0xFF_FFFF_FFFF, PageOperation.PRIVATE), 0x001F_FFFF_FFFF_F014),
    (FeaturesRequest(), 0x080),
    (TerminateRequest(1, 2), 0x0002_1100),
    (GhcbAddress(0x18), 0x0001_8000),
]


@pytest.mark.parametrize(("request_", "value"), LINUX_REQUESTS)
def test_requests_are_as_linux_makes_them(request_: MsrRequest, value: int) -> None:
    assert request_.encode() == value
    assert parse_request(value) == request_


def test_responses_are_as_linux_reads_them() -> None:
    assert SevInfo(2, 1, 51).encode() == 0x0002_0001_3300_0001
    assert CpuidResponse(0xDEAD_BEEF, CpuidRegister.EDX).encode() == 0xDEAD_BEEF_C000_0005
    assert RegisterGpaResponse(NO_GFN).encode() == 0xFFFF_FFFF_FFFF_F013
    assert PreferredGpaResponse(NO_GFN).encode() == 0xFFFF_FFFF_FFFF_F011
    assert PageStateResponse(0).encode() == 0x015
    assert PageStateResponse(5).encode() == 0x0000_0005_0000_0015
    assert FeaturesResponse(HypervisorFeature.SNP | HypervisorFeature.SNP_AP_CREATION).encode() == 0x3081
    assert ApResetHoldResponse(1).encode() == 0x1007


@pytest.mark.parametrize(
    ("value", "reason"),
    [
        (0x003, "GHCBInfo"),
        (0x001, "GHCBInfo"),
        (0x1002, "reserved"),
        (0x0000_0001_0000_1004, "reserved"),
        (0x0120_0000_0001_8014, "reserved"),
        (0x0030_0000_0001_8014, "operation"),
        (0x0000_0000_0001_8014, "operation"),
        (0x0100_0100, "reserved"),
        (1 << 64, "GHCBInfo"),
        (-1, "GHCBInfo"),
    ],
)
def test_refuses_what_is_no_request(value: int, reason: str) -> None:
    with pytest.raises(WireError, match=reason):
        parse_request(value)


def test_refuses_to_encode_what_does_not_fit() -> None:
    with pytest.raises(WireError, match="40 bits"):
        PageStateRequest(1 << 40, PageOperation.PRIVATE).encode()


@given(st.integers(min_value=0, max_value=(1 << 64) - 1))
def test_any_value_is_a_request_or_refused(value: int) -> None:
    try:
        request = parse_request(value)
    except WireError:
        return
    assert request.encode() == value


@given(
    st.sampled_from([request for request, _ in LINUX_REQUESTS]),
    st.integers(min_value=0, max_value=(1 << 64) - 1),
)
def test_any_content_of_a_request_is_one_or_refused(request_: MsrRequest, noise: int) -> None:
    value = noise & ~0xFFF | request_.INFO
    try:
        assert type(request_).parse(value).encode() == value
    except WireError as error:
        refusal = error
    else:
        return
    assert refusal.field.startswith("GHCB MSR")
