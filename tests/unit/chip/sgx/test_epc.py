import hashlib
from collections.abc import Callable

import pytest
from hypothesis import given
from hypothesis import strategies as st

from casemate.chip.errors import LaunchError
from casemate.chip.sgx import epc as module
from casemate.chip.sgx.epc import PageCache, load
from casemate.wire.errors import WireError
from casemate.wire.messages.leaf import MAX_PAGES
from casemate.wire.sgx.sgxs import DATA_PAGE, PAGE_SIZE, Ecreate, Segment, Sgxs


def made(*segments: tuple[int, int]) -> bytes:
    size = sum(pages for _, pages in segments) * PAGE_SIZE
    runs = tuple(Segment(offset * PAGE_SIZE, pages * PAGE_SIZE, DATA_PAGE) for offset, pages in segments)
    return Sgxs(Ecreate(1, 1 << 20), runs, bytes(range(256)) * (size // 256)).encode()


@pytest.fixture(params=["in one thread", "in two threads"])
def threads(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "WORTH_A_THREAD", 0 if request.param == "in two threads" else MAX_PAGES)


@pytest.mark.usefixtures("threads")
def test_measures_the_stream_itself(stream: bytes) -> None:
    loaded = load(stream)
    assert loaded.mr_enclave == hashlib.sha256(stream).digest()
    assert loaded.pages == Sgxs.parse(stream).contents
    assert loaded.epc_size == len(loaded.pages) + PAGE_SIZE


def test_gives_pages_in_address_order() -> None:
    contents = b"\x01" * PAGE_SIZE + b"\x02" * PAGE_SIZE
    backwards = (Segment(PAGE_SIZE, PAGE_SIZE, DATA_PAGE), Segment(0, PAGE_SIZE, DATA_PAGE))
    loaded = load(Sgxs(Ecreate(1, 1 << 20), backwards, contents).encode())
    assert loaded.pages == b"\x02" * PAGE_SIZE + b"\x01" * PAGE_SIZE


@pytest.mark.usefixtures("threads")
@pytest.mark.parametrize("segments", [[(1, 1)], [(0, 1), (2, 1)]])
def test_refuses_gaps(segments: list[tuple[int, int]]) -> None:
    with pytest.raises(LaunchError, match="pages-adjacent"):
        load(made(*segments))


@pytest.mark.usefixtures("threads")
def test_refuses_records_that_are_not_in_canonical_form() -> None:
    stream = bytearray(made((0, 2)))
    stream[64 + 5184] ^= 1  # the second page's EADD
    with pytest.raises(WireError, match="SGXS record"):
        load(bytes(stream))


def test_refuses_more_pages_than_an_enclave_may_have(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "MAX_PAGES", 4 * PAGE_SIZE)
    load(made((0, 4)))
    with pytest.raises(LaunchError, match="enclave-size"):
        load(made((0, 5)))


def test_refuses_a_huge_stream_before_parsing_it() -> None:
    with pytest.raises(LaunchError, match="enclave-size"):
        load(bytes(2 * MAX_PAGES + 1))


@given(st.binary(max_size=6000))
def test_arbitrary_stream_is_a_typed_refusal(data: bytes) -> None:
    with pytest.raises((WireError, LaunchError)):
        load(data)


@given(at=st.integers(0, 64 + 5184 * 2 - 1), bit=st.integers(0, 7))
def test_changed_stream_is_refused_or_measured_differently(at: int, bit: int) -> None:
    stream = bytearray(made((0, 2)))
    before = load(bytes(stream)).mr_enclave
    stream[at] ^= 1 << bit
    try:
        after = load(bytes(stream)).mr_enclave
    except (WireError, LaunchError):
        return
    assert after != before


def test_cache_counts_bytes_and_places() -> None:
    cache = PageCache(size=10 * PAGE_SIZE, enclaves=2)
    cache.take(4 * PAGE_SIZE)
    with pytest.raises(LaunchError, match=f"at most the {6 * PAGE_SIZE} bytes free"):
        cache.take(7 * PAGE_SIZE)
    cache.take(6 * PAGE_SIZE)
    with pytest.raises(LaunchError, match="no place is free"):
        cache.take(PAGE_SIZE)
    cache.give_back(4 * PAGE_SIZE)
    cache.take(3 * PAGE_SIZE)


def test_refused_load_takes_nothing(sign: Callable[..., object]) -> None:  # noqa: ARG001 - warms the key for others
    cache = PageCache(size=PAGE_SIZE, enclaves=1)
    for _ in range(3):
        with pytest.raises(LaunchError, match="epc"):
            cache.take(2 * PAGE_SIZE)
    cache.take(PAGE_SIZE)
