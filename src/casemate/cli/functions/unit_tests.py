"""A function's own unit tests, run without an enclave by the tools of its language."""

import os
import re
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from importlib.util import find_spec
from pathlib import Path
from typing import IO

from casemate.cli.functions.outcomes import Outcome
from casemate.wire.protocol.manifest import Engine

TIME = 300.0
"""Longest run of the unit tests (seconds)."""

TESTS = "tests"
_ENVIRONMENT = {"NO_COLOR": "1", "DENO_NO_UPDATE_CHECK": "1", "PYTHONDONTWRITEBYTECODE": "1"}
_MOST_PRINTED = 1024 * 1024
"""Bytes that are kept of what they print, the last ones."""
_PIECE = 64 * 1024
_PIPE_CLOSED = 2.0
"""Seconds within which what a killed process has printed is there: somebody who left its session may keep the pipe."""
_NONE_FOUND = re.compile(r"^(Ran 0 tests in|NO TESTS RAN)", re.MULTILINE)
"""What unittest says where it has found nothing, with an exit status of 0 before Python 3.12."""
_WHAT_UNITTEST_FINDS = "without pytest, tests are methods of unittest.TestCase; `pip install pytest` to have functions"
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
            return [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", TESTS]
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


@contextmanager
def running(folder: Path, arguments: list[str]) -> Iterator[Callable[[], Outcome]]:
    """Starts the tests, as this user, with all that this user may do; yields what waits for their outcome.

    When the block ends, so do they, and what they have started.
    """
    begin = time.monotonic()
    modules = os.pathsep.join(filter(None, (str(folder.resolve() / "guest"), os.environ.get("PYTHONPATH"))))
    environment = os.environ | _ENVIRONMENT | {"PYTHONPATH": modules}
    process = subprocess.Popen(
        arguments,
        cwd=folder,
        env=environment,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        start_new_session=True,
    )
    printed = _Printed(process)

    def outcome() -> Outcome:
        try:
            status = process.wait(begin + TIME - time.monotonic())
        except subprocess.TimeoutExpired:
            _kill(process)
            return Outcome("unit tests", TIME, f"they did not end within {TIME:g} s", printed.text())
        took = time.monotonic() - begin
        _kill(process)  # what they have left running would keep the pipe open
        text = printed.text()
        if _NONE_FOUND.search(text) is not None:
            return Outcome("unit tests", took, f"no test was found in {TESTS}/: {_WHAT_UNITTEST_FINDS}", text)
        return Outcome("unit tests", took, f"exit status {status}", text) if status else Outcome("unit tests", took)

    try:
        yield outcome
    finally:
        _kill(process)
        process.wait()


class _Printed:
    """Reads what a process prints, in a thread of its own, and keeps the last of it."""

    def __init__(self, process: "subprocess.Popen[bytes]") -> None:
        self._last = b""
        self._is_cut = False
        self._thread = threading.Thread(target=self._read, args=(process.stdout,), daemon=True)
        self._thread.start()

    def text(self) -> str:
        """What it has printed, once it has ended."""
        self._thread.join(_PIPE_CLOSED)
        return ("...\n" if self._is_cut else "") + self._last.decode(errors="replace")

    def _read(self, pipe: IO[bytes]) -> None:
        with pipe:
            while piece := os.read(pipe.fileno(), _PIECE):
                kept = self._last + piece
                self._is_cut = self._is_cut or len(kept) > _MOST_PRINTED
                self._last = kept[-_MOST_PRINTED:]


def _kill(process: "subprocess.Popen[bytes]") -> None:
    """Ends the session that a process was started in."""
    with suppress(ProcessLookupError, PermissionError):  # macOS says the latter of one that has just ended
        os.killpg(process.pid, signal.SIGKILL)
