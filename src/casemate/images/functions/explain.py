"""The file that each page of an image came from."""

from dataclasses import dataclass

from casemate.images.image import Image
from casemate.images.layout import page_flags_of, read_pages
from casemate.wire.errors import WireError
from casemate.wire.sgx.sgxs import DATA_PAGE, PAGE_SIZE, PageFlags, Segment

INDEX_NAME = "(index)"
"""The name of the pages before the first file."""


@dataclass(frozen=True, slots=True)
class PageRange:
    """Neighbouring pages with the same origin."""

    offset: int
    """Offset of the first page from the enclave's base."""
    pages: int
    path: str
    """The measured file, or :data:`INDEX_NAME`."""
    size: int
    """Bytes of the file; the rest of its last page is zeros."""
    flags: PageFlags
    sha256: bytes | None
    """SHA-256 of the file; None for the index."""

    @property
    def end(self) -> int:
        """Offset of the first byte after the pages."""
        return self.offset + self.pages * PAGE_SIZE


def explain_pages(image: Image) -> tuple[PageRange, ...]:
    """The origin of every page of the image, in address order.

    Raises:
        WireError: the stream or its index is malformed, or a page has other flags than its file should have.
        ManifestError: the manifest in the pages breaks a rule.
    """
    sgxs = image.parse_sgxs()
    contents = read_pages(sgxs.linear_contents())
    entries = contents.index.entries
    index_end = entries[0].offset if entries else len(sgxs.contents)
    ranges = [PageRange(0, index_end // PAGE_SIZE, INDEX_NAME, index_end, DATA_PAGE, None)]
    ranges += [
        PageRange(entry.offset, -(-entry.size // PAGE_SIZE), entry.path, entry.size, flags, entry.sha256)
        for entry in entries
        for flags in [page_flags_of(entry.path)]
    ]
    _check_flags(ranges, sorted(sgxs.segments, key=lambda segment: segment.offset))
    return tuple(ranges)


def _check_flags(ranges: list[PageRange], segments: list[Segment]) -> None:
    """Checks that the stream adds all pages with the flags of their files; both lists are in address order."""
    first = 0
    for found in ranges:
        while first < len(segments) and segments[first].end <= found.offset:
            first += 1
        at = first
        while at < len(segments) and segments[at].offset < found.end:
            if segments[at].flags != found.flags:
                raise WireError(f"EADD.flags of {found.path!r}", got=segments[at].flags.name, want=found.flags.name)
            at += 1
