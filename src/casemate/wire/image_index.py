"""The index at the front of an image's pages: which file lies where, and which import means which module.

Page 0 and as many after it as it needs hold a magic, the version, the index's length and the index, zero padded to a
whole page. The files follow in the order of their paths, each from a page's start and zero padded, with no page between
them or after the last: an image has no place where something unnamed could hide, and one layout for each folder.
"""

import hashlib
import itertools
from dataclasses import dataclass
from typing import Annotated

from casemate.wire.errors import WireError
from casemate.wire.fields import Reader
from casemate.wire.message import U32, U64, Bytes32, Limit, encode_fields, parse_fields

PAGE_SIZE = 4096
"""Bytes of an SGX page."""

MAGIC = b"casemate"
VERSION = 1
HEADER_SIZE = len(MAGIC) + 2 + 4
"""Magic, version (u16), length of the index (u32)."""

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
    """From the enclave's base; a multiple of the page size."""
    size: U64
    """Bytes, without the padding."""
    sha256: Bytes32

    def __post_init__(self) -> None:
        check_path(self.path)


@dataclass(frozen=True, slots=True)
class Link:
    """What one module means by one import specifier; resolved at build time, so the guest resolves nothing."""

    importer: Path
    specifier: Annotated[str, Limit(512)]
    target: Path
    start: U32
    """Offset of the specifier's opening quote in the importer's bytes: there the target's own name is put instead."""
    end: U32
    """Offset of the first byte after its closing quote."""

    def __post_init__(self) -> None:
        check_path(self.importer)
        check_path(self.target)
        if self.end != self.start + len(self.specifier.encode()) + 2:
            raise WireError("Link.end", got=self.end, want="the specifier and two quotes after its start")


@dataclass(frozen=True, slots=True)
class ImageIndex:
    """All measured files in the order of their paths, and all links in order."""

    entries: tuple[Entry, ...]
    links: tuple[Link, ...]

    def __post_init__(self) -> None:
        paths = [entry.path for entry in self.entries]
        _check_rising("ImageIndex.entries", [path.encode() for path in paths])
        _check_rising("ImageIndex.links", [(link.importer.encode(), link.start.to_bytes(8)) for link in self.links])
        known = set(paths)
        for link in self.links:
            for path in (link.importer, link.target):
                if path not in known:
                    raise WireError("ImageIndex.links", got=repr(path), want="the path of an entry")

    def encode(self) -> bytes:
        """The index as whole pages."""
        body = encode_fields(self)
        head = MAGIC + VERSION.to_bytes(2, "little") + len(body).to_bytes(4, "little")
        return padded(head + body)

    def entry(self, path: str) -> Entry:
        """The entry of that path, or :class:`WireError`."""
        for entry in self.entries:
            if entry.path == path:
                return entry
        raise WireError("ImageIndex.entries", got=f"no {path!r}", want=f"{path!r} among the measured files")


def parse_index(pages: bytes) -> ImageIndex:
    """The index at the front of an image's pages, its layout checked against them; no file's hash is checked."""
    reader = Reader("ImageIndex", pages)
    reader.expect("magic", MAGIC)
    if (version := reader.uint("version", 2)) != VERSION:
        raise WireError("ImageIndex.version", got=version, want=VERSION)
    index = parse_fields(ImageIndex, reader.take("body", reader.uint("length", 4)))
    padding = -reader.offset % PAGE_SIZE
    reader.zero("padding", padding)
    _check_layout(index, reader.offset, len(pages))
    return index


def file_of(pages: bytes, entry: Entry) -> bytes:
    """The bytes of one file, its hash and its padding checked."""
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
    """Refuses a path that is not relative and in one spelling: no ``.``, ``..``, empty part or control character."""
    if any(part in ("", ".", "..") for part in path.split("/")) or "\\" in path or not path.isprintable():
        raise WireError("path", got=repr(path), want="a relative path of plain parts, joined by /")


def _check_rising(field: str, keys: list[bytes] | list[tuple[bytes, bytes]]) -> None:
    for before, after in itertools.pairwise(keys):
        if not before < after:  # type: ignore[operator] # both of one kind
            raise WireError(field, got=f"{after!r} after {before!r}", want="each once, in rising order of bytes")


def _check_layout(index: ImageIndex, start: int, size: int) -> None:
    """Every file where the one before it ends, the last at the end of the pages."""
    offset = start
    for entry in index.entries:
        if entry.offset != offset:
            raise WireError(f"Entry.offset of {entry.path!r}", got=entry.offset, want=offset)
        offset += entry.size + padding_of(entry.size)
    if offset != size:
        raise WireError("ImageIndex", got=f"files that end at {offset}", want=f"files up to the pages' end, {size}")
