"""The index at the start of an image's pages: the place of each file, and the module that each import means.

The first pages hold a head of fixed width (:class:`Head`) and the index, padded with zeros to a whole page. The head
names the engine and the place of the runtime lock, so that a chip finds both without reading the index. The files
follow in the order of their paths, each from the start of a page and padded with zeros, with no page between them or
after the last. So an image has no unnamed bytes, and each folder has exactly one layout.
"""

import hashlib
import itertools
import re
from collections.abc import Callable
from dataclasses import dataclass
from typing import Annotated

from casemate.wire.encodings.fields import Reader
from casemate.wire.encodings.message import U32, U64, Bytes32, Limit, encode_fields, parse_fields
from casemate.wire.errors import WireError

PAGE_SIZE = 4096
"""Bytes of an SGX page."""

MAGIC = b"casemate"
VERSION = 2
ENGINE_SIZE = 16
HEAD_SIZE = len(MAGIC) + 2 + ENGINE_SIZE + 8 + 8 + 4
"""Magic, version (u16), engine (zero padded), offset and size of the runtime lock (u64), length of the index (u32)."""

MAX_INDEX = 2 * 1024 * 1024
"""Longest index (bytes)."""
MAX_ENTRIES = 4096
"""Most measured files. A folder with more probably holds unbundled dependencies."""
MAX_LINKS = 16_384
"""Most imports of all modules together."""

_ENGINE = re.compile(rf"[a-z][a-z0-9-]{{0,{ENGINE_SIZE - 1}}}", re.ASCII)

MANIFEST_PATH = "casemate.toml"
LOCK_PATH = "casemate.lock"
"""The runtime lock: which runtime each platform must run the image with."""

Path = Annotated[str, Limit(512)]
"""A file's path below the image's folder, with ``/`` between its parts."""


@dataclass(frozen=True, slots=True)
class Entry:
    """One measured file."""

    path: Path
    offset: U64
    """Offset from the enclave's base, a multiple of the page size."""
    size: U64
    """Bytes, without the padding."""
    sha256: Bytes32

    def __post_init__(self) -> None:
        check_path(self.path)


@dataclass(frozen=True, slots=True)
class Link:
    """An import specifier in one module, and the module that it means.

    The build resolves imports; the guest resolves none.
    """

    importer: Path
    specifier: Annotated[str, Limit(512)]
    target: Path
    start: U32
    """Offset of the specifier's opening quote in the importer. The engine gets the target's path in place of the
    specifier."""
    end: U32
    """Offset of the first byte after its closing quote."""

    def __post_init__(self) -> None:
        check_path(self.importer)
        check_path(self.target)
        if self.end != self.start + len(self.specifier.encode()) + 2:
            raise WireError("Link.end", got=self.end, want="the specifier and two quotes after its start")


class OtherImageVersionError(WireError):
    """The image was built by another version of Casemate."""


@dataclass(frozen=True, slots=True)
class Head:
    """The first bytes of an image's pages: everything about the layout that a chip needs."""

    engine: str
    """The engine that runs the guest's code, as in the manifest."""
    lock_offset: int
    """Offset of the runtime lock's first byte from the enclave's base; 0 where there is no lock."""
    lock_size: int
    """Bytes."""
    index_size: int
    """Bytes."""

    @classmethod
    def parse(cls, pages: bytes) -> "Head":
        """Parses the start of an image's pages; checks nothing after the head."""
        reader = Reader("ImageIndex", pages[:HEAD_SIZE])
        reader.expect("magic", MAGIC)
        if (version := reader.uint("version", 2)) != VERSION:
            raise OtherImageVersionError("ImageIndex.version", got=version, want=VERSION)
        engine = reader.take("engine", ENGINE_SIZE).rstrip(b"\x00").decode("ascii", "replace")
        check_engine(engine)
        head = cls(engine, reader.uint("lock_offset", 8), reader.uint("lock_size", 8), reader.uint("length", 4))
        if head.index_size > MAX_INDEX:
            raise WireError("ImageIndex.length", got=head.index_size, want=f"at most {MAX_INDEX}")
        return head

    def encode(self) -> bytes:
        return b"".join((
            MAGIC,
            VERSION.to_bytes(2, "little"),
            self.engine.encode("ascii").ljust(ENGINE_SIZE, b"\x00"),
            self.lock_offset.to_bytes(8, "little"),
            self.lock_size.to_bytes(8, "little"),
            self.index_size.to_bytes(4, "little"),
        ))  # fmt: skip

    def lock(self, read: Callable[[int, int], bytes], *, limit: int) -> bytes:
        """The runtime lock's bytes.

        Args:
            read: gives what the image's pages hold from an offset on: so many bytes, or fewer where the pages end.
            limit: the longest lock (bytes); no more are read.

        Raises:
            WireError: there is none, it is longer than ``limit``, or it does not lie inside the pages.
        """
        if self.lock_offset == 0:
            raise WireError(LOCK_PATH, got="missing", want="a runtime lock among the measured files")
        if self.lock_size <= limit:
            lock = read(self.lock_offset, self.lock_size)
            if len(lock) == self.lock_size:
                return lock
        raise WireError(
            LOCK_PATH,
            got=f"{self.lock_size} bytes at {self.lock_offset}",
            want=f"at most {limit} bytes inside the pages",
        )


@dataclass(frozen=True, slots=True)
class _Body:
    """The fields that are encoded after the head."""

    entries: Annotated[tuple[Entry, ...], Limit(MAX_ENTRIES)]
    links: Annotated[tuple[Link, ...], Limit(MAX_LINKS)]


@dataclass(frozen=True, slots=True)
class ImageIndex:
    """All measured files in the order of their paths, all links in order, and the guest's engine."""

    entries: tuple[Entry, ...]
    links: tuple[Link, ...]
    engine: str

    def __post_init__(self) -> None:
        check_engine(self.engine)
        paths = [entry.path for entry in self.entries]
        _check_rising("ImageIndex.entries", [path.encode() for path in paths])
        _check_rising("ImageIndex.links", [(link.importer.encode(), link.start.to_bytes(8)) for link in self.links])
        known = set(paths)
        for link in self.links:
            for path in (link.importer, link.target):
                if path not in known:
                    raise WireError("ImageIndex.links", got=repr(path), want="the path of an entry")

    def encode(self) -> bytes:
        """Head and index as whole pages; WireError where they are longer than :data:`MAX_INDEX` allows."""
        body = encode_fields(_Body(self.entries, self.links))
        if len(body) > MAX_INDEX:
            raise WireError(
                "ImageIndex", got=f"{len(body)} bytes", want=f"at most {MAX_INDEX}: fewer files and imports"
            )
        return padded(self.head(len(body)).encode() + body)

    def head(self, index_size: int) -> Head:
        """The head of an index of that length (bytes)."""
        for entry in self.entries:
            if entry.path == LOCK_PATH:
                return Head(self.engine, entry.offset, entry.size, index_size)
        return Head(self.engine, 0, 0, index_size)

    def entry(self, path: str) -> Entry:
        """The entry of that path, or :class:`WireError`."""
        for entry in self.entries:
            if entry.path == path:
                return entry
        raise WireError("ImageIndex.entries", got=f"no {path!r}", want=f"{path!r} among the measured files")


def parse_index(pages: bytes) -> ImageIndex:
    """The index at the start of an image's pages: the place of each file, and the module that each import means.

    The first pages hold a head of fixed width (:class:`Head`) and the index, padded with zeros to a whole page. The
    head names the engine and the place of the runtime lock, so that a chip finds both without reading the index. The
    files follow in the order of their paths, each from the start of a page and padded with zeros, with no page between
    them or after the last. So an image has no unnamed bytes, and each folder has exactly one layout.
    """
    head = Head.parse(pages)
    reader = Reader("ImageIndex", pages[HEAD_SIZE : HEAD_SIZE + head.index_size + PAGE_SIZE])
    body = parse_fields(_Body, reader.take("body", head.index_size))
    index = ImageIndex(body.entries, body.links, head.engine)
    if index.head(head.index_size) != head:
        raise WireError(LOCK_PATH, got=f"{head.lock_size} bytes at {head.lock_offset}", want=f"where {LOCK_PATH} lies")
    padding = padding_of(HEAD_SIZE + head.index_size)
    reader.zero("padding", padding)
    _check_layout(index, HEAD_SIZE + head.index_size + padding, len(pages))
    return index


def parse_entries(read: Callable[[int, int], bytes]) -> tuple[Entry, ...]:
    """The measured files of an image, for who does not have its pages in one piece; their layout is not checked.

    Args:
        read: as for :meth:`Head.lock`.

    Raises:
        WireError: head or index is malformed.
    """
    head = Head.parse(read(0, HEAD_SIZE))
    return parse_fields(_Body, read(HEAD_SIZE, head.index_size)).entries


def file_of(pages: bytes, entry: Entry) -> bytes:
    """The bytes of one file, after checking its hash and its padding."""
    reader = Reader(f"file {entry.path!r}", pages[entry.offset : entry.offset + entry.size + padding_of(entry.size)])
    content = reader.take("content", entry.size)
    reader.zero("padding", padding_of(entry.size))
    digest = hashlib.sha256(content).digest()
    if digest != entry.sha256:
        raise WireError(f"Entry.sha256 of {entry.path!r}", got=digest.hex(), want=entry.sha256.hex())
    return content


def padding_of(size: int) -> int:
    """How many zero bytes fill the last page of ``size`` bytes; an empty file has no page."""
    return -size % PAGE_SIZE


def padded(content: bytes) -> bytes:
    """``content`` with zeros up to a whole page."""
    return content + bytes(padding_of(len(content)))


def check_path(path: str) -> None:
    """Refuses an absolute path, and one with another spelling: ``.``, ``..``, empty parts, control characters."""
    if any(part in ("", ".", "..") for part in path.split("/")) or "\\" in path or not path.isprintable():
        raise WireError("path", got=repr(path), want="a relative path of plain parts, joined by /")


def check_engine(name: str) -> None:
    """Refuses what cannot be an engine's name."""
    if not _ENGINE.fullmatch(name):
        raise WireError("ImageIndex.engine", got=repr(name)[:80], want="an engine's name such as javascript")


def _check_rising(field: str, keys: list[bytes] | list[tuple[bytes, bytes]]) -> None:
    for before, after in itertools.pairwise(keys):
        if not before < after:  # type: ignore[operator] # both of one kind
            raise WireError(field, got=f"{after!r} after {before!r}", want="each once, in rising order of bytes")


def _check_layout(index: ImageIndex, start: int, size: int) -> None:
    """Checks that each file starts on the page after the one before it, and that the last ends with the pages."""
    offset = start
    for entry in index.entries:
        if entry.offset != offset:
            raise WireError(f"Entry.offset of {entry.path!r}", got=entry.offset, want=offset)
        offset += entry.size + padding_of(entry.size)
    if offset != size:
        raise WireError("ImageIndex", got=f"files that end at {offset}", want=f"files up to the pages' end, {size}")
