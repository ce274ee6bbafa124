"""Checks JSON that the guest's modules import, and names the place that Python and JavaScript would read differently.

The rule is that for all other JSON (:func:`casemate.wire.encodings.json_text.parse_json`). JavaScript would silently
round an integer beyond 2^53 - 1, make a large number infinite, and take the last of two members with one name.
"""

import json
import math
import re

from casemate.images.errors import SourceError
from casemate.wire.encodings.json_text import MAX_DEPTH, MAX_INTEGER, parse_json
from casemate.wire.errors import WireError

_TOKEN = re.compile(r'"(?:[^"\\]|\\.)*"|[-+.\w]+|\S')
_NUMBER = re.compile(r"-?[0-9]+(?P<fraction>\.[0-9]+)?(?P<exponent>[eE][-+]?[0-9]+)?", re.ASCII)
_LONE = re.compile(r"[\ud800-\udfff]")
_LONGEST_INTEGER = 4000
"""Longest integer (digits) that is converted; Python refuses somewhat longer ones."""


def check_json(path: str, source: bytes) -> None:
    """Refuses JSON that does not mean the same to every reader.

    Raises:
        SourceError: names the file, line and column, and the rule.
    """
    try:
        parse_json(path, source, limit=len(source))
    except WireError as error:
        is_json = error.want != "JSON"
        reason = f"this is {error.got}, want {error.want}" if is_json else "this is not valid JSON"
        raise SourceError.at(path, source, _offset_of_mistake(source), reason) from None


def _offset_of_mistake(source: bytes) -> int:
    """The offset (bytes) at which a text that the strict reader refuses breaks its rules."""
    try:
        text = source.decode()
    except UnicodeDecodeError as error:
        return error.start
    try:
        json.loads(text, parse_int=len, parse_float=len)
    except json.JSONDecodeError as error:
        return len(text[: error.pos].encode())
    except RecursionError:
        pass
    return len(text[: _mistake_in(text)].encode())


def _mistake_in(text: str) -> int:
    """The offset (characters) of the mistake in well-formed JSON; 0 where it only has too many members."""
    open_names: list[set[str] | None] = []  # of each object that is open; None for an array
    before = ""
    for token in _TOKEN.finditer(text):
        word = token[0]
        if word in ("{", "["):
            open_names.append(set() if word == "{" else None)
        elif word in ("}", "]") and open_names:
            open_names.pop()
        elif word[0] == '"':
            said = json.loads(word, strict=False)
            names = open_names[-1] if open_names else None
            if names is not None and before in ("{", ","):
                if said in names:
                    return token.start()
                names.add(said)
            if _LONE.search(said):
                return token.start()
        elif not _is_counted(word):
            return token.start()
        if len(open_names) > MAX_DEPTH:
            return token.start()
        before = word
    return 0


def _is_counted(word: str) -> bool:
    """Whether a token outside strings is a number that a double counts exactly, or not a number at all."""
    number = _NUMBER.fullmatch(word)
    if number is None:
        return word not in ("NaN", "Infinity", "-Infinity")
    if number["fraction"] is None and number["exponent"] is None:
        return len(word) < _LONGEST_INTEGER and abs(int(word)) <= MAX_INTEGER
    return math.isfinite(float(word))
