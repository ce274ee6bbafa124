import pytest
from hypothesis import given
from hypothesis import strategies as st

from casemate.wire.errors import WireError
from casemate.wire.snp.ghcb import SHARED_BUFFER_SIZE
from casemate.wire.snp.page_state import MAX_ENTRIES, PageOperation, PageStateChange, PageStateEntry


def buffer(start: str) -> bytes:
    return bytes.fromhex(start).ljust(SHARED_BUFFER_SIZE, b"\0")


# struct psc_hdr and psc_entry of Linux, arch/x86/include/asm/sev-common.h: bit fields of 12, 40, 4, 1 and 7 bits.
TWO = buffer("0000 0100 00000000" + "0080010000002000" + "0000200000001001")


def test_is_as_linux_makes_it() -> None:
    change = PageStateChange(
        0,
        (
            PageStateEntry(0x18, PageOperation.SHARED),
            PageStateEntry(0x200, PageOperation.PRIVATE, large=True),
        ),
    )
    assert PageStateChange.parse(TWO) == change
    assert change.encode() == TWO
    assert [(entry.gpa, entry.pages) for entry in change.entries] == [(0x1_8000, 1), (0x20_0000, 512)]


@pytest.mark.parametrize(
    ("start", "field"),
    [
        ("0000 0000 01000000 0010000000001000", "PSC header.reserved"),
        ("0000 fd00 00000000", "PSC header.end_entry"),
        ("0000 ffff 00000000", "PSC header.end_entry"),
        ("0200 0100 00000000", "PSC header.cur_entry"),
        ("0000 0000 00000000 0010000000000000", "PSC entry.operation"),
        ("0000 0000 00000000 0010000000005000", "PSC entry.operation"),
        ("0000 0000 00000000 0010000000001002", "PSC entry.reserved"),
        ("0000 0000 00000000 0210000000001000", "PSC entry.cur_page"),
        ("0000 0000 00000000 0122200000001001", "PSC entry.cur_page"),
        ("0000 0000 00000000 0010000000001001", "PSC entry.gfn"),
    ],
)
def test_refuses(start: str, field: str) -> None:
    with pytest.raises(WireError) as caught:
        PageStateChange.parse(buffer(start))
    assert caught.value.field == field


def test_refuses_another_size() -> None:
    with pytest.raises(WireError, match="PSC"):
        PageStateChange.parse(TWO + b"\0")


def test_a_buffer_is_filled_to_the_last_entry() -> None:
    change = PageStateChange(252, tuple(PageStateEntry(gfn, PageOperation.PRIVATE) for gfn in range(MAX_ENTRIES)))
    assert len(change.encode()) == SHARED_BUFFER_SIZE
    assert PageStateChange.parse(change.encode()) == change


@given(st.binary(min_size=0, max_size=64))
def test_any_buffer_is_a_change_or_refused(noise: bytes) -> None:
    data = noise.ljust(SHARED_BUFFER_SIZE, b"\0")
    try:
        change = PageStateChange.parse(data)
    except WireError:
        return
    size = 8 + 8 * len(change.entries)
    assert change.encode()[:size] == data[:size]
