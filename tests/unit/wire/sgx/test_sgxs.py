import contextlib
import hashlib
import struct

import pytest
from hypothesis import given
from hypothesis import strategies as st

from casemate.wire.errors import WireError
from casemate.wire.sgx.sgxs import (
    CODE_PAGE,
    DATA_PAGE,
    PAGE_SIZE,
    Eadd,
    Ecreate,
    Eextend,
    PageFlags,
    Segment,
    Sgxs,
    measure_sgxs,
    read_range,
    walk_sgxs,
)

PAGE = PAGE_SIZE
FLAGS = st.sampled_from([CODE_PAGE, DATA_PAGE, PageFlags.TCS, PageFlags.REG | PageFlags.READ | PageFlags.WRITE])


def _by_the_book(size: int, ssa: int, pages: list[tuple[int, int, bytes]]) -> bytes:
    """The measured stream as the SDM's operation sections of ECREATE, EADD and EEXTEND write it, step by step."""
    stream = struct.pack("<8sIQ44x", b"ECREATE", ssa, size)
    for offset, flags, content in pages:
        secinfo = struct.pack("<Q56x", flags)
        stream += struct.pack("<8sQ", b"EADD", offset) + secinfo[:48]
        for chunk in range(0, 4096, 256):
            stream += struct.pack("<8sQ48x", b"EEXTEND", offset + chunk) + content[chunk : chunk + 256]
    return stream


@st.composite
def _enclaves(draw: st.DrawFn) -> tuple[int, int, list[tuple[int, int]], bytes]:
    """Size, SSA frame size, offset and flags of each page, and what the pages are filled with."""
    size = PAGE << draw(st.integers(1, 8))
    numbers = draw(st.lists(st.integers(0, size // PAGE - 1), min_size=1, max_size=9, unique=True))
    pages = [(number * PAGE, int(draw(FLAGS))) for number in numbers]
    return size, draw(st.integers(1, 3)), pages, draw(st.binary(min_size=1, max_size=8))


def _filled(size: int, ssa: int, pages: list[tuple[int, int]], fill: bytes) -> tuple[bytes, bytes]:
    """The stream of such an enclave, and its pages' contents."""
    contents = [(fill * 2 * PAGE)[at : PAGE + at] for at in range(len(pages))]
    return _by_the_book(size, ssa, [(*page, content) for page, content in zip(pages, contents, strict=True)]), b"".join(
        contents
    )


@given(_enclaves())
def test_streams_and_measurements_are_those_of_the_book(enclave: tuple[int, int, list[tuple[int, int]], bytes]) -> None:
    stream, contents = _filled(*enclave)
    sgxs = Sgxs.parse(stream)
    assert sgxs.ecreate == Ecreate(enclave[1], enclave[0])
    assert sgxs.contents == contents
    assert sgxs.encode() == stream
    assert sgxs.mr_enclave() == measure_sgxs(stream) == hashlib.sha256(stream).digest()


def test_a_stream_of_several_batches_of_pages_is_that_of_the_book() -> None:
    pages = [*((number * PAGE, int(CODE_PAGE)) for number in range(150, 255)), *((n * PAGE, 0x203) for n in range(45))]
    stream, contents = _filled(PAGE << 8, 2, pages, b"enclave")
    sgxs = Sgxs.parse(stream)
    assert sgxs.contents == contents
    assert sgxs.stream_size == len(stream)
    assert sgxs.encode() == stream
    assert sgxs.mr_enclave() == hashlib.sha256(stream).digest()


@given(_enclaves(), st.data())
def test_the_walk_and_the_fast_path_agree(
    enclave: tuple[int, int, list[tuple[int, int]], bytes], data: st.DataObject
) -> None:
    stream, _ = _filled(*enclave)
    at = data.draw(st.integers(0, len(stream)) | st.integers(0, 200) | st.sampled_from(range(64, len(stream), 64)))
    changed = stream[:at] + data.draw(st.binary(max_size=9)) + stream[at + data.draw(st.integers(0, 9)) :]
    walked = None
    with contextlib.suppress(WireError):
        walked = [record for _, record in walk_sgxs(changed)]
    try:
        parsed = Sgxs.parse(changed)
    except WireError:
        assert walked is None or len(walked) == 1  # the walk does not mind an enclave without pages
        return
    assert walked is not None
    assert parsed.encode() == changed
    assert sum(isinstance(record, Eadd) for record in walked) * PAGE == len(parsed.contents)


@given(st.binary(max_size=700))
def test_random_bytes_are_an_enclave_or_a_wire_error(data: bytes) -> None:
    for stream in (data, _by_the_book(2 * PAGE, 1, []) + data):
        try:
            assert Sgxs.parse(stream).encode() == stream
        except WireError:
            continue


def _stream(*pages: tuple[int, int], size: int = 4 * PAGE) -> bytes:
    return _by_the_book(size, 1, [(offset, flags, bytes(PAGE)) for offset, flags in pages])


GOOD = _stream((0, DATA_PAGE), (PAGE, CODE_PAGE))
GROUP = (len(GOOD) - 64) // 2
EXTEND = 64 + 256
DATA, CODE = int(DATA_PAGE), int(CODE_PAGE)


@pytest.mark.parametrize(
    ("stream", "reason"),
    [
        (b"", "SGXS record is 0 bytes"),
        (GOOD[:64], "SGXS pages is none"),
        (GOOD[64:], "ECREATE.tag"),
        (GOOD + GOOD[:64], "ECREATE.*want.* EADD"),
        (_stream((0, DATA), size=3 * PAGE), "ECREATE.size is 12288, the format wants a power of two"),
        (_stream((0, DATA), size=PAGE), "ECREATE.size"),
        (_stream((0, DATA), size=1 << 40), "ECREATE.size"),
        (_by_the_book(2 * PAGE, 0, [(0, DATA, bytes(PAGE))]), "ECREATE.ssa_frame_size"),
        (_stream((100, DATA)), "EADD.offset is 0x64"),
        (_stream((4 * PAGE, DATA)), "EADD.offset is 0x4000"),
        (_stream(((1 << 64) - PAGE, DATA)), "EADD.offset"),
        (_stream((0, DATA), (0, DATA)), "EADD.offset is .*again"),
        (_stream((0, 0x202)), "EADD.flags"),
        (_stream((0, 0x101)), "EADD.flags"),
        (_stream((0, 0x301)), "EADD.flags"),
        (_stream((0, 0x209)), "EADD.flags"),
        (_stream((0, 0)), "EADD.flags"),
        (GOOD[:-EXTEND], "chunk at 0x1f00 not measured"),
        (GOOD[: 64 + GROUP - EXTEND] + GOOD[64 + GROUP :], "chunk at 0xf00 not measured"),
        (GOOD[: 64 + 64] + GOOD[64 + GROUP :], "chunk at 0x0 not measured"),
        (
            GOOD[: 64 + 64] + GOOD[64 + 64 + EXTEND : 64 + 64 + 2 * EXTEND] + GOOD[64 + 64 + EXTEND :],
            "EEXTEND.offset is 0x100",
        ),
        (GOOD + GOOD[-EXTEND:], "EEXTEND of 0x1f00 at .*the page is not open"),
        (GOOD[:-1], "EEXTEND data is 255 bytes"),
        (GOOD + b"\x00", "SGXS record is 1 bytes"),
        (GOOD[:64] + b"UNMEASRD" + GOOD[72:], "UNMEASRD.*want.* EADD"),
        (GOOD[:100] + b"\x01" + GOOD[101:], "EADD.reserved"),
        (GOOD[:180] + b"\x01" + GOOD[181:], "EEXTEND.reserved"),
        (GOOD[:60] + b"\x01" + GOOD[61:], "ECREATE.reserved"),
    ],
)
def test_refuses_what_is_not_in_canonical_form(stream: bytes, reason: str) -> None:
    with pytest.raises(WireError, match=reason):
        Sgxs.parse(stream)


def test_pages_with_neighbouring_addresses_and_equal_flags_are_one_segment() -> None:
    stream = _stream((0, DATA), (PAGE, DATA), (2 * PAGE, CODE), (3 * PAGE, DATA))
    assert [(run.offset, run.size) for run in Sgxs.parse(stream).segments] == [
        (0, 2 * PAGE),
        (2 * PAGE, PAGE),
        (3 * PAGE, PAGE),
    ]


def test_the_order_of_adding_is_measured_and_the_contents_are_given_by_address() -> None:
    pages = [(PAGE, DATA, b"b" * PAGE), (0, DATA, b"a" * PAGE)]
    shuffled = Sgxs.parse(_by_the_book(2 * PAGE, 1, pages))
    ordered = Sgxs.parse(_by_the_book(2 * PAGE, 1, pages[::-1]))
    assert shuffled.linear_contents() == ordered.linear_contents() == b"a" * PAGE + b"b" * PAGE
    assert shuffled.mr_enclave() != ordered.mr_enclave()


def test_refuses_linear_contents_of_pages_with_a_gap() -> None:
    with pytest.raises(WireError, match="none at offset 0x1000"):
        Sgxs.parse(_stream((0, DATA), (2 * PAGE, DATA))).linear_contents()


@pytest.mark.parametrize(
    "sgxs",
    [
        Sgxs(Ecreate(1, 2 * PAGE), (), b""),
        Sgxs(Ecreate(1, 2 * PAGE), (Segment(0, PAGE, DATA_PAGE),), bytes(PAGE - 1)),
        Sgxs(Ecreate(1, 2 * PAGE), (Segment(0, 100, DATA_PAGE),), bytes(100)),
        Sgxs(Ecreate(1, 2 * PAGE), (Segment(0, 4 * PAGE, DATA_PAGE),), bytes(4 * PAGE)),
        Sgxs(Ecreate(1, 2 * PAGE), (Segment(1 << 62, PAGE, DATA_PAGE),), bytes(PAGE)),
        Sgxs(Ecreate(1, 2 * PAGE), (Segment(0, PAGE, DATA_PAGE), Segment(0, PAGE, DATA_PAGE)), bytes(2 * PAGE)),
        Sgxs(Ecreate(1, 3 * PAGE), (Segment(0, PAGE, DATA_PAGE),), bytes(PAGE)),
        Sgxs(Ecreate(1, 2 * PAGE), (Segment(0, PAGE, PageFlags.WRITE),), bytes(PAGE)),
    ],
)
def test_refuses_to_encode_what_it_would_not_parse(sgxs: Sgxs) -> None:
    with pytest.raises(WireError):
        sgxs.encode()


def test_spans_cover_every_byte_of_the_stream() -> None:
    spans = list(Sgxs.parse(GOOD).spans())
    assert b"".join(span.cut(GOOD) for span in spans) == GOOD
    assert [span.name for span in spans if span.name.endswith("eadd.flags")] == [
        "page[0x0].eadd.flags",
        "page[0x1000].eadd.flags",
    ]


@given(_enclaves(), st.integers(0, 10 * PAGE), st.integers(1, 3 * PAGE))
def test_a_range_is_what_lies_there_by_address(
    enclave: tuple[int, int, list[tuple[int, int]], bytes], offset: int, size: int
) -> None:
    stream, contents = _filled(*enclave)
    memory = {page: contents[at * PAGE : (at + 1) * PAGE] for at, (page, _) in enumerate(enclave[2])}
    want = b""
    for page in range(offset // PAGE * PAGE, offset + size, PAGE):
        if page not in memory:
            break
        want += memory[page]
    assert read_range(stream, offset, size) == want[offset % PAGE :][:size]
    assert read_range(stream, 1 << 63, size) == b""


@given(st.binary(max_size=12_000), st.integers(0, 1 << 64), st.integers(0, 9000))
def test_a_range_of_random_bytes_is_bytes(data: bytes, offset: int, size: int) -> None:
    assert len(read_range(data, offset, size)) <= size


@pytest.mark.parametrize("number", [0, 1, 63, 64, 150, 199])
@pytest.mark.parametrize(
    ("at", "field"), [(0, "EADD"), (16, "flags"), (64, "EEXTEND|chunk"), (5183 - 256 - 63, "chunk")]
)
def test_a_bad_record_is_found_in_whatever_batch_it_lies(number: int, at: int, field: str) -> None:
    good = Sgxs(Ecreate(1, 1 << 20), (Segment(0, 200 * PAGE, DATA_PAGE),), bytes(200 * PAGE)).encode()
    bad = bytearray(good)
    bad[64 + 5184 * number + at] ^= 0x40
    with pytest.raises(WireError, match=field):
        Sgxs.parse(bytes(bad))


def test_records_have_their_own_encoding() -> None:
    for record in (Ecreate(1, 2 * PAGE), Eadd(PAGE, CODE_PAGE), Eextend(256)):
        assert type(record).parse(record.encode()) == record
