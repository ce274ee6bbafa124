"""Runs a page's blocks as its reader would: in order, in a folder and a home of their own, against a real machine.

Every ``console``, ``bash`` and ``python`` block runs, unless the comment above it says ``not run`` and why. In a
``console`` block the lines after ``$`` are commands and the others what they print, in full but for ``...``, which
stands for any lines, and for ``…``, which stands for the rest of a word or line. Digests, times, durations and blanks
may differ, but for digests that the page says are the same everywhere. A command that fails is followed by ``echo $?``.
"""

import os
import re
import subprocess
import sys
import time
from pathlib import Path
from types import TracebackType
from typing import Self

from tests.rigs.docs.markdown import ROOT, Block

RUNNABLE = ("console", "bash", "python")
TIMEOUT = 150.0
"""Patience with a command, or a machine that starts, on a busy computer (seconds): no promise of any page."""
BASH = "/bin/bash"

_HEX = re.compile(r"\b([0-9a-f]{8,})(?:…|\b)")
_VARYING = (
    (re.compile(r"\b\d{4}-\d\d-\d\d(?:[T ][\d:]{8}(?:Z|\+00:00)?)?"), "TIME"),
    (re.compile(r"\b\d+ ms\b"), "DURATION"),
    (re.compile(r"[ \t]+"), " "),
    (re.compile(r"[─━]+"), "─"),
)


class Story:
    """One page's world. A folder of ``commands`` comes first in the path of all but what runs in the background."""

    def __init__(self, folder: Path, commands: Path, pinned: frozenset[str] = frozenset()) -> None:
        self._folder = folder
        self._commands = commands
        self._pinned = pinned
        (folder / "examples").symlink_to(ROOT / "examples")  # as in a checkout; pages copy what they change
        cache = os.environ.get("XDG_CACHE_HOME", str(Path.home() / ".cache"))
        kept = {name: value for name, value in os.environ.items() if name in ("LANG", "LC_ALL", "TMPDIR")}
        self._environment = kept | {
            "HOME": str(folder),
            "PATH": os.pathsep.join((str(Path(sys.executable).parent), os.environ["PATH"])),
            "XDG_CACHE_HOME": cache,  # the copy of the runtime, which is the same for all
            "NO_COLOR": "1",
            "COLUMNS": "200",
            "PYTHONUNBUFFERED": "1",
        }
        self._background: list[subprocess.Popen[str]] = []

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        for process in self._background:
            process.terminate()
        for process in self._background:
            process.communicate(timeout=TIMEOUT)

    def play(self, block: Block) -> None:
        """Does what a block says, and compares what comes of it."""
        if block.mark == "file":
            path = self._folder / block.argument
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(block.text)
        elif block.mark == "not run" or block.language not in RUNNABLE:
            return
        elif block.mark == "background":
            self._start(block)
        elif block.language == "console":
            self._type(block)
        else:
            command = [BASH, "-euo", "pipefail"] if block.language == "bash" else ["python"]
            done = self._run([*command, "-c", block.text])
            assert done.returncode == 0, f"line {block.line}: exit code {done.returncode}\n{done.stdout}"

    def _type(self, block: Block) -> None:
        last = 0
        for command, shown in commands(block):
            if last != 0:
                assert "$?" in command, f"line {block.line}: the command before {command!r} fails: exit code {last}"
            done = self._run([BASH, "-c", f"(exit {last})\n{command}"])
            assert matches(shown, done.stdout, self._pinned), (
                f"line {block.line}: {command}\nprinted:\n{done.stdout}\nnot:\n{shown}"
            )
            last = done.returncode
        assert last == 0, f"line {block.line}: the last command fails: exit code {last}"

    def _run(self, command: list[str]) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            command,
            cwd=self._folder,
            env=self._environment | {"PATH": os.pathsep.join((str(self._commands), self._environment["PATH"]))},
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            timeout=TIMEOUT,
            text=True,
            check=False,
        )

    def _start(self, block: Block) -> None:
        ((command, shown),) = commands(block)
        log = self._folder / f".background-{len(self._background)}"
        with log.open("w") as file:
            process = subprocess.Popen(
                [BASH, "-c", f"exec {command}"],
                cwd=self._folder,
                env=self._environment,
                stdin=subprocess.DEVNULL,
                stdout=file,
                stderr=subprocess.STDOUT,
                text=True,
            )
        self._background.append(process)
        deadline = time.monotonic() + TIMEOUT
        while not matches(shown, log.read_text(), self._pinned):
            assert process.poll() is None, f"line {block.line}: {command} ended:\n{log.read_text()}"
            assert time.monotonic() < deadline, f"line {block.line}: {command}\nprinted:\n{log.read_text()}"
            time.sleep(0.05)


def commands(block: Block) -> list[tuple[str, str]]:
    """The commands of a ``console`` block, each with what it prints."""
    found: list[tuple[str, str]] = []
    lines = iter(block.text.splitlines())
    for line in lines:
        if line.startswith("$ "):
            command = line[2:]
            while command.endswith("\\"):
                command = command[:-1] + next(lines).strip()
            found.append((command, ""))
        else:
            assert found, f"line {block.line}: a console block begins with a command"
            command, shown = found[-1]
            found[-1] = (command, f"{shown}{line}\n")
    return found


def matches(shown: str, printed: str, pinned: frozenset[str] = frozenset()) -> bool:
    """Whether a page shows what was printed; hexadecimal words among ``pinned`` have to be these very ones."""
    pattern = ""
    for line in _lines(shown, pinned):
        pattern += r"(?:[^\n]*\n)*?" if line == "..." else re.escape(line).replace("…", r"[^\n]*") + r"\n"
    return re.fullmatch(pattern, "".join(f"{line}\n" for line in _lines(printed, pinned))) is not None


def _lines(text: str, pinned: frozenset[str]) -> list[str]:
    """The lines with what varies put alike, and without the blank ones."""
    text = _HEX.sub(lambda found: found[0] if found[1] in pinned else "HEX", text)
    for pattern, name in _VARYING:
        text = pattern.sub(name, text)
    return [line.strip() for line in text.splitlines() if line.strip()]
