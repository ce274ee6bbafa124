"""The tables of casemate.toml as they are read: typed values, and errors that name the key.

:mod:`casemate.wire.protocol.manifest_text` reads a whole manifest with these; each module of
:mod:`casemate.wire.protocol.capabilities` reads the table of its capability.
"""

import json
import re
from collections.abc import Callable
from dataclasses import dataclass
from enum import StrEnum
from typing import Any, TypeVar

from casemate.wire.encodings.json_text import encode_json, parse_json
from casemate.wire.errors import CasemateError, WireError
from casemate.wire.protocol.caller_key import has_small_order, parse_caller_key
from casemate.wire.protocol.image_index import check_path

MAX_SCHEMA = 256 * 1024
"""Longest schema (bytes of JSON)."""
MAX_SCHEMAS = 1024 * 1024
"""All schemas together (bytes of JSON), each counted as often as it is named: an enclave compiles them at boot."""

SCHEMAS = "schemas/"
"""The folder of the schemas."""

_LONGEST_SHOWN = 80
"""Characters of a value that an error shows."""

Choice = TypeVar("Choice", bound=StrEnum)
ReadFile = Callable[[str], bytes | None]
"""The bytes of a measured file by its path, None where there is no such file."""


class ManifestError(CasemateError):
    """casemate.toml, or a schema it names, breaks a rule: correct the key.

    Args:
        key: the dotted key in the manifest.
        got: what stood there.
        want: what would have been accepted.
        advice: what to do, where that is not to correct the key.
    """

    def __init__(self, key: str, *, got: object, want: object, advice: str = "") -> None:
        super().__init__(f"casemate.toml: {key} is {got}, want {want}")
        self.advice = advice
        self.key = key
        self.got = got
        self.want = want


class UnknownKeyError(ManifestError):
    """A table of casemate.toml has a key that means nothing: remove it, or correct its spelling.

    Args:
        key: the dotted key in the manifest.
        name: its last part, at most 80 characters of it.
        known: the keys that the table may have.
    """

    def __init__(self, key: str, *, name: str, known: tuple[str, ...]) -> None:
        super().__init__(key, got="an unknown key", want=f"one of {', '.join(known)}")
        self.name = name
        self.known = known


@dataclass(frozen=True, slots=True)
class Schema:
    """A JSON Schema that the manifest names or holds; well-formed JSON, not yet checked to be a schema."""

    key: str
    """The dotted key in the manifest, with the file's path where the schema is a file."""
    document: Any
    """The JSON value."""


class Files:
    """The measured files that a manifest names, up to :data:`MAX_SCHEMAS` bytes of schemas."""

    def __init__(self, read_file: ReadFile) -> None:
        self._read_file = read_file
        self._left = MAX_SCHEMAS

    def read(self, key: str, path: str) -> bytes:
        """The file that the manifest names at ``key``."""
        try:
            check_path(path)
        except WireError as error:
            raise ManifestError(key, got=error.got, want=error.want) from None
        content = self._read_file(path)
        if content is None:
            raise ManifestError(key, got=shown(path), want="a file that is there and measured")
        return content

    def schema(self, key: str, path: str) -> bytes:
        """A schema's file, which counts towards the bound."""
        content = self.read(key, path)
        self._left -= len(content)
        if self._left < 0:
            raise ManifestError("the schemas", got=f"more than {MAX_SCHEMAS} bytes", want="less, all together")
        return content


class Table:
    """A TOML table whose keys are known; or whose keys are names that the author chose, where ``known`` is None."""

    __slots__ = ("_path", "_values")

    def __init__(self, path: str, values: dict[str, Any], known: tuple[str, ...] | None) -> None:
        self._path = path
        self._values = values
        if known is not None:
            unknown = next((name for name in values if name not in known), None)
            if unknown is not None:
                raise UnknownKeyError(self.key(shown(unknown)), name=unknown[:_LONGEST_SHOWN], known=known)

    def __contains__(self, name: str) -> bool:
        return name in self._values

    def key(self, name: str) -> str:
        """The dotted key of a member, for errors."""
        return f"{self._path}.{name}" if self._path else name

    def names(self) -> list[str]:
        """The members' names, in the file's order."""
        return list(self._values)

    def value(self, name: str, want: str) -> Any:
        """A member that must be there."""
        if name not in self._values:
            where = f"[{self._path}] of casemate.toml" if self._path else "casemate.toml"
            raise ManifestError(self.key(name), got="not there", want=want, advice=f"add {name} = ... to {where}")
        return self._values[name]

    def table(self, name: str, known: tuple[str, ...] | None = None, *, optional: bool = False) -> "Table":
        """A table inside; an empty one where it may be absent and is."""
        if name not in self and not optional:
            heading = f"[{self.key(name)}]"
            raise ManifestError(
                self.key(name), got="not there", want=f"a table {heading}", advice=f"add {heading} to casemate.toml"
            )
        value = self._values.get(name, {})
        if not isinstance(value, dict):
            raise ManifestError(self.key(name), got=shown(value), want="a table")
        return Table(self.key(name), value, known)

    def holds_table(self, name: str) -> bool:
        """Whether a member is a table."""
        return isinstance(self._values.get(name), dict)

    def integer(self, name: str, least: int, most: int, *, absent: int | None = None) -> int:
        """An integer within bounds; ``absent`` is its value where it is not written, None where it must be."""
        want = f"an integer from {least} to {most}"
        value = self.value(name, want) if absent is None else self._values.get(name, absent)
        if type(value) is not int or not least <= value <= most:  # a bool is an int to isinstance
            raise ManifestError(self.key(name), got=shown(value), want=want)
        return value

    def flag(self, name: str, *, absent: bool | None = None) -> bool:
        """True or false; ``absent`` is its value where it is not written, None where it must be."""
        value = self.value(name, "true or false") if absent is None else self._values.get(name, absent)
        if not isinstance(value, bool):
            raise ManifestError(self.key(name), got=shown(value), want="true or false")
        return value

    def text(self, name: str, want: str) -> str:
        """A string."""
        value = self.value(name, want)
        if not isinstance(value, str):
            raise ManifestError(self.key(name), got=shown(value), want=want)
        return value

    def name(self, name: str, pattern: re.Pattern[str], want: str) -> str:
        """A string that matches a pattern."""
        value = self.text(name, want)
        if not pattern.fullmatch(value):
            raise ManifestError(self.key(name), got=shown(value), want=want)
        return value


def shown(value: object) -> str:
    """A value for a message, cut short, as TOML would write it."""
    text = repr(value) if isinstance(value, str) else json.dumps(value, default=str)
    return text if len(text) <= _LONGEST_SHOWN else f"{text[:_LONGEST_SHOWN]}..."


def read_choice(table: Table, name: str, choices: type[Choice], *, absent: Choice | None = None) -> Choice:
    """One of a few words; ``absent`` where none is written, None where one must be."""
    if absent is not None and name not in table:
        return absent
    known = " or ".join(repr(choice.value) for choice in choices)
    text = table.text(name, known)
    try:
        return choices(text)
    except ValueError:
        raise ManifestError(table.key(name), got=shown(text), want=known) from None


def read_public_key(key: str, text: str) -> bytes:
    try:
        public_key = parse_caller_key(key, text)
    except WireError as error:
        raise ManifestError(key, got=error.got, want=error.want) from None
    if has_small_order(public_key):
        raise ManifestError(key, got="a key of small order", want="one with an owner: anybody can sign for this one")
    return public_key


def read_schema(table: Table, name: str, files: Files) -> Schema:
    """A schema: the path of a file under schemas/, or a table inside the manifest."""
    key = table.key(name)
    value = table.value(name, "the path of a JSON Schema under schemas/, or an inline table")
    if isinstance(value, str):
        if not value.startswith(SCHEMAS):
            raise ManifestError(key, got=shown(value), want="a path under schemas/, where files are measured")
        text, key = files.schema(key, value), f"{key} ({value})"
    elif isinstance(value, dict):
        text = inline(key, value)
    else:
        raise ManifestError(key, got=shown(value), want="a path or an inline table")
    try:
        return Schema(key, parse_json("schema", text, limit=MAX_SCHEMA))
    except WireError as error:
        raise ManifestError(key, got=error.got, want=error.want) from None


def inline(key: str, value: dict[str, Any]) -> bytes:
    """A schema written in TOML, as JSON, so that both kinds pass the same checks; JSON has no dates and infinities."""
    try:
        return encode_json(value)
    except (TypeError, ValueError, RecursionError):
        raise ManifestError(key, got="a value that JSON does not have", want="values that JSON has") from None
