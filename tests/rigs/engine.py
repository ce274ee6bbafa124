"""An engine in its own process, and a conversation with it frame by frame."""

import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

from tests.rigs.engine_talk import EngineTalk

from casemate.engines.command import GuestProgram
from casemate.engines.conversation import Conversation
from casemate.engines.frames import NO_CALL, FrameKind, Said, frame
from casemate.engines.registry import JAVASCRIPT
from casemate.testing.lone_spawner import shared_engine
from casemate.wire.protocol.image_index import Link
from casemate.wire.protocol.manifest import Permission

LIMIT = 64 * 1024
EVERYTHING = frozenset(Permission)


@dataclass(frozen=True, slots=True)
class Module:
    path: str
    source: bytes
    links: tuple[Link, ...] = ()


class Talk(EngineTalk):
    """A conversation with the engine of JavaScript in its own process."""

    def __init__(self, process: subprocess.Popen[bytes]) -> None:
        super().__init__()
        self.process = process
        self.talk = Conversation(JAVASCRIPT)
        assert self.receive() == frame(FrameKind.WARM, NO_CALL)

    def receive(self) -> bytes:
        assert self.process.stdout is not None
        size = int.from_bytes(self.process.stdout.read(4), "little")
        return self.process.stdout.read(size)

    def send(self, payload: bytes) -> None:
        assert self.process.stdin is not None
        self.process.stdin.write(len(payload).to_bytes(4, "little") + payload)
        self.process.stdin.flush()

    def load(self, *modules: Module, entries: tuple[str, ...] = ("main",), **grants: Any) -> Said:
        """Args: modules: the program; entries: its functions; grants: other members of the program."""
        grants.setdefault("permissions", EVERYTHING)
        return self.say(self.talk.load(GuestProgram(modules, entries, LIMIT, LIMIT, **grants)))


@contextmanager
def engine() -> Iterator[Talk]:
    command = JAVASCRIPT.command(str(shared_engine()), memory_mib=64)
    process = subprocess.Popen(
        command.arguments,
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        env=command.environment,
    )
    with process:
        try:
            yield Talk(process)
        finally:
            process.kill()


def main(source: str) -> Module:
    return Module("guest/main.js", source.encode())


def link(importer: Module, specifier: str, target: str) -> Link:
    start = importer.source.index(b'"' + specifier.encode())
    return Link(importer.path, specifier, target, start, start + len(specifier.encode()) + 2)


def linked(module: Module, **targets: str) -> Module:
    links = [link(module, f"./{name}", f"guest/{target}") for name, target in targets.items()]
    return Module(module.path, module.source, tuple(sorted(links, key=lambda one: one.start)))
