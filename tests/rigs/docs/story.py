"""Runs a page's blocks as its reader would: in order, in a folder and a home of their own, against a real machine.

Every ``console``, ``bash`` and ``python`` block runs, unless the comment above it says ``not run`` and why. In a
``console`` block the lines after ``$`` are commands and the others what they print, in full but for ``...``, which
stands for any lines, and for ``…``, which stands for the rest of a word or line. Digests, times, durations and blanks
may differ, but for digests that the page says are the same everywhere. A command that fails is followed by ``echo $?``.

A command in the ``background`` has a terminal of its own as standard input, and its block is what it prints first. A
block that ``goes on`` is what it prints next; one with a ``key`` is what it prints once that key was pressed there. A
block with ``ends`` is what it prints after Ctrl-C, with the exit code 0.
"""

import os
import pty
import re
import signal
import subprocess
import sys
import time
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Self

from tests.rigs.docs.markdown import ROOT, Block

RUNNABLE = ("console", "bash", "python")
LATER = ("goes on", "key", "ends")
KEYS = {"Enter": "\n"}
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
        self._background: list[_Running] = []

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        for running in self._background:
            running.process.terminate()
        for running in self._background:
            running.process.wait(TIMEOUT)
            os.close(running.keyboard)

    def play(self, block: Block) -> None:
        """Does what a block says, and compares what comes of it."""
        if block.mark == "file":
            path = self._folder / block.argument
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(block.text)
        elif block.mark == "not run" or (block.language not in RUNNABLE and block.mark not in LATER):
            return
        elif block.mark == "background":
            self._start(block)
        elif block.mark in LATER:
            self._go_on(block, self._background[-1])
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
        keyboard, terminal = pty.openpty()
        with log.open("w") as file:
            process = subprocess.Popen(
                [BASH, "-c", f"exec {command}"],
                cwd=self._folder,
                env=self._environment,
                stdin=terminal,
                stdout=file,
                stderr=subprocess.STDOUT,
            )
        os.close(terminal)
        self._background.append(_Running(command, process, keyboard, log))
        self._wait_for(shown, block, self._background[-1])

    def _go_on(self, block: Block, running: "_Running") -> None:
        if block.mark == "key":
            os.write(running.keyboard, KEYS.get(block.argument, block.argument).encode())
        if block.mark == "ends":
            running.process.send_signal(signal.SIGINT)
            assert running.process.wait(TIMEOUT) == 0, (
                f"line {block.line}: {running.command} ended with another exit code"
            )
        self._wait_for(block.text, block, running)

    def _wait_for(self, shown: str, block: Block, running: "_Running") -> None:
        deadline = time.monotonic() + TIMEOUT
        while not matches(shown, printed := running.log.read_text()[running.seen :], self._pinned):
            said = f"line {block.line}: {running.command}\nprinted:\n{printed}\nnot:\n{shown}"
            assert block.mark == "ends" or running.process.poll() is None, f"{said}\nand ended"
            assert block.mark != "ends", said
            assert time.monotonic() < deadline, said
            time.sleep(0.05)
        running.seen += len(printed)


@dataclass(slots=True)
class _Running:
    """A command in the background."""

    command: str
    process: "subprocess.Popen[bytes]"
    keyboard: int
    """The end of a terminal at which keys are pressed."""
    log: Path
    """What it has printed."""
    seen: int = 0
    """How many characters of that the page has shown."""


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
