import itertools

from hypothesis import given
from hypothesis import strategies as st

from casemate.link.frame_assembler import FrameAssembler

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
    assembler = FrameAssembler(LIMIT)
    assert list(assembler.feed((1 << 31).to_bytes(4, "little"))) == [None]
    for _ in range(100):
        assert list(assembler.feed(bytes(1000))) == []
    assert len(assembler._collected) == 0


def test_an_unfinished_frame_gives_nothing() -> None:
    assembler = FrameAssembler(LIMIT)
    assert list(assembler.feed(framed(b"abc")[:-1])) == []
    assert list(assembler.feed(b"c")) == [b"abc"]
