"""The inverted index: for each term, where it stands in which document.

It is made of arrays of numbers: half a million different words as lists and dictionaries would not fit into memory_mib.
"""

from array import array
from bisect import bisect_right
from collections.abc import Iterable, Sequence
from itertools import accumulate

from tokenise import Tokens

NUMBER = "I"
"""Type of the arrays' items: 32 bits, more than all positions that MAX_WORDS in main.py allows."""


class Index:
    """The documents' tokens; a document is named by its place in the order given, a position is a token's place in it.

    Args:
        documents: their tokens, looked at once.
    """

    def __init__(self, documents: Iterable[Tokens]) -> None:
        self._numbers: dict[str, int] = {}
        self._streams: list[array[int]] = []
        self.offsets: list[array[int]] = []
        """Of each document's tokens."""
        for terms, offsets in documents:
            numbers = (self._numbers.setdefault(term, len(self._numbers)) for term in terms)
            self._streams.append(array(NUMBER, numbers))
            self.offsets.append(array(NUMBER, offsets))
        self._first = [0, *accumulate(map(len, self._streams))]
        self._bounds, self._places = self._by_term()

    def __len__(self) -> int:
        """How many documents there are."""
        return len(self._streams)

    def length(self, document: int) -> int:
        """A document's tokens."""
        return len(self._streams[document])

    @property
    def mean_length(self) -> float:
        """Tokens of a document, on average."""
        return self._first[-1] / max(len(self), 1)

    def occurrences(self, terms: Sequence[str]) -> dict[int, list[int]]:
        """Where terms stand one after the other: by documents in which they do, the positions of the first, rising."""
        found: dict[int, list[int]] = {}
        if any(term not in self._numbers for term in terms):
            return found
        phrase = array(NUMBER, [self._numbers[term] for term in terms])
        for place in self._places[self._bounds[phrase[0]] : self._bounds[phrase[0] + 1]]:
            document = bisect_right(self._first, place) - 1
            position = place - self._first[document]
            if self._streams[document][position : position + len(phrase)] == phrase:
                found.setdefault(document, []).append(position)
        return found

    def _by_term(self) -> tuple["array[int]", "array[int]"]:  # in quotes: Python 3.11 knows it for type checkers alone
        """The places of all terms, a term after the other, and where each term's begin; a place counts all tokens."""
        counts = array(NUMBER, [0]) * len(self._numbers)
        for stream in self._streams:
            for number in stream:
                counts[number] += 1
        bounds = array(NUMBER, accumulate(counts, initial=0))
        free = bounds[:]
        places = array(NUMBER, [0]) * self._first[-1]
        place = 0
        for stream in self._streams:
            for number in stream:
                places[free[number]] = place
                free[number] += 1
                place += 1
        return bounds, places
