"""Text to index terms: which characters make a word, and which words count as the same."""

import re
import unicodedata
from collections.abc import Callable, Iterable
from typing import NamedTuple

from plural import without_plural

MAX_TERM = 64
"""The longest term (characters). A longer run of letters is encoded data rather than a word: its start is kept."""


class Tokens(NamedTuple):
    """A text's terms in order, and the offset of each in the text (characters)."""

    terms: list[str]
    offsets: list[int]


Tokenise = Callable[[str], Tokens]


def _character_class(codes: Iterable[int]) -> str:
    """These code points, which rise, as the inside of a character class."""
    ranges: list[list[int]] = []
    for code in codes:
        if ranges and ranges[-1][1] == code - 1:
            ranges[-1][1] = code
        else:
            ranges.append([code, code])
    return "".join(rf"\U{first:08x}-\U{last:08x}" for first, last in ranges)


def _of_category(category: str, *blocks: tuple[int, int]) -> str:
    """The characters of a general category in these blocks, each from its first to its last code point."""
    codes = (code for first, last in blocks for code in range(first, last + 1))
    return _character_class(code for code in codes if unicodedata.category(chr(code))[0] == category)


# Python's `re` knows neither general categories nor scripts, so they are spelled out when the image is loaded.
_MARK = _of_category("M", (0x0300, 0x1FFFF), (0xE0100, 0xE01EF))
_UNSPACED = _of_category(
    "L",
    (0x0E00, 0x0EFF),  # Thai, Lao
    (0x1000, 0x109F),  # Burmese
    (0x1780, 0x17FF),  # Khmer
    (0x3005, 0x3006),  # Chinese and Japanese iteration marks
    (0x3031, 0x30FF),  # Hiragana, Katakana
    (0x31F0, 0x31FF),
    (0x3400, 0x4DBF),  # Chinese characters
    (0x4E00, 0x9FFF),
    (0xA9E0, 0xA9FF),  # Burmese
    (0xAA60, 0xAA7F),
    (0xF900, 0xFAFF),  # Chinese characters
    (0xFF66, 0xFF9F),  # Katakana at half width
    (0x1AFF0, 0x1B16F),  # Kana
    (0x20000, 0x323AF),  # Chinese characters
)
"""Letters of scripts that put no space between words. Each is a term by itself, and a word of them is a phrase."""

_LETTERS = rf"(?:[^\W_{_UNSPACED}]+|[{_MARK}]+)*+"

_TOKEN = re.compile(
    "|".join(
        [
            r"\d{1,3}(?:,\d{3})+(?!\d)",  # 3,000,000
            r"\d+\.\d+",  # 37.5
            rf"[{_UNSPACED}][{_MARK}]*",
            rf"[^\W_{_UNSPACED}]{_LETTERS}(?:['\u2019\u02bc](?:[^\W\d_][{_MARK}]*)+)*",
        ]
    )
)
_ACCENTS = re.compile(r"[\u0300-\u036f]+")
_POSSESSIVE = re.compile(r"['\u2019\u02bc]s$")
_APOSTROPHES = re.compile(r"['\u2019\u02bc]")
_GROUPING = re.compile(r"(?<=\d),(?=\d)")


def _fold(word: str) -> str:
    """The one form of all spellings that count as the same word.

    These are of either case, with or without accents, compatibility forms (ligatures, full-width letters), digit
    grouping, possessive and plural endings. Only the combining accents go (U+0300 to U+036F): the marks of Devanagari
    or Hebrew are part of what a word says.
    """
    folded = unicodedata.normalize("NFC", _ACCENTS.sub("", unicodedata.normalize("NFKD", word)).casefold())
    plain = _GROUPING.sub("", _APOSTROPHES.sub("", _POSSESSIVE.sub("", folded)))
    return without_plural(plain)[:MAX_TERM]


def make_tokeniser() -> Tokenise:
    """A function from a text to its tokens.

    Each word is folded once in the life of a tokeniser, which is one call: no word outlives the call that brought it.
    """
    folded: dict[str, str] = {}

    def tokenise(text: str) -> Tokens:
        tokens = Tokens([], [])
        for match in _TOKEN.finditer(text):
            word = match[0]
            term = folded.get(word)
            if term is None:
                term = folded[word] = _fold(word)
            if term:
                tokens.terms.append(term)
                tokens.offsets.append(match.start())
        return tokens

    return tokenise
