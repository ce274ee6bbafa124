"""One document's part of the index, as it is kept: each word once, and numbers that stay small."""

from itertools import accumulate, pairwise
from typing import TypedDict

from tokenise import Tokens


class Segment(TypedDict):
    """What is kept of a document's tokens, as JSON."""

    words: list[str]
    """The different terms."""
    stream: list[int]
    """Which of them stand in the text, in order."""
    steps: list[int]
    """How far each is from the one before (characters)."""


def pack(tokens: Tokens) -> Segment:
    """The segment of these tokens."""
    numbers: dict[str, int] = {}
    stream = [numbers.setdefault(term, len(numbers)) for term in tokens.terms]
    steps = [end - start for start, end in pairwise([0, *tokens.offsets])]
    return {"words": [*numbers], "stream": stream, "steps": steps}


def unpack(segment: Segment) -> Tokens:
    """What was packed."""
    words = segment["words"]
    return Tokens([words[number] for number in segment["stream"]], [*accumulate(segment["steps"])])
