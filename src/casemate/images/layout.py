"""Files to pages, and pages to what an enclave needs at boot.

The index and its rules are in :mod:`casemate.wire.protocol.image_index`. This module gives files their places and page
flags, and reads manifest, runtime lock and modules from the pages of a running enclave. It checks everything: the chip
only guarantees that the pages are the measured ones, not that they make sense.
"""

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass, replace
from graphlib import CycleError, TopologicalSorter
from types import MappingProxyType

from casemate.images.errors import FolderError
from casemate.images.schemas.compiled import CompiledSchemas, compile_schemas
from casemate.wire.errors import WireError
from casemate.wire.messages.leaf import MAX_PAGES
from casemate.wire.protocol.image_index import (
    LOCK_PATH,
    MANIFEST_PATH,
    PAGE_SIZE,
    Entry,
    ImageIndex,
    Link,
    file_of,
    padded,
    parse_index,
)
from casemate.wire.protocol.manifest import Engine, Manifest
from casemate.wire.protocol.manifest_text import MAIN_FILES, parse_manifest
from casemate.wire.protocol.runtime_lock import RuntimeLock
from casemate.wire.sgx.sgxs import CODE_PAGE, DATA_PAGE, MIN_ENCLAVE, Ecreate, PageFlags, Segment, Sgxs

GUEST = "guest/"
"""Folder of the guest's code."""
SCHEMAS = "schemas/"
CODE_SUFFIXES = tuple(suffix for _, suffixes in MAIN_FILES.values() for suffix in suffixes)

SSA_FRAME_SIZE = 1
"""Pages of a state save area: x87 and SSE state fit one. SIMULATED: no thread ever saves its state there."""


@dataclass(frozen=True, slots=True)
class Module:
    """A file of the guest's code, and the places of its import specifiers."""

    path: str
    source: bytes
    links: tuple[Link, ...]
    """The module's imports, in the order of their places in ``source``."""


@dataclass(frozen=True, slots=True)
class ImageContents:
    """The contents of an image's pages."""

    index: ImageIndex
    manifest: Manifest
    schemas: CompiledSchemas
    """The manifest's."""
    lock: RuntimeLock
    files: Mapping[str, bytes]
    """Every measured file by its path."""

    def modules(self) -> tuple[Module, ...]:
        """What the guest is given, the main module last.

        JavaScript: the main module and all that it imports, each after those that it imports. Python: all files of the
        guest's, in the order of their paths, since its modules find each other by name.
        """
        main = self.manifest.main
        if self.manifest.engine is Engine.PYTHON:
            paths = [path for path in self.files if path.startswith(GUEST) and path != main]
            return tuple(Module(path, self.files[path], ()) for path in (*paths, main))
        order = load_order(self.index.links, [main])
        links: dict[str, list[Link]] = {}
        for link in self.index.links:  # in the order in which they stand in their importer
            links.setdefault(link.importer, []).append(link)
        return tuple(Module(path, self.files[path], tuple(links.get(path, ()))) for path in order)


def is_code(path: str) -> bool:
    """Whether a file is code of the guest, whose pages may be executed."""
    return path.startswith(GUEST) and path.endswith(CODE_SUFFIXES)


def lay_out(files: Mapping[str, bytes], links: tuple[Link, ...], *, engine: str) -> Sgxs:
    """Lays out the enclave of these files: the index, then each file from the start of a page, in path order.

    Args:
        files: by their paths.
        links: all imports.
        engine: runs the guest's code; as the manifest among the files says.

    Raises:
        FolderError: the pages are more than an enclave may have.
        WireError: a path is not valid, a link names no file, or there are more files or imports than an index may have.
    """
    paths = sorted(files, key=str.encode)
    entries = tuple(
        Entry(path, offset=0, size=len(files[path]), sha256=hashlib.sha256(files[path]).digest()) for path in paths
    )
    # Offsets have a fixed width in the index, so its length is known before they are.
    offset = len(ImageIndex(entries, links, engine).encode())
    placed = []
    for entry in entries:
        placed.append(replace(entry, offset=offset))
        offset += len(padded(files[entry.path]))
    if offset > MAX_PAGES:
        raise FolderError(f"the image takes {offset} bytes of pages, at most {MAX_PAGES} are allowed")
    index = ImageIndex(tuple(placed), links, engine).encode()
    return Sgxs(
        ecreate=Ecreate(SSA_FRAME_SIZE, max(MIN_ENCLAVE, 1 << (offset - 1).bit_length())),
        segments=_segments(len(index), placed),
        contents=index + b"".join(padded(files[path]) for path in paths),
    )


def _segments(index_size: int, entries: list[Entry]) -> tuple[Segment, ...]:
    """Runs of pages with the same flags; neighbours are merged, as they are in a parsed stream."""
    segments = [Segment(0, index_size, DATA_PAGE)]
    for entry in entries:
        flags = page_flags_of(entry.path)
        size = -(-entry.size // PAGE_SIZE) * PAGE_SIZE
        if size == 0:
            continue
        last = segments[-1]
        if last.flags == flags:
            segments[-1] = replace(last, size=last.size + size)
        else:
            segments.append(Segment(last.end, size, flags))
    return tuple(segments)


def page_flags_of(path: str) -> PageFlags:
    """The SECINFO flags of a file's pages: code may be executed, nothing may be written."""
    return CODE_PAGE if is_code(path) else DATA_PAGE


def read_pages(pages: bytes) -> ImageContents:
    """Reads and checks the pages of an enclave.

    Args:
        pages: in address order, from the enclave's base.

    Raises:
        WireError: the pages, the lock or a link are malformed.
        ManifestError: the manifest or a schema breaks a rule.
    """
    index = parse_index(pages)
    files = {entry.path: file_of(pages, entry) for entry in index.entries}
    for path in (MANIFEST_PATH, LOCK_PATH):
        index.entry(path)
    for link in index.links:
        _check_link(link, files[link.importer])
    manifest = parse_manifest(files[MANIFEST_PATH], files.get)
    if index.engine != manifest.engine:  # the chip has checked the runtime lock for the index's
        raise WireError("ImageIndex.engine", got=repr(index.engine), want=f"{manifest.engine}, as in the manifest")
    return ImageContents(
        index=index,
        manifest=manifest,
        schemas=compile_schemas(manifest),
        lock=RuntimeLock.parse(files[LOCK_PATH]),
        files=MappingProxyType(files),
    )


def _check_link(link: Link, source: bytes) -> None:
    """Checks that the link's specifier is in the source where the link says."""
    literal = source[link.start : link.end]
    if literal not in (f'"{link.specifier}"'.encode(), f"'{link.specifier}'".encode()):
        raise WireError(f"Link.start in {link.importer!r}", got=repr(literal)[:80], want=f"{link.specifier!r} quoted")


_SHOWN = 8
"""Most modules of a cycle that an error names."""


class CircularImportsError(WireError):
    """Modules import each other, so none of them can be loaded first.

    Args:
        circle: their paths, the first again at the end.
    """

    def __init__(self, circle: tuple[str, ...]) -> None:
        shown = circle if len(circle) <= _SHOWN else (*circle[: _SHOWN - 1], "...", circle[-1])
        super().__init__("ImageIndex.links", got=" -> ".join(shown), want="imports without circles")
        self.circle = circle


def load_order(links: tuple[Link, ...], mains: list[str]) -> tuple[str, ...]:
    """These modules and all they import, each after those that it imports; the same order for the same links."""
    targets: dict[str, set[str]] = {}
    for link in links:
        targets.setdefault(link.importer, set()).add(link.target)
    reached: dict[str, list[str]] = {}
    found = list(mains)
    while found:
        path = found.pop()
        if path not in reached:
            reached[path] = sorted(targets.get(path, ()))  # sets have no order of their own
            found += reached[path]
    sorter = TopologicalSorter(reached)
    try:
        sorter.prepare()
    except CycleError as error:
        raise CircularImportsError(_from_first(error.args[1])) from None
    order: list[str] = []
    while sorter.is_active():
        ready = sorter.get_ready()
        order += ready
        sorter.done(*ready)
    return tuple(order)


def _from_first(cycle: list[str]) -> tuple[str, ...]:
    """A cycle from :mod:`graphlib`, which puts each imported module before its importer, with importers first."""
    names = cycle[:0:-1]
    first = names.index(min(names))
    return (*names[first:], *names[: first + 1])
