"""What a failed call of a debug enclave says: the exception, where it was thrown, and that line of the author's source.

All of it is the function's own word, and the source is this computer's: nothing here vouches for anything.
"""

import re
from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from types import MappingProxyType
from typing import TYPE_CHECKING

from casemate.cli.errors import ExitReport, exit_report
from casemate.wire.protocol.faults import Code, FaultError

if TYPE_CHECKING:
    from casemate.images.image import Image
    from casemate.wire.errors import CasemateError

DEBUG: Mapping[tuple[str, str], bool | int | str] = MappingProxyType({("enclave", "debug"): True})
"""The change of a manifest that makes a copy a debug enclave."""

_MAX_SOURCE = 4 * 1024 * 1024
_THROWN = re.compile(
    r" at (?P<path>guest/[\w@+./-]+):(?P<line>\d{1,9})(?::(?P<column>\d{1,9}))?(?:\n {4}[^\n]*){0,2}\Z", re.ASCII
)
"""The end of what :func:`casemate.enclave.guest.failure_words.words_of` says."""

_REFUSED_WITHIN = frozenset({Code.OCALL_REFUSED, Code.STATE_REFUSED, Code.STATE_LIMIT})
"""Refusals that the function has met, and that come with the place where it did."""

_NO_NETWORK = "a function has no network: ask the operator with context.ocall"
_PYTHON_HINTS = (
    ("can't start new thread", "a function has no threads: do the work in turn, or with coroutines"),
    (
        "PermissionError: [Errno 13] Permission denied: ",
        "a function opens no files: keep data under guest/, and read it with pkgutil.get_data",
    ),
    (
        "PermissionError: [Errno 1] Operation not permitted",
        "a function has no sockets and starts no programs: ask the operator with context.ocall",
    ),
    ("Temporary failure in name resolution", _NO_NETWORK),
    ("ZoneInfoNotFoundError", "a function has no zones of the machine's: copy the package tzdata to guest/tzdata"),
    ("MemoryError", "keep less at a time, or raise memory_mib in the manifest's [limits]"),
    ("is no error that [errors] in casemate.toml declares", "declare it in [errors], or refuse with one that is there"),
)
"""What a function's author can do, by words of Python's exceptions that do not say it themselves."""

_NOT_THE_WEBS = (
    "a function has what JavaScript and the Web have, and nothing of Node's or Deno's own: no files, no processes, no "
    "environment; import data from JSON files under guest/"
)
_NODES = ("Deno", "process", "require", "module", "exports", "Buffer", "__dirname", "global")
_JAVASCRIPT_HINTS = (
    *((f"ReferenceError: {name} is not", _NO_NETWORK) for name in ("fetch", "WebSocket", "XMLHttpRequest")),
    *((f"ReferenceError: {name} is not", _NOT_THE_WEBS) for name in _NODES),
    ("ReferenceError: Worker is not", "a function has no threads: do the work in turn"),
    ("ReferenceError: localStorage is not", "keep it in context.state, with a table [state] in casemate.toml"),
    ("EvalError: Code generation from strings", "text is never run as code: write it as a function"),
)


@dataclass(frozen=True, slots=True)
class SourcePlace:
    """A place in the author's folder."""

    path: str
    """Below the folder, such as ``guest/main.js``."""
    line: int
    """From 1."""
    column: int
    """From 1; 0 where it is not known."""

    def __str__(self) -> str:
        return f"{self.path}:{self.line}" + (f":{self.column}" if self.column else "")

    def excerpt(self, folder: Path) -> str | None:
        """That line of the folder, and a caret below its column; None where it is not there."""
        from casemate.images.errors import line_excerpt

        if ".." in self.path.split("/"):
            return None
        text = _line(folder / self.path, self.line)
        return line_excerpt(text, self.column or len(text) - len(text.lstrip()) + 1)


def is_debug(image: "Image") -> bool:
    """Whether an image is a debug enclave's, which tells its host what it prints and throws."""
    return image.parse_sigstruct().attributes.debug


def debug_report(error: "CasemateError | OSError", folder: Path | None, console: list[dict[str, object]]) -> ExitReport:
    """The report of an error of a call, with its place and console lines.

    Args:
        error: of the call.
        folder: the function's source; None where it is not known.
        console: what the function has printed, for programs; a person has seen it already.
    """
    told = exit_report(error)
    details: dict[str, object] = told.details | {"console": console}
    words, place = thrown_at(str(error)) if _is_of_guest(error) else (told.message, None)
    if place is None:
        return replace(told, details=details)
    details |= {"path": place.path, "line": str(place.line), "column": str(place.column)}
    excerpt = None if folder is None else place.excerpt(folder)
    if excerpt is not None:
        details["excerpt"] = excerpt
    where = place.path if folder is None else folder / place.path
    code = _code(error)
    hint = told.advice if code in _REFUSED_WITHIN or code is Code.TIME_LIMIT else _hint(words, place)
    verb = "look at" if code is Code.TIME_LIMIT else "correct"
    advice = f"{verb} {where}, line {place.line}" + (f": {hint}" if hint else "")
    return replace(told, message=f"{words} at {place}", advice=advice, details=details)


def _hint(words: str, place: SourcePlace) -> str:
    """What to do about an exception; empty where its words say that."""
    hints = _PYTHON_HINTS if place.path.endswith(".py") else _JAVASCRIPT_HINTS
    return next((hint for said, hint in hints if said in words), "")


def _is_of_guest(error: Exception) -> bool:
    code = _code(error)
    return code in _REFUSED_WITHIN or code in (
        Code.GUEST_ERROR,
        Code.RESULT_REFUSED,
        Code.OUTPUT_LIMIT,
        Code.TIME_LIMIT,
    )


def _code(error: Exception) -> Code | None:
    return error.fault.code if isinstance(error, FaultError) else None


def thrown_at(words: str) -> tuple[str, SourcePlace | None]:
    """A debug enclave's words about an exception without its place, and the place; None where they name none."""
    found = _THROWN.search(words)
    if found is None:
        return words, None
    return words[: found.start()], SourcePlace(found["path"], int(found["line"]), int(found["column"] or 0))


def _line(path: Path, line: int) -> str:
    """A line of a file; empty where there is none."""
    try:
        with path.open("rb") as file:
            lines = file.read(_MAX_SOURCE).decode("utf-8", "replace").split("\n")
    except OSError:
        return ""
    return lines[line - 1].rstrip("\r") if 0 < line <= len(lines) else ""
