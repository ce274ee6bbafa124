import hashlib
from collections.abc import Callable
from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from casemate.wire.errors import WireError
from casemate.wire.protocol.image_index import (
    HEAD_SIZE,
    MAX_ENTRIES,
    MAX_INDEX,
    MAX_LINKS,
    PAGE_SIZE,
    Entry,
    Head,
    ImageIndex,
    Link,
    check_path,
    file_of,
    padded,
    parse_index,
)

FILES = {
    "casemate.lock": b"lock",
    "casemate.toml": b"manifest",
    "guest/a.js": b"",
    "guest/main.js": b'import "./a.js"' * 300,
}


def _index() -> ImageIndex:
    offset, entries = PAGE_SIZE, []
    for path, content in FILES.items():
        entries.append(Entry(path, offset, len(content), hashlib.sha256(content).digest()))
        offset += len(padded(content))
    return ImageIndex(tuple(entries), (Link("guest/main.js", "./a.js", "guest/a.js", 7, 15),), "javascript")


INDEX = _index()
PAGES = INDEX.encode() + b"".join(map(padded, FILES.values()))


def test_an_index_and_its_files_come_back_as_they_were() -> None:
    index = parse_index(PAGES)
    assert index == INDEX
    assert {entry.path: file_of(PAGES, entry) for entry in index.entries} == FILES
    assert len(INDEX.encode()) == PAGE_SIZE


def test_an_entry_is_found_by_its_path() -> None:
    assert INDEX.entry("guest/a.js").size == 0
    with pytest.raises(WireError, match=r"no 'guest/b\.js'"):
        INDEX.entry("guest/b.js")


@pytest.mark.parametrize("path", ["", "/a", "a/", "a//b", ".", "..", "a/../b", "./a", "a\\b", "a\nb", "a\0b"])
def test_refuses_a_path_in_another_spelling(path: str) -> None:
    with pytest.raises(WireError, match="path is"):
        check_path(path)


def test_refuses_entries_out_of_order_or_twice() -> None:
    for entries in (INDEX.entries[::-1], INDEX.entries[:1] * 2):
        with pytest.raises(WireError, match=r"ImageIndex\.entries"):
            ImageIndex(entries, (), "javascript")


def test_refuses_links_out_of_order_twice_or_to_nowhere() -> None:
    link = INDEX.links[0]
    later = replace(link, start=50, end=58)
    ImageIndex(INDEX.entries, (link, later), "javascript")
    for links in ((later, link), (link, link), (replace(link, target="guest/b.js"),)):
        with pytest.raises(WireError, match=r"ImageIndex\.links"):
            ImageIndex(INDEX.entries, links, "javascript")


def test_refuses_a_link_of_another_length_than_its_specifiers() -> None:
    with pytest.raises(WireError, match=r"Link\.end"):
        replace(INDEX.links[0], end=16)


@pytest.mark.parametrize(
    ("pages", "reason"),
    [
        (b"", "magic"),
        (b"casemata" + PAGES[8:], "magic"),
        (PAGES[:8] + b"\x01" + PAGES[9:], "version is 1, the format wants 2"),
        (PAGES[:10] + b"Java" + PAGES[14:], r"engine is 'Java"),
        (PAGES[:25] + b"x" + PAGES[26:], "engine"),
        (PAGES[:26] + b"\x00\x20" + PAGES[28:], r"casemate\.lock is 4 bytes at 8192"),
        (PAGES[:34] + b"\x05" + PAGES[35:], r"casemate\.lock is 5 bytes at 4096"),
        (PAGES[:42] + b"\xff\xff\xff\xff" + PAGES[46:], f"length is .* at most {MAX_INDEX}"),
        (PAGES[:42] + MAX_INDEX.to_bytes(4, "little") + PAGES[46:], "body"),
        (PAGES[: PAGE_SIZE - 1] + b"\x01" + PAGES[PAGE_SIZE:], "padding"),
        (PAGES[:-PAGE_SIZE], "up to the pages' end"),
        (PAGES + bytes(PAGE_SIZE), "up to the pages' end"),
    ],
)
def test_refuses_pages_that_the_index_does_not_describe(pages: bytes, reason: str) -> None:
    with pytest.raises(WireError, match=reason):
        parse_index(pages)


def _reader(pages: bytes) -> Callable[[int, int], bytes]:
    return lambda offset, size: pages[offset : offset + size]


def test_the_head_tells_a_chip_where_the_lock_is_and_what_runs_the_guest() -> None:
    head = Head.parse(PAGES[:HEAD_SIZE])
    assert head.engine == "javascript"
    assert head.lock(_reader(PAGES), limit=4) == b"lock"
    assert head.encode() == PAGES[:HEAD_SIZE]
    with pytest.raises(WireError, match="at most 3 bytes"):
        head.lock(_reader(PAGES), limit=3)
    with pytest.raises(WireError, match="4 bytes at 4096"):
        head.lock(_reader(PAGES[:4099]), limit=4)
    without = ImageIndex(tuple(entry for entry in INDEX.entries if entry.path != "casemate.lock"), (), "javascript")
    with pytest.raises(WireError, match="lock is missing"):
        Head.parse(without.encode()).lock(_reader(PAGES), limit=4)


@pytest.mark.parametrize("engine", ["", "Java", "a b", "x" * 17, "\u00e9", "a\n"])
def test_refuses_what_is_no_engines_name(engine: str) -> None:
    with pytest.raises(WireError, match=r"ImageIndex\.engine"):
        ImageIndex((), (), engine)


def test_no_more_files_and_imports_than_a_reader_takes() -> None:
    entries = tuple(Entry(f"guest/{at:05}.js", PAGE_SIZE, 0, bytes(32)) for at in range(MAX_ENTRIES + 1))
    with pytest.raises(WireError, match=f"{MAX_ENTRIES + 1} items"):
        ImageIndex(entries, (), "javascript").encode()
    links = tuple(Link("guest/main.js", "", "guest/a.js", at, at + 2) for at in range(MAX_LINKS + 1))
    with pytest.raises(WireError, match=f"{MAX_LINKS + 1} items"):
        ImageIndex(INDEX.entries, links, "javascript").encode()
    long = tuple(Link("guest/main.js", "x" * 400, "guest/a.js", at, at + 402) for at in range(5000))
    with pytest.raises(WireError, match=f"at most {MAX_INDEX}"):
        ImageIndex(INDEX.entries, long, "javascript").encode()


@given(st.lists(st.tuples(st.integers(0, 400), st.integers(1, 255)), min_size=1, max_size=3))
def test_a_changed_index_is_another_index_or_a_wire_error(changes: list[tuple[int, int]]) -> None:
    pages = bytearray(PAGES)
    for at, bits in changes:
        pages[at] ^= bits
    try:
        index = parse_index(bytes(pages))
    except WireError:
        return
    assert index.encode() == pages[:PAGE_SIZE]
