"""TOML from untrusted sources: its top table, or :class:`WireError` with the place of the mistake.

:mod:`tomllib` takes time that grows with the square of a key's parts, and memory for a table that is five hundred times
the table's text. So a first pass, linear in the text, bounds these; all it knows of TOML is where strings and comments
end. Where this pass and the parser would see a string end at different places, the text is not valid TOML, and the
parser refuses it.
"""

import re
import tomllib
from typing import Any

from casemate.wire.errors import WireError

MAX_TOML = 256 * 1024
"""Longest text of any format here (bytes)."""

MAX_PARTS = 16
"""Most parts of a dotted key, whose cost grows with their square; formats here have three."""

MAX_KEYS = 2**13
"""Most parts of all keys together, headers included: each may become a table of a KiB. A manifest of 1,024 callers and
128 functions has 2,000."""

MAX_DEPTH = 16
"""Deepest nesting of arrays and inline tables, each of which takes some of the parser's stack."""

MAX_WORD = 256
"""Longest number, date or unquoted key (characters); the parser takes a hundred bytes for each character of one."""

_LONGEST_REASON = 200
"""Characters of the parser's message that are shown; it may quote keys of any length."""

_OPENING = re.compile(r'"""|\'\'\'|["\'#]')
_CLOSING = {
    '"""': re.compile(r'\\.|"{3,5}', re.DOTALL),
    "'''": re.compile(r"'{3,5}"),
    '"': re.compile(r'\\.|["\n]'),
    "'": re.compile(r"['\n]"),
    "#": re.compile(r"(?=\n)"),
}
"""The end of each kind of string, and of a comment; an escape is skipped. A string of several lines may end in two
quotation marks of its own. A string of one line that does not end is refused by the parser at the end of the line."""

_SEPARATORS = re.compile(r"[=,\n\[\]{}]")
_SPACES = str.maketrans("=,[]{}", "      ")
_HEADER = re.compile(r"^[ \t]*\[", re.MULTILINE)
_NOT_BRACKETS = re.compile(r"[^\[\]{}]+")


def parse_toml(field: str, text: bytes, *, limit: int = MAX_TOML) -> dict[str, Any]:
    """The top table of a TOML document.

    Args:
        field: what the text is, for the error.
        text: UTF-8.
        limit: the longest text accepted (bytes), at most :data:`MAX_TOML`.

    Raises:
        WireError: the text is too long, not valid TOML, or beyond one of the bounds above.
    """
    if len(text) > min(limit, MAX_TOML):
        raise WireError(field, got=f"{len(text)} bytes", want=f"at most {min(limit, MAX_TOML)}")
    try:
        decoded = text.decode()
        _check_shape(field, decoded)
        return tomllib.loads(decoded)
    except UnicodeDecodeError:
        raise WireError(field, got="bytes that are not UTF-8", want="TOML as UTF-8") from None
    except tomllib.TOMLDecodeError as error:
        raise WireError(field, got=f"not valid TOML: {_brief(str(error))}", want="TOML") from None
    except RecursionError:
        raise WireError(field, got="deeper nesting", want=f"at most {MAX_DEPTH} levels") from None
    except ValueError:  # an integer of more digits than Python converts, or a date that does not exist
        raise WireError(field, got="a number or date out of range", want="TOML") from None


def _check_shape(field: str, text: str) -> None:
    """Refuses a text that would cost the parser more than its length suggests."""
    bare = _without_strings(text)
    parts = 1 + max(run.count(".") for run in _SEPARATORS.split(bare))
    if parts > MAX_PARTS:
        raise WireError(field, got=f"a dotted key of {parts} parts", want=f"at most {MAX_PARTS}")
    keys = bare.count("=") + bare.count(".") + len(_HEADER.findall(bare))
    if keys > MAX_KEYS:
        raise WireError(field, got=f"{keys} keys and parts of keys", want=f"at most {MAX_KEYS}")
    longest = max(map(len, bare.translate(_SPACES).split()), default=0)
    if longest > MAX_WORD:
        raise WireError(field, got=f"an unquoted key or number of {longest} characters", want=f"at most {MAX_WORD}")
    depth = 0
    for bracket in _NOT_BRACKETS.sub("", bare):
        depth += 1 if bracket in "[{" else -1
        if depth > MAX_DEPTH:
            raise WireError(field, got="deeper nesting", want=f"at most {MAX_DEPTH} levels")


def _without_strings(text: str) -> str:
    """The text with an ``s`` for each string and without comments; each character is looked at once."""
    pieces = []
    at = 0
    while opening := _OPENING.search(text, at):
        pieces.append(text[at : opening.start()])
        kind = opening.group()
        closing = _CLOSING[kind].search(text, opening.end())
        while closing and closing.group().startswith("\\"):
            closing = _CLOSING[kind].search(text, closing.end())
        if kind != "#":
            pieces.append("s")
        if closing is None:
            return "".join(pieces)
        at = closing.end()
    return "".join((*pieces, text[at:]))


def _brief(reason: str) -> str:
    return reason if len(reason) <= _LONGEST_REASON else f"{reason[:_LONGEST_REASON]}..."
