"""The cases of `casemate test`: calls of a function in a real enclave, and what they must give.

A case is a folder ``tests/cases/NAME``. Its ``case.toml`` lists calls of one enclave, in their order::

    [[call]]
    entry = "put"                  # may be left out where there is only one
    caller = "alice"               # who signs; default: the first whom the entry point names, or nobody
    input_file = "input.json"      # below the case's folder; or input = {...}; or neither, for null
    expected_file = "expected.json" # or expected = {...}; or error = "CODE"; or none of them, and any result will do
    stream_in_file = "letter.txt"  # of an entry point with a stream; or stream_in = "text", or a list of pieces
    stream_out_file = "redacted.txt" # or stream_out = "text"; or neither, and any output will do

Without ``case.toml``, ``input.json`` and ``expected.json`` are one call, with ``input.stream`` and ``expected.stream``
where these are there. Those of the function's own folder are a case, too, where there is one entry point.
"""

import tomllib
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from casemate.cli.files import InputFileError, read_file
from casemate.cli.functions.copy_calls import STREAM, read_stream
from casemate.wire.encodings.json_text import parse_json
from casemate.wire.protocol.call import MAX_ARGUMENTS, MAX_OUTPUT

CASES = Path("tests", "cases")
CASE_FILE = "case.toml"
MAX_CASE_FILE = 1024 * 1024
"""Longest ``case.toml`` (bytes)."""

_TEXTS = ("entry", "caller", "input_file", "expected_file", "error", "stream_in_file", "stream_out", "stream_out_file")
_KEYS = frozenset((*_TEXTS, "input", "expected", "stream_in"))


@dataclass(frozen=True, slots=True)
class Expected:
    """What a call must give."""

    value: Any = None
    error: str = ""
    """The code of the refusal that is wanted; empty where a result is."""
    is_any: bool = False
    """Whether any result will do."""
    stream: bytes | None = None
    """What must be put out; None where anything will do."""


@dataclass(frozen=True, slots=True)
class CaseCall:
    """One call of a case."""

    entry: str | None
    """None for the only one there is."""
    caller: str | None
    """None for the first that the entry point names, or nobody where it admits anyone."""
    arguments: Any
    expected: Expected
    pieces: tuple[bytes, ...] = ()
    """What is streamed in."""


@dataclass(frozen=True, slots=True)
class Case:
    """Calls of one enclave, which nothing has called before."""

    name: str
    calls: tuple[CaseCall, ...]

    @property
    def callers(self) -> frozenset[str]:
        """Whom it names."""
        return frozenset(call.caller for call in self.calls if call.caller is not None)


def cases_of(folder: Path, *, entries: int) -> tuple[Case, ...]:
    """The cases of a function's folder, those of its own files first.

    Args:
        folder: with casemate.toml.
        entries: how many entry points its manifest has.

    Raises:
        InputFileError: a case cannot be read, or says what no case can.
        WireError: an input or an expected result is not JSON.
    """
    found: list[Case] = []
    if entries == 1 and (folder / "input.json").is_file() and (folder / "expected.json").is_file():
        found.append(Case("input.json", (_pair(folder),)))
    try:
        inner = sorted(path for path in (folder / CASES).iterdir() if path.is_dir())
    except FileNotFoundError:
        inner = []
    return (*found, *(_case(path) for path in inner))


def _pair(folder: Path) -> CaseCall:
    arguments = _json(folder / "input.json")
    wanted, out = folder / "expected.json", folder / f"expected{STREAM}"
    if not wanted.exists():
        error = InputFileError(f"case {folder}: it has input.json and no expected.json")
        error.advice = f"write what the call must give into {wanted}; or a {CASE_FILE}, in which any result will do"
        raise error
    expected = Expected(_json(wanted, MAX_OUTPUT), stream=read_stream(out) if out.exists() else None)
    given = folder / f"input{STREAM}"
    pieces = (read_stream(given),) if given.exists() else ()
    return CaseCall(None, None, arguments, expected, pieces)


def _case(folder: Path) -> Case:
    file = folder / CASE_FILE
    if not file.exists():
        return Case(folder.name, (_pair(folder),))
    try:
        text = read_file(file, what="case", limit=MAX_CASE_FILE).decode()
        parsed = tomllib.loads(text)
    except (UnicodeDecodeError, tomllib.TOMLDecodeError) as error:
        raise InputFileError(f"case {file}: it is not TOML: {error}") from None
    calls = parsed.pop("call", None)
    if parsed or not isinstance(calls, list) or not calls:
        raise InputFileError(f"case {file}: got other keys than [[call]], or none, want [[call]] tables alone")
    return Case(folder.name, tuple(_call(folder, f"case {file}, call {at}", call) for at, call in enumerate(calls, 1)))


def _call(folder: Path, where: str, call: Any) -> CaseCall:
    if not isinstance(call, dict):
        raise InputFileError(f"{where}: got no table, want [[call]]")
    unknown = sorted(call.keys() - _KEYS)
    if unknown:
        raise InputFileError(f"{where}: got the key {unknown[0]!r}, want one of {', '.join(sorted(_KEYS))}")
    for name in _TEXTS:
        if name in call and not isinstance(call[name], str):
            raise InputFileError(f"{where}: {name} is no text")
    _check_one(where, call, "input", "input_file")
    _check_one(where, call, "expected", "expected_file", "error")
    _check_one(where, call, "stream_in", "stream_in_file")
    _check_one(where, call, "stream_out", "stream_out_file", "error")
    arguments = _json(folder / call["input_file"]) if "input_file" in call else _inline(where, call.get("input"))
    if "error" in call:
        expected = Expected(error=call["error"])
    elif "expected_file" in call:
        expected = Expected(_json(folder / call["expected_file"], MAX_OUTPUT), stream=_stream_out(folder, call))
    else:
        is_any = "expected" not in call
        expected = Expected(_inline(where, call.get("expected")), is_any=is_any, stream=_stream_out(folder, call))
    pieces = _stream_in(folder, where, call)
    return CaseCall(call.get("entry"), call.get("caller"), arguments, expected, pieces)


def _stream_in(folder: Path, where: str, call: Mapping[str, Any]) -> tuple[bytes, ...]:
    if "stream_in_file" in call:
        return (read_stream(folder / call["stream_in_file"]),)
    given = call.get("stream_in", [])
    pieces = given if isinstance(given, list) else [given]
    if not all(isinstance(piece, str) for piece in pieces):
        raise InputFileError(f"{where}: stream_in is neither text nor a list of texts")
    return tuple(piece.encode() for piece in pieces)


def _stream_out(folder: Path, call: Mapping[str, Any]) -> bytes | None:
    if "stream_out_file" in call:
        return read_stream(folder / call["stream_out_file"])
    text: str | None = call.get("stream_out")
    return None if text is None else text.encode()


def _check_one(where: str, call: Mapping[str, Any], *names: str) -> None:
    given = [name for name in names if name in call]
    if len(given) > 1:
        raise InputFileError(f"{where}: got {' and '.join(given)}, want one of them")


def _inline(where: str, value: Any) -> Any:
    """A value of TOML that JSON has, too."""
    for part in _parts(value):
        if not isinstance(part, dict | list | str | int | float | bool | None):
            raise InputFileError(f"{where}: got a {type(part).__name__}, which JSON does not have; write it as text")
    return value


def _parts(value: Any) -> Iterator[Any]:
    yield value
    if isinstance(value, dict | list):
        for inner in value.values() if isinstance(value, dict) else value:
            yield from _parts(inner)


def _json(path: Path, limit: int = MAX_ARGUMENTS) -> Any:
    return parse_json(str(path), read_file(path, what="case", limit=limit), limit=limit)
