"""The lines of a document that show why it was found."""

import re
from bisect import bisect_right
from collections.abc import Sequence
from typing import TypedDict

from rank import Weighed

MAX_SNIPPETS = 3
"""Lines shown of one document."""

MAX_TEXT = 200
"""The longest snippet, without the ellipses (characters)."""

BEFORE = 60
"""Where a long line is cut, this much is shown before the match."""

SPARE = 20
"""A cut moves this far at most to spare a word."""

_LINE_END = re.compile(r"\r\n|\r|\n")
_SPACE = re.compile(r"\s")
_LAST_SPACE = re.compile(r"\s\S*$")
_BLANK = re.compile(r"[\s\x00-\x1f\x7f-\x9f\ufeff]+")
"""Control characters count as white space: a snippet is likely to be printed on a terminal, which would obey them."""


class Snippet(TypedDict):
    """A line, counted from 1, or the part of a long one around the match."""

    line: int
    text: str


def snippets_of(text: str, offsets: Sequence[int], document: int, clauses: list[Weighed]) -> list[Snippet]:
    """The lines that hold most of what was asked for, rare terms first, in the order of the document.

    A phrase belongs to the line on which it begins. Lines end at LF, CR or CRLF.

    Args:
        text: the document's.
        offsets: of its tokens.
        document: its place in the index.
        clauses: those that score.
    """
    starts = [0, *(end.end() for end in _LINE_END.finditer(text))]
    weights: dict[int, float] = {}
    firsts: dict[int, int] = {}
    for _text, weight, occurrences in clauses:
        counted = set()  # a line gains by holding another clause, not by repeating one
        for position in occurrences.get(document, ()):
            offset = offsets[position]
            line = bisect_right(starts, offset) - 1
            if line not in counted:
                counted.add(line)
                weights[line] = weights.get(line, 0.0) + weight
                firsts[line] = min(firsts.get(line, offset), offset)
    best = sorted(weights, key=lambda line: (-weights[line], line))[:MAX_SNIPPETS]
    ends = [*starts[1:], len(text)]
    return [{"line": line + 1, "text": _excerpt(text, starts[line], ends[line], firsts[line])} for line in sorted(best)]


def _excerpt(text: str, start: int, end: int, match: int) -> str:
    """The line, or the part of a long line around its first match, with each run of white space as one space."""
    first, last = start, end
    if end - start > MAX_TEXT:
        first = max(start, min(match - BEFORE, end - MAX_TEXT))
        last = min(end, first + MAX_TEXT)
        if first > start:
            space = _SPACE.search(text, first, first + SPARE)
            first = space.start() if space else first
        if last < end:
            space = _LAST_SPACE.search(text[last - SPARE : last])
            last -= SPARE - space.start() if space else 0
    shown = _BLANK.sub(" ", text[first:last]).strip()
    return ("…" if first > start else "") + shown + ("…" if last < end else "")
