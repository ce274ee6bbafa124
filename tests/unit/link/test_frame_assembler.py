import itertools
import tracemalloc

from hypothesis import given
from hypothesis import strategies as st

from casemate.link.frame_assembler import SIZED, FrameAssembler

LIMIT = 50


def framed(payload: bytes) -> bytes:
    return len(payload).to_bytes(4, "little") + payload


def cut(stream: bytes, places: list[int]) -> list[bytes]:
    edges = [0, *sorted(place % (len(stream) + 1) for place in places), len(stream)]
    return [stream[start:end] for start, end in itertools.pairwise(edges)]


@given(st.lists(st.binary(max_size=2 * LIMIT)), st.lists(st.integers(0, 10_000)))
def test_frames_come_out_whole_however_the_stream_is_cut(payloads: list[bytes], places: list[int]) -> None:
    assembler = FrameAssembler(LIMIT)
    pieces = cut(b"".join(map(framed, payloads)), places)
    found = [frame for piece in pieces for frame in assembler.feed(piece)]
    assert found == [payload if len(payload) <= LIMIT else None for payload in payloads]


def test_an_oversized_frame_is_reported_at_its_header_and_costs_no_memory() -> None:
    assembler, piece = FrameAssembler(LIMIT), bytes(1000)
    tracemalloc.start()
    try:
        assert list(assembler.feed((1 << 31).to_bytes(4, "little"))) == [None]
        for _ in range(100):
            assert list(assembler.feed(piece)) == []
        assert tracemalloc.get_traced_memory()[1] < 10 * len(piece)
    finally:
        tracemalloc.stop()


def test_a_long_frame_takes_no_more_memory_than_its_own() -> None:
    size, piece = 2 * SIZED, bytes(SIZED // 8)
    assembler = FrameAssembler(size)
    list(assembler.feed(size.to_bytes(4, "little")))
    tracemalloc.start()
    try:
        frames = [frame for _ in range(16) for frame in assembler.feed(piece)]
        assert tracemalloc.get_traced_memory()[1] < 2.5 * size
    finally:
        tracemalloc.stop()
    assert frames == [bytes(size)]


def test_pieces_may_share_one_memory() -> None:
    assembler, memory = FrameAssembler(LIMIT), bytearray(3)
    found: list[bytes | None] = []
    for at in range(0, 12, 3):
        memory[:] = framed(b"overwrit")[at : at + 3]
        found += assembler.feed(memoryview(memory))
    assert found == [b"overwrit"]


def test_an_unfinished_frame_gives_nothing() -> None:
    assembler = FrameAssembler(LIMIT)
    assert list(assembler.feed(framed(b"abc")[:-1])) == []
    assert list(assembler.feed(b"c")) == [b"abc"]
