"""Reads what a function asks to have run: code of a caller's, and what it is called with.

The function itself is the one that may be told of mistakes here. What is wrong with the code alone is no mistake of the
function's: :class:`CodeRefusedError`.
"""

import hashlib
import re
from collections.abc import Mapping
from dataclasses import dataclass

from casemate.engines.command import GuestProgram
from casemate.engines.javascript.brought_imports import ImportRefusedError, brought_links
from casemate.engines.questions.runs import MAX_RUN
from casemate.images.layout import GUEST, CircularImportsError, Module, load_order
from casemate.wire.encodings.json_text import Json, encode_json, parse_json
from casemate.wire.errors import CasemateError, WireError
from casemate.wire.messages.entry import MAX_OCALL
from casemate.wire.protocol.capabilities.run import MIN_MEMORY_MIB, RunRules
from casemate.wire.protocol.faults import Code, FaultError, refuse
from casemate.wire.protocol.image_index import Link, check_path
from casemate.wire.protocol.manifest import Engine

MAX_MODULES = 32
"""Most sources of a run."""
MAX_PATH = 128
"""Longest path of a source (characters)."""
MAIN = {Engine.JAVASCRIPT: "main.js", Engine.PYTHON: "main.py"}
"""The source whose functions can be called, by engine."""

_SUFFIXES = (".js", ".mjs", ".json")
_FUNCTION = re.compile(r"[A-Za-z][A-Za-z0-9_]{0,63}", re.ASCII)


class CodeRefusedError(CasemateError):
    """The code can never be run, whatever it is called with."""


@dataclass(frozen=True, slots=True)
class BroughtCode:
    """Code to be run, as the manifest allows."""

    engine: Engine
    sources: Mapping[str, bytes]
    """By path, in the order of the paths."""
    entry: str
    argument: bytes
    """JSON."""
    memory_mib: int
    time_ms: int
    output_limit: int
    """Bytes."""

    @property
    def sha256(self) -> str:
        """What names the code in results."""
        return sha256_of(self.sources)

    def program(self) -> GuestProgram:
        """What a guest is given: no permission, and nothing else that a manifest could grant.

        It tells of its exceptions as in a debug enclave, since they are the words of the code's own author, and go to
        the function that has it run.

        Raises:
            CodeRefusedError: modules import what is not there, or each other in a circle.
        """
        return GuestProgram(
            modules=self._modules(),
            entries=(self.entry,),
            output_limit=self.output_limit,
            ocall_limit=MAX_OCALL,
            debug=True,
        )

    def _modules(self) -> tuple[Module, ...]:
        files = {f"{GUEST}{path}": source for path, source in self.sources.items()}
        main = f"{GUEST}{MAIN[self.engine]}"
        if self.engine is Engine.PYTHON:
            order = [*(path for path in files if path != main), main]
            return tuple(Module(path, files[path], ()) for path in order)
        try:
            found: dict[str, tuple[Link, ...]] = {
                path: brought_links(path, source, files) if path.endswith((".js", ".mjs")) else ()
                for path, source in files.items()
            }
            reached = load_order(tuple(link for links in found.values() for link in links), [main])
        except ImportRefusedError as error:
            raise CodeRefusedError(str(error)) from None
        except CircularImportsError as error:
            raise CodeRefusedError(f"modules import each other: {' -> '.join(error.circle)}") from None
        return tuple(Module(path, files[path], found[path]) for path in reached)


def sha256_of(sources: Mapping[str, bytes]) -> str:
    """SHA-256, in hexadecimal, of what ``sha256sum`` prints for the sources in the order of their paths."""
    lines = (f"{hashlib.sha256(sources[path]).hexdigest()}  {path}\n" for path in sorted(sources, key=str.encode))
    return hashlib.sha256("".join(lines).encode()).hexdigest()


def read_brought(text: bytes, rules: RunRules) -> BroughtCode:
    """What the function asks for.

    Args:
        text: JSON of a guest's: see :class:`casemate.engines.questions.runs.Run`.
        rules: the manifest's.

    Raises:
        FaultError: ``guest-error``: it breaks a rule; ``code-refused`` is no fault, and comes later.
    """
    try:
        asked = parse_json("what to run", text, limit=MAX_RUN, round_integers=True)
    except WireError as error:
        raise _mistake(f"what to run is no JSON: {error.got}, want {error.want}") from None
    if not isinstance(asked, list) or len(asked) != 5:  # the bootstrap always sends these
        raise _mistake("a run has an engine, code, an entry, an argument and limits")
    engine, code, entry, argument, limits = asked
    known = _engine(engine, rules)
    if not isinstance(entry, str) or not _FUNCTION.fullmatch(entry):
        raise _mistake("entry is the name of a function: letters, digits, _; at most 64")
    asked_limits = _Limits(limits)
    return BroughtCode(
        engine=known,
        sources=_sources(known, code, rules),
        entry=entry,
        argument=encode_json(argument),
        memory_mib=asked_limits.take("memory_mib", MIN_MEMORY_MIB, rules.memory_mib),
        time_ms=asked_limits.take("time_ms", 1, rules.time_ms),
        output_limit=asked_limits.take("output_kib", 1, rules.output_kib) * 1024,
    )


def _engine(name: Json, rules: RunRules) -> Engine:
    for engine in rules.engines:
        if engine == name:
            return engine
    allowed = " or ".join(f'"{engine}"' for engine in rules.engines)
    raise _mistake(f"engine is {str(name)[:64]!r}, and [run] in casemate.toml allows {allowed}")


def _sources(engine: Engine, code: Json, rules: RunRules) -> dict[str, bytes]:
    main = MAIN[engine]
    given = {main: code} if isinstance(code, str) else code
    if not isinstance(given, dict) or not 1 <= len(given) <= MAX_MODULES:
        raise _mistake(f"code is a source, or at most {MAX_MODULES} sources by their paths")
    sources = {}
    for path in sorted(given, key=str.encode):
        source = given[path]
        if not isinstance(source, str):
            raise _mistake(f"the source of {path[:MAX_PATH]!r} is no text")
        _check_name(engine, path)
        sources[path] = source.encode()
    if main not in sources:
        raise _mistake(f"code has no {main}, which is where the entry is looked for")
    size = sum(map(len, sources.values()))
    if size > rules.code_kib * 1024:
        raise _mistake(f"the code has {size} bytes, and [run] in casemate.toml allows {rules.code_kib} KiB")
    return sources


def _check_name(engine: Engine, path: str) -> None:
    try:
        check_path(path)
    except WireError as error:
        raise _mistake(f"a source's path is {str(error.got)[:MAX_PATH]}, want {error.want}") from None
    if len(path) > MAX_PATH:
        raise _mistake(f"a source's path has {len(path)} characters, want {MAX_PATH} at most")
    if engine is Engine.JAVASCRIPT and not path.endswith(_SUFFIXES):
        raise _mistake(f"a source's path is {path!r}, want one that ends with {' or '.join(_SUFFIXES)}")


class _Limits:
    """The limits of one run: each up to what the manifest allows, which holds where none is given."""

    def __init__(self, given: Json) -> None:
        known = ("memory_mib", "time_ms", "output_kib")
        if not isinstance(given, dict) or not set(given).issubset(known):
            raise _mistake(f"limits is an object that may have {', '.join(known)}")
        self._given = given

    def take(self, name: str, least: int, most: int) -> int:
        value = self._given.get(name, most)
        if type(value) is not int or not least <= value <= most:
            raise _mistake(f"limits.{name} is {str(value)[:32]}, want an integer from {least} to {most}")
        return value


def _mistake(words: str) -> FaultError:
    return refuse(Code.GUEST_ERROR, f"context.run: {words}")
