"""Python guests that nothing confines: one process has prepared itself, and each test's is forked from it."""

import atexit
import os
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from functools import cache
from typing import Any, NamedTuple

from tests.rigs.engine_talk import EngineTalk

from casemate.engines.command import GuestProgram
from casemate.engines.conversation import Conversation
from casemate.engines.frames import NO_CALL, FrameKind, Loaded, Said, frame
from casemate.engines.registry import PYTHON
from casemate.wire.protocol.image_index import Link
from casemate.wire.protocol.manifest import Permission

LIMIT = 64 * 1024
RANDOM_AND_NOW = frozenset({Permission.RANDOM, Permission.NOW})
ALL = frozenset(Permission)

_BASE = """
import os, sys
from casemate.engines.python import bootstrap
bootstrap.prepare()
sys.stdout.write("ready\\n"); sys.stdout.flush()
import signal, time
signal.signal(signal.SIGCHLD, signal.SIG_IGN)
for line in sys.stdin:
    ends = [os.open(path, flags) for path, flags in zip(line.split(), (os.O_RDONLY, os.O_WRONLY) * 2)]
    if os.fork() == 0:
        program = bootstrap.load(*ends[:2])
        for mine, others in ((ends[:2], ends[2:]), (ends[2:], ends[:2])):
            if os.fork() == 0:
                for end in others:
                    os.close(end)
                bootstrap.serve(program, *mine)
        os._exit(0)
    for end in ends:
        os.close(end)
"""


class Module(NamedTuple):
    path: str
    source: bytes
    links: tuple[Link, ...] = ()


@cache
def _base() -> "subprocess.Popen[str]":
    process = subprocess.Popen(
        [sys.executable, "-I", "-B", "-c", _BASE], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    )
    assert process.stdout is not None
    assert process.stdout.readline() == "ready\n"
    atexit.register(_end, process)
    return process


def _end(process: "subprocess.Popen[str]") -> None:
    with process:
        process.kill()


class Talk(EngineTalk):
    """A conversation with a guest: with the process that loads the program, and then with a copy that serves it."""

    def __init__(self, reading: int, writing: int) -> None:
        super().__init__()
        self._reading = os.fdopen(reading, "rb")
        self._writing = os.fdopen(writing, "wb")
        self.talk = Conversation(PYTHON)

    def receive(self) -> bytes:
        size = int.from_bytes(self._reading.read(4), "little")
        return self._reading.read(size)

    def send(self, payload: bytes) -> None:
        self._writing.write(len(payload).to_bytes(4, "little") + payload)
        self._writing.flush()

    def copied(self, program: GuestProgram) -> None:
        """Goes on with a copy."""
        self.talk = Conversation(PYTHON)
        self.talk.inherit(program)
        assert self.hear() == Loaded()

    def hang_up(self) -> None:
        self._writing.close()

    def close(self) -> None:
        self._reading.close()
        with suppress(BrokenPipeError):
            self._writing.close()


class LoadingTalk(Talk):
    """The first copy takes over its pipes once the program is loaded; the other copy has pipes of its own."""

    other: Talk

    def load(self, program: GuestProgram) -> Said:
        said = self.say(self.talk.load(program))
        if isinstance(said, Loaded):
            self.copied(program)
            self.other.copied(program)
        return said


@contextmanager
def guest() -> Iterator[LoadingTalk]:
    """A guest that waits for its program."""
    pipes = [os.pipe() for _ in range(4)]  # to the first, of the first, to the other, of the other
    theirs = [pipes[0][0], pipes[1][1], pipes[2][0], pipes[3][1]]
    base = _base()
    assert base.stdin is not None
    base.stdin.write(" ".join(f"/proc/{os.getpid()}/fd/{end}" for end in theirs) + "\n")
    base.stdin.flush()
    talk = LoadingTalk(pipes[1][0], pipes[0][1])
    talk.other = Talk(pipes[3][0], pipes[2][1])
    assert talk.receive() == frame(FrameKind.WARM, NO_CALL)
    for end in theirs:  # the base has opened them by their names
        os.close(end)
    try:
        yield talk
    finally:
        talk.close()
        talk.other.close()


def program(
    *modules: Module,
    entries: tuple[str, ...] = ("main",),
    streams: tuple[str, ...] = (),
    permissions: frozenset[Permission] = RANDOM_AND_NOW,
    errors: tuple[str, ...] = (),
    debug: bool = False,
) -> GuestProgram:
    return GuestProgram(modules, entries, LIMIT, LIMIT, streams, permissions, errors, debug)


def main(source: str) -> Module:
    return Module("guest/main.py", source.encode())


@contextmanager
def function(source: str, **how: Any) -> Iterator[LoadingTalk]:
    """A guest with a main module, loaded."""
    with guest() as talk:
        said = talk.load(program(main(source), **how))
        assert said == Loaded(), said
        yield talk


def body(text: str) -> str:
    """The source of a function with this body."""
    lines = "\n".join(f"    {line}" for line in text.splitlines())
    imports = "from casemate.guest import ABSENT, EnclaveError, Refusal"
    return f"{imports}\ndef main(input, context):\n    state = context.state\n{lines}\n"
