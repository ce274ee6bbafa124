"""Checks at build time that the engine can load the guest's modules: it parses and links them, and runs none.

The parser in :mod:`casemate.images.functions.javascript.links` accepts syntax that is not JavaScript (JSX, decorators),
and knows no rules beyond the grammar: octal literals, names declared twice, imports of names that are not exported. The
engine decides on these, at the build instead of at launch.
"""

import base64
import json
import re
import subprocess
from collections.abc import Sequence
from importlib import resources
from pathlib import Path
from typing import Any

from casemate.images.errors import SourceError
from casemate.images.layout import Module

TIMEOUT = 20.0
"""Longest wait for the engine (seconds)."""

_MEMORY_MIB = 512
_URL_SIZE = len('"blob:null/01234567-0123-0123-0123-0123456789ab"')
"""Characters that stand in a loaded module in place of an import specifier."""
_PLACE = re.compile(r"(?: at)?\s*(?P<url>blob:null/[0-9a-f-]{36}):(?P<line>[0-9]+):(?P<column>[0-9]+)", re.ASCII)


def check_loads(engine: Path, modules: Sequence[Module]) -> bool:
    """Has the engine load the modules; returns False where it did not answer.

    Args:
        engine: Deno's binary. It gets no permission, no file and no network, and evaluates nothing of the modules.
        modules: each after those that it imports.

    Raises:
        SourceError: the engine cannot load them; with file, line and column, in the engine's words.
    """
    script = (resources.files("casemate.images.functions.javascript") / "load_check.js").read_bytes()
    flags = ("--quiet", "--no-prompt", "--no-remote", "--no-npm", "--no-config", "--no-lock", "--no-code-cache")
    command = (
        *(str(engine), "run", *flags, f"--v8-flags=--max-old-space-size={_MEMORY_MIB}"),
        f"data:text/javascript;base64,{base64.b64encode(script).decode()}",
    )
    environment = {"DENO_DIR": "/dev/null/none", "HOME": "/nonexistent", "DENO_NO_UPDATE_CHECK": "1", "NO_COLOR": "1"}
    numbers = {module.path: number for number, module in enumerate(modules)}
    given = [{"pieces": _pieces(module, numbers), "json": module.path.endswith(".json")} for module in modules]
    try:
        ran = subprocess.run(
            command,
            input=json.dumps(given).encode(),
            capture_output=True,
            timeout=TIMEOUT,
            check=True,
            env=environment,
        )
        said = json.loads(ran.stdout)
    except (OSError, subprocess.SubprocessError, ValueError):
        return False
    if said["words"] is not None:
        raise _refusal(said["words"], dict(zip(said["urls"], modules, strict=True)))
    return True


def _pieces(module: Module, numbers: dict[str, int]) -> list[Any]:
    """The text around its import specifiers, with the numbers of the modules that they mean."""
    pieces: list[Any] = []
    done = 0
    for link in module.links:
        pieces += [module.source[done : link.start].decode(), numbers[link.target]]
        done = link.end
    return [*pieces, module.source[done:].decode()]


def _refusal(words: str, modules: dict[str, Module]) -> SourceError:
    """The engine's first line, without the names and places that the modules have inside the engine."""
    first = words.partition("\n")[0].removeprefix("SyntaxError: ")
    place = _PLACE.search(words)
    module = modules.get(place["url"]) if place is not None else None
    if place is None or module is None:
        main = list(modules.values())[-1]
        return SourceError.in_line(main.path, main.source, 1, 1, _told(first, modules))
    line, column = int(place["line"]), int(place["column"])
    reason = _told(_PLACE.sub("", first), modules)
    return SourceError.in_line(module.path, module.source, line, _column(module, line, column), reason)


def _told(words: str, modules: dict[str, Module]) -> str:
    for url, module in modules.items():
        words = words.replace(url, module.path)
    return f"the engine cannot load this: {words.strip()[:300]}"


def _column(module: Module, line: int, column: int) -> int:
    """The column in the source for a column in the loaded text, whose specifiers have other lengths."""
    for link in module.links:
        before = module.source[: link.start].decode()
        if before.count("\n") + 1 == line:
            start = len(before) - before.rfind("\n")
            longer = _URL_SIZE - len(module.source[link.start : link.end].decode())
            if column > start + longer:
                column -= longer
    return column
