"""JSON of the program's values, refused with words that name the member which is none."""

import json
import math
from collections.abc import Iterator
from typing import Any

from casemate.engines.python.bootstrap.limits import MAX_DEPTH, MAX_INTEGER
from casemate.wire.protocol.faults import Code

encode = json.JSONEncoder(ensure_ascii=False, allow_nan=False, separators=(",", ":"), check_circular=False).encode
"""The compact text of a value that is known to be JSON."""
_decode = json.JSONDecoder().decode


def decode(text: bytes) -> Any:
    """The value of a text that the enclave has checked."""
    return _decode(text.decode())


class UntellableError(Exception):
    """A value of the program's is not JSON, or is too long.

    Args:
        code: ``RESULT_REFUSED`` or ``OUTPUT_LIMIT``.
        message: names the member.
    """

    def __init__(self, code: Code, message: str) -> None:
        super().__init__(message)
        self.code = code


def text_of(value: object, limit: int, what: str) -> bytes:
    """JSON of a value: what :mod:`json` makes of it, where all parsers read that alike.

    Args:
        value: the program's.
        limit: longest text (bytes).
        what: the value, for the error.

    Raises:
        UntellableError: it is not JSON, or longer.
    """
    wrong = _wrong(value, 0)
    if wrong is not None:
        raise UntellableError(Code.RESULT_REFUSED, f"{what} is not JSON: {_path(wrong.path)} {wrong.reason}")
    try:
        text = encode(value).encode()
    except UnicodeEncodeError:
        path = next(_surrogates(value), ())
        words = f"{what} is not JSON: {_path(path)} has a lone surrogate, which UTF-8 does not have"
        raise UntellableError(Code.RESULT_REFUSED, words) from None
    if len(text) > limit:
        raise UntellableError(Code.OUTPUT_LIMIT, f"{what} has more than the {limit} bytes that are allowed")
    return text


class _Wrong:
    """What is wrong with a member, and the steps to it, the last one first."""

    def __init__(self, reason: str) -> None:
        self.reason = reason
        self.path: tuple[object, ...] = ()

    def below(self, step: object) -> "_Wrong":
        self.path = (step, *self.path)
        return self


def _wrong(value: object, depth: int) -> _Wrong | None:
    """The first member that is not JSON; None where all are."""
    if value is None or isinstance(value, str | bool):
        return None
    if isinstance(value, int | float):
        return _wrong_number(value)
    if not isinstance(value, dict | list | tuple):
        return _Wrong(f"is {_kind(value)}")
    if depth == MAX_DEPTH:
        return _Wrong(f"is nested deeper than {MAX_DEPTH} levels, or holds itself")
    for step, member in value.items() if isinstance(value, dict) else enumerate(value):
        if isinstance(value, dict) and not isinstance(step, str):
            return _Wrong(f"has the name {_cut(step)}, which is {_kind(step)} and no text")
        if (wrong := _wrong(member, depth + 1)) is not None:
            return wrong.below(step)
    return None


def _wrong_number(value: float) -> _Wrong | None:
    if isinstance(value, int):
        if -MAX_INTEGER <= value <= MAX_INTEGER:
            return None
        return _Wrong("is an integer beyond 2^53 - 1, which not every reader counts exactly: tell it as a text")
    return None if math.isfinite(value) else _Wrong(f"is {value!r}, which JSON does not have")


def _surrogates(value: object) -> Iterator[tuple[object, ...]]:
    """The paths of texts, and of names, that UTF-8 cannot hold."""
    if isinstance(value, str):
        if _is_broken(value):
            yield ()
    elif isinstance(value, dict):
        for name, member in value.items():
            if _is_broken(name):
                yield (name,)
            yield from ((name, *path) for path in _surrogates(member))
    elif isinstance(value, list | tuple):
        for number, member in enumerate(value):
            yield from ((number, *path) for path in _surrogates(member))


def _is_broken(text: str) -> bool:
    return any("\ud800" <= character <= "\udfff" for character in text)


def _path(steps: tuple[object, ...]) -> str:
    """A path such as ``items[3].price``; names that are no identifiers are quoted."""
    if not steps:
        return "it"
    parts = []
    for step in steps:
        if isinstance(step, str):
            parts.append(f".{step}" if step.isidentifier() and step.isascii() else f"[{_cut(step)}]")
        else:
            parts.append(f"[{step}]")
    return "".join(parts).removeprefix(".")


def _cut(name: object) -> str:
    return ascii(name)[:64]


def _kind(value: object) -> str:
    name = type(value).__name__
    return f"{'an' if name[:1].lower() in 'aeiou' else 'a'} {name}"
