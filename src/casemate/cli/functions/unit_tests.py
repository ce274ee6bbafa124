"""A function's own unit tests, run without an enclave by the tools of its language."""

import os
import subprocess
import sys
import time
from importlib.util import find_spec
from pathlib import Path

from casemate.cli.functions.outcomes import Outcome
from casemate.wire.protocol.manifest import Engine

TIME = 300.0
"""Longest run of the unit tests (seconds)."""

TESTS = "tests"
_JAVASCRIPT = ("*.test.js", "*.test.mjs", "*_test.js", "*_test.mjs")
_PYTHON = ("test_*.py", "*_test.py")
_SETTINGS = ("deno.json", "deno.jsonc")
"""Deno reads the first of them that it finds in the folder or above it."""
_IMPORTS = ("imports", "importMap")
"""Settings of Deno that say what modules' names stand for."""


def command(folder: Path, engine: Engine) -> list[str] | None:
    """The command that runs the tests of a folder; None where it has none.

    Tests in JavaScript find ``casemate/testing``, unless the author's own ``deno.json`` says what names stand for.
    """
    patterns = _PYTHON if engine is Engine.PYTHON else _JAVASCRIPT
    if not any(next((folder / TESTS).rglob(pattern), None) for pattern in patterns):
        return None
    if engine is Engine.PYTHON:
        if find_spec("pytest") is not None:
            return [sys.executable, "-m", "pytest", "-q", TESTS]
        return [sys.executable, "-m", "unittest", "discover", "-s", TESTS]
    from casemate.images.functions.javascript.author_files import IMPORT_MAP
    from casemate.process.extras import engine_binary

    imports = [] if _has_imports(folder) else [f"--import-map={IMPORT_MAP}"]
    return [str(engine_binary("the tests of a function")), "test", "--no-prompt", *imports, f"{TESTS}/"]


def _has_imports(folder: Path) -> bool:
    """Whether the settings that Deno would find for a folder name imports, which an option would replace."""
    for place in (folder.resolve(), *folder.resolve().parents):
        for name in _SETTINGS:
            try:
                text = (place / name).read_text(errors="replace")
            except OSError:
                continue
            return any(f'"{key}"' in text for key in _IMPORTS)
    return False


def run(folder: Path, arguments: list[str]) -> Outcome:
    """What the tests say. They run as this user, with all that this user may do."""
    begin = time.monotonic()
    modules = os.pathsep.join(filter(None, (str(folder.resolve() / "guest"), os.environ.get("PYTHONPATH"))))
    environment = os.environ | {"NO_COLOR": "1", "DENO_NO_UPDATE_CHECK": "1", "PYTHONPATH": modules}
    try:
        done = subprocess.run(
            arguments,
            cwd=folder,
            env=environment,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            timeout=TIME,
            check=False,
        )
    except subprocess.TimeoutExpired as error:
        said = (error.stdout or b"").decode(errors="replace")
        return Outcome("unit tests", TIME, f"they did not end within {TIME:g} s", said)
    took = time.monotonic() - begin
    text = done.stdout.decode(errors="replace")
    if done.returncode:
        return Outcome("unit tests", took, f"exit status {done.returncode}", text)
    return Outcome("unit tests", took)
