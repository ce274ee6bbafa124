"""Baselines for launches and calls: the engines alone, without sandbox, encryption, host or chip."""

import base64
import subprocess
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from types import TracebackType
from typing import Self

from casemate.chip.runtime import PYTHON, loader_environment
from casemate.engines.javascript.engine import JavaScript

HERE = Path(__file__).parent
_SIZE = 4


class BareEngine:
    """An engine that runs the function in a loop over plain pipes."""

    def __init__(self, command: Sequence[str], environment: Mapping[str, str]) -> None:
        self._process = subprocess.Popen(
            command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, env=environment, bufsize=0
        )

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._process.kill()
        self._process.communicate()

    def call(self, arguments: bytes) -> bytes:
        """Calls the function with JSON arguments; returns its JSON result."""
        sending, receiving = self._process.stdin, self._process.stdout
        assert sending is not None
        assert receiving is not None
        sending.write(len(arguments).to_bytes(_SIZE, "little") + arguments)
        size = int.from_bytes(_exactly(receiving.read, _SIZE), "little")
        return _exactly(receiving.read, size)


class BareDeno(BareEngine):
    """Deno with a guest's binary and flags."""

    def __init__(self, binary: Path) -> None:
        source = (HERE / "function" / "guest" / "main.js").read_bytes() + (HERE / "bare_loop.js").read_bytes()
        command = JavaScript().command(str(binary), memory_mib=64)
        program = f"data:text/javascript;base64,{base64.b64encode(source).decode()}"
        super().__init__([*command.arguments[:-1], program], command.environment)


class BarePython(BareEngine):
    """CPython as the runtime in that folder has it, with a guest's flags but for the place of the two files."""

    def __init__(self, runtime: Path) -> None:
        start = f"import sys; sys.path.append({str(HERE.parent)!r}); from bench.bare_loop import serve; serve()"
        super().__init__([str(runtime / PYTHON), "-I", "-S", "-B", "-c", start], loader_environment(runtime))


def _exactly(read: Callable[[int], bytes | None], size: int) -> bytes:
    parts = b""
    while len(parts) < size:
        part = read(size - len(parts))
        if not part:
            raise RuntimeError("the bare engine has ended")
        parts += part
    return parts
