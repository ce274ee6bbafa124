"""SGXS: an enclave as the stream of its measured records, and MRENCLAVE, which is the stream's SHA-256.

The stream is the input of the measurement by ECREATE, EADD and EEXTEND (Intel SDM vol. 3D, operation of these leaf
functions): 64-byte records, EEXTEND's followed by the 256 bytes that it measures. Fortanix' tools read and write it.

Only the canonical form is accepted: ECREATE, then for each page EADD and its sixteen EEXTENDs in address order. So no
byte of an enclave is unmeasured, and each enclave has one stream.

Speed: a 64 MiB enclave has 278,528 records. They are parsed, built and measured in batches of pages with :mod:`struct`
and slices, not as one object each. :func:`walk_sgxs` goes record by record: it explains good streams, and says what is
wrong with one that the fast path refuses.
"""

import hashlib
import struct
from array import array
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from enum import STRICT, IntFlag
from itertools import chain
from typing import ClassVar, NoReturn, Self

from casemate.wire.encodings.spans import Layout, Span, constant, number, zeros
from casemate.wire.errors import WireError

PAGE_SIZE = 4096
CHUNK_SIZE = 256
"""Bytes that one EEXTEND measures."""
CHUNKS = PAGE_SIZE // CHUNK_SIZE
RECORD_SIZE = 64
GROUP_SIZE = RECORD_SIZE + CHUNKS * (RECORD_SIZE + CHUNK_SIZE)
"""One page in the stream: EADD, then sixteen EEXTENDs with their data (5184 bytes)."""

MIN_ENCLAVE = 2 * PAGE_SIZE
"""Smallest SECS.SIZE (bytes), as Linux' driver and the processor have it."""
MAX_ENCLAVE = 1 << 36
"""Largest SECS.SIZE (bytes), what CPUID leaf 12H gives on shipped processors (MaxEnclaveSize_64)."""

_SOURCE = "Intel SDM vol. 3D, operation of"
_ECREATE_TAG, _EADD_TAG, _EEXTEND_TAG = b"ECREATE\0", b"EADD\0\0\0\0", b"EEXTEND\0"

_BATCH = 64
"""Pages handled at a time: their records fit a processor's second cache."""
_WORD = 8
_HEADER_WORDS = (1 + CHUNKS) * RECORD_SIZE // _WORD
"""64-bit words in one page's records without the data."""
_GROUP_HEADERS = _EADD_TAG + bytes(56) + (_EEXTEND_TAG + bytes(56)) * CHUNKS
_GROUP_WORDS = GROUP_SIZE // _WORD
_RECORD_WORDS = RECORD_SIZE // _WORD
_CHUNKS_OF_PAGE = struct.Struct(f"{CHUNK_SIZE}s" * CHUNKS)
_HEADERS_OF_GROUP = struct.Struct(f"{2 * RECORD_SIZE}s{CHUNK_SIZE}x" + f"{RECORD_SIZE}s{CHUNK_SIZE}x" * (CHUNKS - 1))
_DATA_OF_GROUP = struct.Struct(f"{2 * RECORD_SIZE}x{CHUNK_SIZE}s" + f"{RECORD_SIZE}x{CHUNK_SIZE}s" * (CHUNKS - 1))


class PageFlags(IntFlag, boundary=STRICT):
    """SECINFO.FLAGS of a page that EADD takes (SDM 38.12.1): permissions and page type."""

    READ = 1 << 0
    WRITE = 1 << 1
    EXECUTE = 1 << 2
    TCS = 1 << 8
    REG = 2 << 8


DATA_PAGE = PageFlags.REG | PageFlags.READ
CODE_PAGE = PageFlags.REG | PageFlags.READ | PageFlags.EXECUTE

_ALLOWED_FLAGS = frozenset((
    PageFlags.TCS,
    *(PageFlags.REG | access for access in map(PageFlags, range(8)) if access != PageFlags.WRITE
      and access != PageFlags.WRITE | PageFlags.EXECUTE),
))  # fmt: skip
"""EADD refuses permissions on a TCS and a page that is writable but not readable."""


def page_flags(value: int) -> PageFlags:
    """The flags that EADD takes; ValueError for all others."""
    if value not in _ALLOWED_FLAGS:
        raise ValueError
    return PageFlags(value)


@dataclass(frozen=True, slots=True)
class Ecreate:
    """The first record: the enclave's address range."""

    LAYOUT: ClassVar[Layout] = Layout(
        "ECREATE",
        f"{_SOURCE} ECREATE",
        (constant(0, "tag", _ECREATE_TAG), number(8, 4, "ssa_frame_size"), number(12, 8, "size"), zeros(20, 44)),
    )

    ssa_frame_size: int
    """Pages of one state save area."""
    size: int
    """SECS.SIZE, bytes: a power of two."""

    @classmethod
    def parse(cls, data: bytes) -> Self:
        value = cls(**cls.LAYOUT.parse(data))
        value.check()
        return value

    def encode(self) -> bytes:
        self.check()
        return self.LAYOUT.encode(self)

    def check(self) -> None:
        """Checks ECREATE's rules for the two numbers."""
        if not MIN_ENCLAVE <= self.size <= MAX_ENCLAVE or self.size & (self.size - 1):
            raise WireError("ECREATE.size", got=self.size, want=f"a power of two, {MIN_ENCLAVE} to {MAX_ENCLAVE}")
        if self.ssa_frame_size == 0:
            raise WireError("ECREATE.ssa_frame_size", got=0, want="at least 1 page")


@dataclass(frozen=True, slots=True)
class Eadd:
    """A page is added at ``offset`` from the enclave's base."""

    LAYOUT: ClassVar[Layout] = Layout(
        "EADD",
        f"{_SOURCE} EADD",
        (constant(0, "tag", _EADD_TAG), number(8, 8, "offset"), number(16, 8, "flags", page_flags), zeros(24, 40)),
    )

    offset: int
    flags: PageFlags

    @classmethod
    def parse(cls, data: bytes) -> Self:
        return cls(**cls.LAYOUT.parse(data))

    def encode(self) -> bytes:
        return self.LAYOUT.encode(self)


@dataclass(frozen=True, slots=True)
class Eextend:
    """The 256 bytes that follow, at ``offset`` from the enclave's base, are measured."""

    LAYOUT: ClassVar[Layout] = Layout(
        "EEXTEND",
        f"{_SOURCE} EEXTEND",
        (constant(0, "tag", _EEXTEND_TAG), number(8, 8, "offset"), zeros(16, 48)),
    )

    offset: int

    @classmethod
    def parse(cls, data: bytes) -> Self:
        return cls(**cls.LAYOUT.parse(data))

    def encode(self) -> bytes:
        return self.LAYOUT.encode(self)


@dataclass(frozen=True, slots=True)
class Segment:
    """A run of pages with adjacent addresses and the same flags, added one after the other."""

    offset: int
    """Bytes from the enclave's base."""
    size: int
    """Bytes; whole pages."""
    flags: PageFlags

    @property
    def end(self) -> int:
        """Offset of the first byte after it."""
        return self.offset + self.size


@dataclass(frozen=True, slots=True)
class Sgxs:
    """An enclave before its launch: its range, its pages in the order in which they are added, their contents."""

    ecreate: Ecreate
    segments: tuple[Segment, ...]
    contents: bytes
    """The pages' bytes, in the segments' order."""

    @classmethod
    def parse(cls, data: bytes) -> Self:
        """From a stream in canonical form, whole."""
        contents: list[bytes] = []
        ecreate, segments = read_sgxs(data, contents.append)
        return cls(ecreate, segments, b"".join(contents))

    @property
    def stream_size(self) -> int:
        """Length of the stream (bytes)."""
        return RECORD_SIZE + len(self.contents) // PAGE_SIZE * GROUP_SIZE

    def encode(self) -> bytes:
        """The stream."""
        stream = bytearray(self.stream_size)
        for _ in self.write(memoryview(stream)):
            pass
        return bytes(stream)

    def mr_enclave(self) -> bytes:
        """MRENCLAVE: SHA-256 of the stream, which is never in memory as a whole."""
        digest = hashlib.sha256()
        batch = bytearray(_BATCH * GROUP_SIZE)
        for piece in self._pieces(lambda _, size: memoryview(batch)[:size]):
            digest.update(piece)
        return digest.digest()

    def write(self, stream: memoryview) -> Iterator[int]:
        """Writes the stream into a buffer of ``stream_size`` bytes; yields now and then how many are written."""
        written = 0
        for piece in self._pieces(lambda at, size: stream[at : at + size]):
            written += len(piece)
            yield written

    def linear_contents(self) -> bytes:
        """The pages' bytes in address order, for an enclave whose pages fill its range from 0 without a gap."""
        want, at, runs = 0, 0, []
        for segment in self.segments:
            runs.append((segment.offset, segment.end, at))
            at += segment.size
        ordered = sorted(runs)
        for offset, end, _ in ordered:
            if offset != want:
                raise WireError("SGXS pages", got=f"none at offset {want:#x}", want="pages without gaps from offset 0")
            want = end
        if ordered == runs:
            return self.contents
        return b"".join(self.contents[start : start + end - offset] for offset, end, start in ordered)

    def spans(self) -> Iterator[Span]:
        """The byte ranges of the stream, in order, each record's fields and data."""
        yield from Ecreate.LAYOUT.spans
        at = RECORD_SIZE
        for segment in self.segments:
            for page in range(segment.offset, segment.end, PAGE_SIZE):
                for span in Eadd.LAYOUT.spans:
                    yield span.moved(at, f"page[{page:#x}].eadd.")
                at += RECORD_SIZE
                for chunk in range(page, page + PAGE_SIZE, CHUNK_SIZE):
                    for span in Eextend.LAYOUT.spans:
                        yield span.moved(at, f"page[{page:#x}].eextend[{chunk:#x}].")
                    at += RECORD_SIZE
                    yield Span(f"page[{page:#x}].data[{chunk:#x}]", at, CHUNK_SIZE, Eextend.LAYOUT.source)
                    at += CHUNK_SIZE

    def _pieces(self, place: Callable[[int, int], memoryview]) -> Iterator[memoryview]:
        """Writes the stream in pieces of some pages each, into what ``place`` gives for their offsets and sizes."""
        offsets, flags = _columns(self.segments)
        if len(self.contents) != len(offsets) * PAGE_SIZE:
            raise WireError("SGXS contents", got=f"{len(self.contents)} bytes", want=f"{len(offsets)} pages")
        _check_pages(self.ecreate, offsets, flags)
        start = place(0, RECORD_SIZE)
        start[:] = self.ecreate.encode()
        yield start
        contents = memoryview(self.contents)
        for first in range(0, len(offsets), _BATCH):
            last = min(first + _BATCH, len(offsets))
            groups = place(RECORD_SIZE + first * GROUP_SIZE, (last - first) * GROUP_SIZE)
            _write_groups(
                groups, contents[first * PAGE_SIZE : last * PAGE_SIZE], offsets[first:last], flags[first:last]
            )
            yield groups


def measure_sgxs(stream: bytes) -> bytes:
    """MRENCLAVE of a stream, which is not parsed."""
    return hashlib.sha256(stream).digest()


def walk_sgxs(stream: bytes) -> Iterator[tuple[int, Ecreate | Eadd | Eextend]]:
    """Every record with its offset in the stream, one by one; :class:`WireError` at the first that is wrong."""
    ecreate = Ecreate.parse(_record(stream, 0))
    yield 0, ecreate
    yield from _walk_pages(stream, RECORD_SIZE, ecreate, set())


def _walk_pages(
    stream: bytes, at: int, ecreate: Ecreate, added: set[int]
) -> Iterator[tuple[int, Ecreate | Eadd | Eextend]]:
    """The records from ``at`` on, where the pages in ``added`` came before."""
    while at < len(stream):
        eadd = _walk_eadd(stream, at, ecreate, added)
        yield at, eadd
        at += RECORD_SIZE
        for offset in range(eadd.offset, eadd.offset + PAGE_SIZE, CHUNK_SIZE):
            yield at, _walk_eextend(stream, at, offset)
            at += RECORD_SIZE + CHUNK_SIZE


def _record(stream: bytes, at: int) -> bytes:
    """The 64 bytes of a record."""
    if len(stream) < at + RECORD_SIZE:
        raise WireError("SGXS record", got=f"{len(stream) - at} bytes at {at:#x}", want=f"{RECORD_SIZE} bytes")
    return stream[at : at + RECORD_SIZE]


def _walk_eadd(stream: bytes, at: int, ecreate: Ecreate, added: set[int]) -> Eadd:
    """The EADD at ``at``, checked against what came before it."""
    record = _record(stream, at)
    tag = record[:_WORD]
    if tag == _EEXTEND_TAG:
        offset = Eextend.parse(record).offset
        raise WireError("SGXS record", got=f"EEXTEND of {offset:#x} at {at:#x}", want="EADD: the page is not open")
    if tag != _EADD_TAG:
        raise WireError("SGXS record", got=f"{tag!r} at {at:#x}", want="EADD")
    eadd = Eadd.parse(record)
    if eadd.offset % PAGE_SIZE or eadd.offset >= ecreate.size:
        raise WireError("EADD.offset", got=hex(eadd.offset), want=f"a page's offset below {ecreate.size:#x}")
    if eadd.offset in added:
        raise WireError("EADD.offset", got=f"{eadd.offset:#x} again", want="each page once")
    added.add(eadd.offset)
    return eadd


def _walk_eextend(stream: bytes, at: int, offset: int) -> Eextend:
    """The EEXTEND at ``at``, which must measure ``offset``."""
    if len(stream) < at + RECORD_SIZE or stream[at : at + _WORD] != _EEXTEND_TAG:
        raise WireError("SGXS page", got=f"its chunk at {offset:#x} not measured", want="all chunks measured, in order")
    eextend = Eextend.parse(_record(stream, at))
    if eextend.offset != offset:
        raise WireError("EEXTEND.offset", got=hex(eextend.offset), want=f"{offset:#x}: chunks in order, all measured")
    if len(stream) < at + RECORD_SIZE + CHUNK_SIZE:
        raise WireError("EEXTEND data", got=f"{len(stream) - at - RECORD_SIZE} bytes", want=f"{CHUNK_SIZE} bytes")
    return eextend


def read_sgxs(stream: bytes, take: Callable[[bytes], object]) -> tuple[Ecreate, tuple[Segment, ...]]:
    """Parses a stream as :meth:`Sgxs.parse` does, without keeping a second copy of up to 64 MiB of contents.

    Args:
        stream: in canonical form.
        take: gets the pages' bytes piece by piece, in the segments' order; must forget them if the stream is refused.
    """
    # The fast path compares whole batches of records with the canonical ones.
    ecreate = Ecreate.parse(_record(stream, 0))
    offsets, flags = array("Q"), array("Q")
    end = len(stream) - (len(stream) - RECORD_SIZE) % GROUP_SIZE
    view = memoryview(stream)[:end]
    for at in range(RECORD_SIZE, end, _BATCH * GROUP_SIZE):
        groups = view[at : at + _BATCH * GROUP_SIZE]
        headers = b"".join(chain.from_iterable(_HEADERS_OF_GROUP.iter_unpack(groups)))
        words = memoryview(headers).cast("Q")
        batch_offsets = array("Q", words[1::_HEADER_WORDS].tobytes())
        batch_flags = array("Q", words[2::_HEADER_WORDS].tobytes())
        if max(batch_offsets) >= MAX_ENCLAVE or _headers(batch_offsets, batch_flags) != headers:
            _refuse(stream, at, ecreate, offsets)
        offsets += batch_offsets
        flags += batch_flags
        take(b"".join(chain.from_iterable(_DATA_OF_GROUP.iter_unpack(groups))))
    if end != len(stream):
        _refuse(stream, end, ecreate, offsets)
    _check_pages(ecreate, offsets, flags)
    return ecreate, _segments(offsets, flags)


def _refuse(stream: bytes, at: int, ecreate: Ecreate, offsets: "array[int]") -> NoReturn:
    """Finds what is wrong with the batch of pages at ``at``, which the fast path refused.

    Does not walk through the pages before it again: that takes a hundred times as long as the fast path.
    """
    for _ in _walk_pages(stream[: at + _BATCH * GROUP_SIZE], at, ecreate, set(offsets)):
        pass
    raise WireError("SGXS", got="a stream with irregular records", want="the canonical form")


def page_count(stream: bytes) -> int:
    """The number of pages of a stream of that length, before anything is parsed; WireError for a remainder."""
    return max(0, len(stream) - RECORD_SIZE) // GROUP_SIZE


def read_range(stream: bytes, offset: int, size: int) -> bytes:
    """Reads a range of an enclave without parsing the rest of its stream.

    Args:
        stream: in canonical form, unchecked; where several pages have one address, the first one is read.
        offset: from the enclave's base.
        size: bytes; fewer are returned where pages are missing.
    """
    first, end = offset // PAGE_SIZE, -(-(offset + size) // PAGE_SIZE)
    places: dict[int, int] = {}
    groups = range(RECORD_SIZE, RECORD_SIZE + page_count(stream) * GROUP_SIZE, GROUP_SIZE)
    for candidates in (groups[first:end], groups):  # pages lie in address order, mostly
        for at in candidates:
            if first <= (page := _page_at(stream, at)) < end:
                places.setdefault(page, at)
        if len(places) == end - first:
            break
    run = bytearray()
    for page in range(first, end):
        if page not in places:
            break
        run += b"".join(_DATA_OF_GROUP.unpack_from(stream, places[page]))
    return bytes(run[offset - first * PAGE_SIZE :][:size])


def _page_at(stream: bytes, at: int) -> int:
    """The number of the page that the group at ``at`` adds; -1 where its offset is not a multiple of the page size."""
    page, rest = divmod(int.from_bytes(stream[at + _WORD : at + 2 * _WORD], "little"), PAGE_SIZE)
    return -1 if rest else page


def _headers(offsets: "array[int]", flags: "array[int]") -> bytes:
    """The records of some pages in canonical form, without the pages' data."""
    headers = bytearray(_GROUP_HEADERS * len(offsets))
    _write_numbers(memoryview(headers).cast("Q"), _HEADER_WORDS, _RECORD_WORDS, offsets, flags)
    return bytes(headers)


def _write_groups(groups: memoryview, contents: memoryview, offsets: "array[int]", flags: "array[int]") -> None:
    """Writes the records of some pages in canonical form, with the pages' data."""
    at = 0
    for chunks in _CHUNKS_OF_PAGE.iter_unpack(contents):
        _DATA_OF_GROUP.pack_into(groups, at, *chunks)  # sets the records to zero
        at += GROUP_SIZE
    words = groups.cast("Q")
    words[::_GROUP_WORDS] = memoryview(_EADD_TAG * len(offsets)).cast("Q")
    tags = memoryview(_EEXTEND_TAG * len(offsets)).cast("Q")
    for word in range(_RECORD_WORDS, _GROUP_WORDS, _RECORD_WORDS + CHUNK_SIZE // _WORD):
        words[word::_GROUP_WORDS] = tags
    _write_numbers(words, _GROUP_WORDS, _RECORD_WORDS + CHUNK_SIZE // _WORD, offsets, flags)


def _write_numbers(
    words: memoryview, page_words: int, chunk_words: int, offsets: "array[int]", flags: "array[int]"
) -> None:
    """Writes the offsets and flags of some pages' records.

    Args:
        words: the records as 64-bit words, a page's EADD first.
        page_words: from one page's EADD to the next one's.
        chunk_words: from one EEXTEND to the next one.
        offsets: of the pages.
        flags: of the pages.
    """
    words[1::page_words] = memoryview(offsets)
    words[2::page_words] = memoryview(flags)
    # One long integer holds all offsets as 64-bit lanes, so one addition moves them all to the next chunk. No lane
    # overflows: offsets are below MAX_ENCLAVE.
    lanes = int.from_bytes(offsets.tobytes(), "little")
    step = int.from_bytes(CHUNK_SIZE.to_bytes(_WORD, "little") * len(offsets), "little")
    for word in range(_RECORD_WORDS + 1, page_words, chunk_words):
        words[word::page_words] = memoryview(lanes.to_bytes(_WORD * len(offsets), "little")).cast("Q")
        lanes += step


def _columns(segments: tuple[Segment, ...]) -> "tuple[array[int], array[int]]":
    """Offset and flags of each page, in order."""
    offsets, flags = array("Q"), array("Q")
    for segment in segments:
        if segment.size <= 0 or segment.size % PAGE_SIZE or not 0 <= segment.offset <= MAX_ENCLAVE - segment.size:
            raise WireError("SGXS segment", got=f"{segment.offset:#x}+{segment.size:#x}", want="whole pages in range")
        offsets.extend(range(segment.offset, segment.end, PAGE_SIZE))
        flags.extend([segment.flags] * (segment.size // PAGE_SIZE))
    return offsets, flags


def _check_pages(ecreate: Ecreate, offsets: "array[int]", flags: "array[int]") -> None:
    """Checks that pages are aligned, inside the enclave, added once, and have flags that EADD accepts."""
    if not offsets:
        raise WireError("SGXS pages", got="none", want="at least one")
    for offset in offsets:
        if offset % PAGE_SIZE or offset >= ecreate.size:
            raise WireError("EADD.offset", got=hex(offset), want=f"a page's offset below {ecreate.size:#x}")
    if len(set(offsets)) != len(offsets):
        raise WireError("EADD.offset", got="a page's offset again", want="each page once")
    for flag in set(flags):
        if flag not in _ALLOWED_FLAGS:
            raise WireError("EADD.flags", got=hex(flag), want="a regular page or a TCS, as EADD takes them")


def _segments(offsets: "array[int]", flags: "array[int]") -> tuple[Segment, ...]:
    """The pages, gathered to segments."""
    segments: list[Segment] = []
    start, run_flags, want = offsets[0], flags[0], offsets[0]
    for offset, flag in zip(offsets, flags, strict=True):
        if offset != want or flag != run_flags:
            segments.append(Segment(start, want - start, PageFlags(run_flags)))
            start, run_flags = offset, flag
        want = offset + PAGE_SIZE
    segments.append(Segment(start, want - start, PageFlags(run_flags)))
    return tuple(segments)
