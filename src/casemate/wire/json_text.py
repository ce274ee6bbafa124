"""Strict JSON between parties that do not trust each other: one text, one meaning, in Python and in JavaScript.

What parsers disagree about is refused: duplicate names, NaN and Infinity, numbers beyond a double, integers that a
double cannot count, lone surrogates (RFC 7493, I-JSON, section 2), bytes that are no UTF-8, and depth.
"""

import json
import math
import re
from typing import Any

from casemate.wire.errors import WireError

MAX_DEPTH = 64
"""Deepest nesting of arrays and objects: more is an attack on somebody's stack."""

MAX_INTEGER = 2**53 - 1
"""Largest integer that JavaScript counts exactly (RFC 7493, section 2.2)."""

MAX_ITEMS = 2**19
"""Most members of all arrays and objects together: a text of 16 MiB could else become a gigabyte of small objects."""

_CONTAINERS = (dict, list)
_STRING = re.compile(rb'"[^"\\]*(?:\\.?[^"\\]*)*"?', re.DOTALL)
"""From a quotation mark to the next one that is not escaped, or to the end: every mark starts a match, so the search is
linear in the text whatever it holds."""
_ALIKE = bytes.maketrans(b"123456789E", b"000000000e")
"""Makes all digits look alike, so that a text is searched for large numbers at the speed of ``in``."""
_SIGNS_OF_LARGE_NUMBERS = (b"0" * 16, b"0e")
"""An integer beyond :data:`MAX_INTEGER` or a number beyond a double has one of these, when its digits look alike."""

_MINUS_ZERO = b"-0"
"""A text without it is read without a function that looks at each integer."""

Json = None | bool | int | float | str | list["Json"] | dict[str, "Json"]
"""What a JSON text means."""


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
    _check_items(field, text)
    try:
        value = _decoder(text, round_integers=round_integers).decode(text.decode())
        if b"\\u" in text:
            encode_json(value)
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
    """Two parsers would not agree."""


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
    """An integer; -0 as the double that JavaScript reads, for Python has no such integer."""
    return float(digits) if digits == "-0" else int(digits)


def _rounded(digits: str) -> int | float:
    number = int(digits)
    return _signed(digits) if -MAX_INTEGER <= number <= MAX_INTEGER else float(digits)


def _check_items(field: str, text: bytes) -> None:
    """Counts members before any of them is made; each has a comma, a bracket or a brace of its own."""
    if _items(text) <= MAX_ITEMS:
        return
    if text.count(b'"') > 2 * MAX_ITEMS or _items(_STRING.sub(b"", text)) > MAX_ITEMS:
        raise WireError(field, got="more members", want=f"at most {MAX_ITEMS} in all arrays and objects")


def _items(text: bytes) -> int:
    return text.count(b",") + text.count(b"[") + text.count(b"{")


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
