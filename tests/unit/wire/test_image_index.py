import hashlib
from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from casemate.wire.errors import WireError
from casemate.wire.image_index import PAGE_SIZE, Entry, ImageIndex, Link, check_path, file_of, padded, parse_index

FILES = {"casemate.toml": b"manifest", "guest/a.js": b"", "guest/main.js": b'import "./a.js"' * 300}


def _index() -> ImageIndex:
    offset, entries = PAGE_SIZE, []
    for path, content in FILES.items():
        entries.append(Entry(path, offset, len(content), hashlib.sha256(content).digest()))
        offset += len(padded(content))
    return ImageIndex(tuple(entries), (Link("guest/main.js", "./a.js", "guest/a.js", 7, 15),))


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
            ImageIndex(entries, ())


def test_refuses_links_out_of_order_twice_or_to_nowhere() -> None:
    link = INDEX.links[0]
    later = replace(link, start=50, end=58)
    ImageIndex(INDEX.entries, (link, later))
    for links in ((later, link), (link, link), (replace(link, target="guest/b.js"),)):
        with pytest.raises(WireError, match=r"ImageIndex\.links"):
            ImageIndex(INDEX.entries, links)


def test_refuses_a_link_of_another_length_than_its_specifiers() -> None:
    with pytest.raises(WireError, match=r"Link\.end"):
        replace(INDEX.links[0], end=16)


@pytest.mark.parametrize(
    ("pages", "reason"),
    [
        (b"", "magic"),
        (b"casemata" + PAGES[8:], "magic"),
        (PAGES[:8] + b"\x02" + PAGES[9:], "version"),
        (PAGES[:10] + b"\xff\xff\xff\xff" + PAGES[14:], "body"),
        (PAGES[: PAGE_SIZE - 1] + b"\x01" + PAGES[PAGE_SIZE:], "padding"),
        (PAGES[:-PAGE_SIZE], "up to the pages' end"),
        (PAGES + bytes(PAGE_SIZE), "up to the pages' end"),
    ],
)
def test_refuses_pages_that_the_index_does_not_describe(pages: bytes, reason: str) -> None:
    with pytest.raises(WireError, match=reason):
        parse_index(pages)


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
