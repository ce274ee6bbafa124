import contextlib

import pytest
from hypothesis import given
from hypothesis import strategies as st

from casemate.wire.errors import WireError
from casemate.wire.snp.ghcb import (
    ExitCode,
    Ghcb,
    GhcbField,
    GuestRequestError,
    Malformed,
    guest_request_result,
)

EMPTY = bytes(0xFFA) + b"\x02\0" + bytes(4)
# arch/x86/include/asm/svm.h of Linux: struct ghcb_save_area, and GHCB_BITMAP_IDX, an offset / 8.
LINUX_OFFSETS = {"CPL": 203, "XSS": 320, "RAX": 504, "RCX": 776, "RDX": 784, "RBX": 792} | {
    "SW_EXITCODE": 912,
    "SW_EXITINFO1": 920,
    "SW_EXITINFO2": 928,
    "SW_SCRATCH": 936,
    "XCR0": 1000,
}


def page(*parts: tuple[int, bytes]) -> bytes:
    content = bytearray(EMPTY)
    for at, part in parts:
        content[at : at + len(part)] = part
    return bytes(content)


def test_fields_are_where_linux_has_them() -> None:
    assert {field.name: field.value for field in GhcbField} == LINUX_OFFSETS


def test_a_field_is_read_only_if_it_is_valid() -> None:
    rax = page((0x1F8, (7).to_bytes(8, "little")))
    with pytest.raises(WireError, match=r"GHCB\.rax is not valid"):
        Ghcb.parse(rax).get(GhcbField.RAX)
    assert Ghcb.parse(page((0x1F8, rax[0x1F8:0x200]), (0x3F7, b"\x80"))).get(GhcbField.RAX) == 7


def test_the_event_is_named() -> None:
    asked = page((0x390, (0x8000_0011).to_bytes(8, "little")), (0x3F0 + 14, b"\x04"))
    assert Ghcb.parse(asked).exit_code is ExitCode.GUEST_REQUEST
    with pytest.raises(WireError, match="sw_exitcode is 0x5"):
        _ = Ghcb.parse(page((0x390, b"\x05"), (0x3F0 + 14, b"\x04"))).exit_code
    with pytest.raises(WireError, match="sw_exitcode is not valid"):
        _ = Ghcb.parse(EMPTY).exit_code


@pytest.mark.parametrize(
    ("content", "field"),
    [
        (EMPTY[1:], "GHCB"),
        (EMPTY + b"\0", "GHCB"),
        (page((0xFFA, b"\x00")), "GHCB.protocol_version"),
        (page((0xFFA, b"\x03")), "GHCB.protocol_version"),
        (page((0xFFC, b"\x01")), "GHCB.usage"),
        (page((0xFFF, b"\x80")), "GHCB.usage"),
    ],
)
def test_refuses_another_size_version_and_usage(content: bytes, field: str) -> None:
    with pytest.raises(WireError) as caught:
        Ghcb.parse(content)
    assert caught.value.field == field


def test_an_answer_makes_valid_what_it_has_and_nothing_else() -> None:
    asked = Ghcb.parse(page((0x3F0, b"\xff" * 16), (0x800, b"kept")))
    answer = asked.answer({GhcbField.RAX: 0x1234, GhcbField.CPL: 3}, info_2=9)
    valid = {field: answer.get(field) for field in GhcbField if answer.has(field)}
    assert valid == {
        GhcbField.RAX: 0x1234,
        GhcbField.CPL: 3,
        GhcbField.SW_EXITINFO1: 0,
        GhcbField.SW_EXITINFO2: 9,
    }
    assert answer.shared_buffer.startswith(b"kept")
    assert sum(byte.bit_count() for byte in answer.encode()[0x3F0:0x400]) == 4


def test_an_answer_may_replace_the_shared_buffer() -> None:
    assert Ghcb.parse(EMPTY).answer(shared_buffer=b"x" * 0x7F0).encode()[0x7FF:0xFF1] == b"\0" + b"x" * 0x7F0 + b"\0"
    with pytest.raises(WireError, match="shared_buffer"):
        Ghcb.parse(EMPTY).answer(shared_buffer=b"x")


@pytest.mark.parametrize(("field", "value"), [(GhcbField.CPL, 256), (GhcbField.RAX, 1 << 64), (GhcbField.RAX, -1)])
def test_an_answer_refuses_what_does_not_fit(field: GhcbField, value: int) -> None:
    with pytest.raises(WireError, match=field.name.lower()):
        Ghcb.parse(EMPTY).answer({field: value})


def test_a_refusal_says_why() -> None:
    refusal = Ghcb.parse(EMPTY).refuse(Malformed.INVALID_EVENT)
    assert (refusal.get(GhcbField.SW_EXITINFO1), refusal.get(GhcbField.SW_EXITINFO2)) == (2, 6)


def test_a_guest_request_s_result_has_two_halves() -> None:
    assert guest_request_result(GuestRequestError.INVALID_LENGTH) == 1 << 32
    assert guest_request_result(GuestRequestError.NONE, 0x16) == 0x16


@given(st.binary(min_size=4096, max_size=4096), st.sampled_from(GhcbField))
def test_any_page_is_a_value_or_refused(noise: bytes, field: GhcbField) -> None:
    with contextlib.suppress(WireError):
        Ghcb.parse(noise)
    ghcb = Ghcb.parse(noise[:0xFFA] + EMPTY[0xFFA:])
    assert Ghcb.parse(ghcb.encode()) == ghcb
    if ghcb.has(field):
        assert ghcb.answer({field: ghcb.get(field)}).get(field) is not None
    else:
        with pytest.raises(WireError):
            ghcb.get(field)
