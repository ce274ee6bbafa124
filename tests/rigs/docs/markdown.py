"""What the tests read from a page of the documentation: its fenced blocks, tables, links and words in code."""

import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).parents[3]
PAGES = (*sorted(ROOT.glob("*.md")), *sorted((ROOT / "docs").rglob("*.md")))

_FENCE = re.compile(r"^( *)(`{3,})([a-z]*)[^\n]*\n(.*?)^\1\2`*$", re.MULTILINE | re.DOTALL)
_MARK = re.compile(r"<!-- ([a-z ]+)(?:: ([^\n]*?))? -->\n+\Z")
_PINNED = re.compile(r"<!-- the same on every computer: ([0-9a-f ]+) -->")
_LINK = re.compile(r"\[[^\]]*\]\(([^)\s]+)\)")
_CODE = re.compile(r"`([^`\n]+)`")


@dataclass(frozen=True, slots=True)
class Block:
    """A fenced block, with the mark that the comment right above it gives it."""

    language: str
    text: str
    line: int
    mark: str
    """``file``, ``background``, ``goes on``, ``key``, ``ends``, ``not run`` or nothing."""
    argument: str
    """What follows the mark: a path, a key, a reason."""


def blocks(text: str) -> Iterator[Block]:
    """The fenced blocks of a page, in order."""
    for found in _FENCE.finditer(text):
        mark = _MARK.search(text[: found.start()])
        word, argument = (mark[1], mark[2] or "") if mark is not None else ("", "")
        indent = found[1]
        content = "".join(line.removeprefix(indent) for line in found[4].splitlines(keepends=True))
        yield Block(found[3], content, text.count("\n", 0, found.start()) + 1, word, argument)


def pinned(text: str) -> frozenset[str]:
    """The digests that a page says are the same on every computer: its readers compare them."""
    return frozenset(word for found in _PINNED.findall(text) for word in found.split())


def prose(text: str) -> str:
    """A page without its fenced blocks."""
    return _FENCE.sub("", text)


def links(text: str) -> list[str]:
    """The targets of all links in the prose."""
    return _LINK.findall(prose(text))


def words_in_code(text: str) -> list[str]:
    """All that stands between backticks in the prose."""
    return _CODE.findall(prose(text))


def anchors(text: str) -> set[str]:
    """The names that headings get where pages are shown: lower case, hyphens for spaces, no punctuation."""
    headings = re.findall(r"^#+ (.*)$", prose(text), flags=re.MULTILINE)
    return {re.sub(r"[^\w -]", "", heading.lower()).replace(" ", "-") for heading in headings}


def table(text: str, first_column: str) -> list[list[str]]:
    """The rows of the one table whose first column has that heading, cells without their blanks."""
    found = re.findall(
        rf"^\| {re.escape(first_column)} \|[^\n]*\n\|[ -|]*\n((?:\|[^\n]*\n)+)", text, flags=re.MULTILINE
    )
    assert len(found) == 1, f"{len(found)} tables begin with {first_column!r}"
    return [[cell.strip() for cell in row.strip().strip("|").split(" | ")] for row in found[0].splitlines()]
