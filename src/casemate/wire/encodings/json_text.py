"""Strict JSON between parties that do not trust each other: each text means the same in Python and in JavaScript.

Refused is everything that parsers read differently: duplicate names, NaN and Infinity, numbers beyond a double,
integers that a double cannot count exactly, lone surrogates (RFC 7493, I-JSON, section 2), bytes that are not UTF-8,
and deep nesting.
"""

import json
import math
import re
from typing import Any

from casemate.wire.errors import WireError

MAX_DEPTH = 64
"""Deepest nesting of arrays and objects: a recursive reader could run out of stack."""

MAX_INTEGER = 2**53 - 1
"""Largest integer that JavaScript counts exactly (RFC 7493, section 2.2)."""

MAX_ITEMS = 350_000
"""Most items of all arrays and objects together: otherwise a text of 16 MiB could become a gigabyte of small objects.
A member of an object counts twice, for its name; each array and object once more, for the garbage collector's work."""

MAX_MEMORY = 56 * 1024 * 1024
"""Most memory (bytes) for a text and its value, as :func:`_check_memory` estimates it. 16 MiB of ASCII with
:data:`MAX_ITEMS` items need less, and so do 4 MiB of text that has a character beyond U+FFFF somewhere."""

_ITEM_MEMORY = 64
"""Bytes for an item, beside its characters."""
_WIDEST = 4
"""Bytes that Python takes for each character of a string that has one beyond U+FFFF; two where one is beyond U+00FF."""

_CONTAINERS = (dict, list)
_PIECE = 64 * 1024
"""Bytes of a text that are split at quotation marks at once."""
_ESCAPES = (b"\\\\", b'\\"')
"""Removed in this order; after that, every quotation mark begins or ends a string."""
_SURROGATES = re.compile("[\ud800-\udfff]")
_BEYOND_BMP = bytes(range(0xF0))
"""All bytes but those that begin a character beyond U+FFFF in UTF-8."""
_CONTINUATIONS = bytes(range(0x80, 0xC0))
_ALIKE = bytes.maketrans(b"123456789E", b"000000000e")
"""Makes all digits look alike, so that a text is searched for large numbers at the speed of ``in``."""
_SIGNS_OF_LARGE_NUMBERS = (b"0" * 16, b"0e")
"""An integer beyond :data:`MAX_INTEGER` or a number beyond a double has one of these, when its digits look alike."""

_MINUS_ZERO = b"-0"
"""A text without it is parsed faster: no function of ours has to look at each integer."""

Json = None | bool | int | float | str | list["Json"] | dict[str, "Json"]
"""The values of JSON texts."""


def parse_json(field: str, text: bytes, *, limit: int, round_integers: bool = False) -> Any:
    """The :data:`Json` value of a text.

    Args:
        field: what the text is, for the error.
        text: UTF-8.
        limit: the longest text accepted (bytes).
        round_integers: take integers beyond :data:`MAX_INTEGER` as the doubles they were, which is what JavaScript's
            own ``JSON.stringify`` means by them, instead of refusing them.

    Raises:
        WireError: the text is too long, not JSON, or ambiguous.
    """
    if len(text) > limit:
        raise WireError(field, got=f"{len(text)} bytes", want=f"at most {limit}")
    surrogates = _has_surrogates(text)
    _check_memory(field, text, surrogates=surrogates)
    try:
        value = _decoder(text, round_integers=round_integers).decode(text.decode())
    except _AmbiguousError as error:
        raise WireError(field, got=str(error), want="unambiguous JSON") from None
    except UnicodeError:
        raise WireError(field, got="text that is no Unicode", want="JSON as UTF-8") from None
    except RecursionError:
        raise WireError(field, got="deeper nesting", want=f"at most {MAX_DEPTH} levels") from None
    except json.JSONDecodeError as error:
        raise WireError(field, got=f"no JSON from character {error.pos}", want="JSON") from None
    except ValueError:  # an integer of more digits than Python converts
        raise WireError(field, got="an endless integer", want=f"at most {MAX_INTEGER}") from None
    if surrogates:
        _check_surrogates(field, value)
    alike = text.translate(_ALIKE)
    if any(sign in alike for sign in _SIGNS_OF_LARGE_NUMBERS):
        _check_numbers(field, value)
    if text.count(b"[") + text.count(b"{") > MAX_DEPTH:
        _check_depth(field, value)
    return value


def encode_json(value: Any) -> bytes:
    """The compact text of a value; members keep their order."""
    return _COMPACT.encode(value).encode()


class _AmbiguousError(Exception):
    """Two parsers could parse this text differently."""


def _object(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    found = dict(pairs)
    if len(found) != len(pairs):
        raise _AmbiguousError("an object with the same name twice")
    return found


def _constant(name: str) -> float:
    raise _AmbiguousError(name)


def _decoder(text: bytes, *, round_integers: bool) -> json.JSONDecoder:
    if round_integers:
        return _ROUNDING
    return _SIGNED if _MINUS_ZERO in text else _EXACT


def _signed(digits: str) -> int | float:
    """An integer; -0 becomes a double, as in JavaScript, because Python has no integer -0."""
    return float(digits) if digits == "-0" else int(digits)


def _rounded(digits: str) -> int | float:
    number = int(digits)
    return _signed(digits) if -MAX_INTEGER <= number <= MAX_INTEGER else float(digits)


def _check_memory(field: str, text: bytes, *, surrogates: bool) -> None:
    """Estimates the memory for a value before any of it is made."""
    if text.isascii():
        characters, width = len(text), 1
    else:
        characters = len(text.translate(None, _CONTINUATIONS))
        width = _WIDEST if text.translate(None, _BEYOND_BMP) else 2
    escaped = _WIDEST if surrogates else 2 if b"\\" in text and b"\\u" in text else 1
    memory = characters * (width + max(width, escaped))
    items = _items(text)
    if items > MAX_ITEMS or memory + _ITEM_MEMORY * items > MAX_MEMORY:
        items = _counted(text)
    if items > MAX_ITEMS:
        raise WireError(field, got="more members", want=f"at most {MAX_ITEMS} in all arrays and objects")
    if memory + _ITEM_MEMORY * items > MAX_MEMORY:
        raise WireError(
            field,
            got=f"{characters} characters of up to {max(width, escaped)} bytes in {items} items",
            want=f"a value that takes at most {MAX_MEMORY} bytes of memory",
        )


def _items(text: bytes) -> int:
    """An upper bound on the items: each has a comma, bracket or brace of its own, and each name a colon."""
    return text.count(b",") + text.count(b":") + 2 * (text.count(b"[") + text.count(b"{"))


def _counted(text: bytes) -> int:
    """The number of items outside strings."""
    for escape in _ESCAPES if b"\\" in text else ():
        text = text.replace(escape, b"")
    if text.count(b'"') > 2 * MAX_ITEMS + 2:  # each string is an item or a name
        return MAX_ITEMS + 1
    items, inside = 0, 0
    for at in range(0, len(text), _PIECE):
        pieces = text[at : at + _PIECE].split(b'"')
        items += _items(b"".join(pieces[inside::2]))
        inside = (inside + len(pieces) - 1) % 2
    return items


def _has_surrogates(text: bytes) -> bool:
    """Whether an escape of half a character beyond U+FFFF may be in the text."""
    return b"\\" in text and (b"\\ud" in text or b"\\uD" in text)


def _check_surrogates(field: str, value: Any) -> None:
    level = [value]
    while level:
        for item in level:
            if isinstance(item, str) and _SURROGATES.search(item):
                raise WireError(field, got="text that is no Unicode", want="JSON as UTF-8")
            if isinstance(item, dict) and any(map(_SURROGATES.search, item)):
                raise WireError(field, got="a name that is no Unicode", want="JSON as UTF-8")
        level = _inside(level)


def _check_numbers(field: str, value: Any) -> None:
    level = [value]
    while level:
        for number in level:
            if isinstance(number, float) and not math.isfinite(number):
                raise WireError(field, got="a number beyond a double", want="finite numbers")
            if isinstance(number, int) and not -MAX_INTEGER <= number <= MAX_INTEGER:
                raise WireError(field, got="an integer beyond 2^53 - 1", want="integers that a double counts")
        level = _inside(level)


def _check_depth(field: str, value: Any) -> None:
    level, depth = [value], 0
    while level := [item for item in level if type(item) in _CONTAINERS]:
        depth += 1
        if depth > MAX_DEPTH:
            raise WireError(field, got="deeper nesting", want=f"at most {MAX_DEPTH} levels")
        level = _inside(level)


def _inside(level: list[Any]) -> list[Any]:
    """The members of all arrays and objects of one level, without recursion."""
    below: list[Any] = []
    for item in level:
        if isinstance(item, dict):
            below += item.values()
        elif isinstance(item, list):
            below += item
    return below


# Made once: `json.loads` and `json.dumps` would make them anew for each text, which takes as long as a short text does.
_EXACT = json.JSONDecoder(object_pairs_hook=_object, parse_constant=_constant)
_SIGNED = json.JSONDecoder(object_pairs_hook=_object, parse_constant=_constant, parse_int=_signed)
_ROUNDING = json.JSONDecoder(object_pairs_hook=_object, parse_constant=_constant, parse_int=_rounded)
_COMPACT = json.JSONEncoder(ensure_ascii=False, allow_nan=False, separators=(",", ":"))
