"""The plaintext of the records of a sealed state: keys, and their new values."""

from dataclasses import dataclass
from typing import Annotated

from casemate.wire.encodings.message import Limit

MAX_KEY = 256
"""Longest key of a state (bytes of UTF-8)."""

MAX_VALUE = 1024 * 1024
"""Longest value of a state (bytes of JSON)."""

MAX_PART_SIZE = 4 * 1024 * 1024
"""A part of a commit is closed before it grows beyond this (bytes of keys and values)."""

MAX_PART_CHANGES = 32_768
"""Most changes in one part."""

Key = Annotated[str, Limit(MAX_KEY)]
Value = Annotated[bytes, Limit(MAX_VALUE)]


@dataclass(frozen=True, slots=True)
class Change:
    """A key and its new value."""

    key: Key
    value: Value | None
    """JSON, compact and with its members sorted; None where the key was deleted."""


@dataclass(frozen=True, slots=True)
class Changes:
    """The plaintext of one record, in the order in which it is to be applied."""

    changes: tuple[Change, ...]
