"""Streams of a guest in an engine."""

import json
import os
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

from tests.rigs.engine import EVERYTHING, LIMIT, Talk, engine
from tests.rigs.engine import main as module

from casemate.engines.command import GuestProgram
from casemate.engines.frames import FrameKind, Loaded, Said


@dataclass
class Stream:
    talk: Talk
    number: bytes = field(default_factory=lambda: os.urandom(8))

    def open(self, arguments: Any = None, entry: str = "main") -> Said:
        text = json.dumps(arguments).encode()
        return self.talk.say(self.talk.talk.open(entry, text, None, number=self.number))

    def step(self, kind: FrameKind, piece: bytes = b"") -> Said:
        return self.talk.say(self.talk.talk.step(kind, piece, number=self.number))

    def chunk(self, piece: bytes) -> Said:
        return self.step(FrameKind.CHUNK, piece)

    def end(self) -> Said:
        return self.step(FrameKind.END)

    def pull(self) -> Said:
        return self.step(FrameKind.PULL)


@contextmanager
def program(body: str, more: str = "") -> Iterator[Talk]:
    """An engine with a stream ``main`` and a plain function ``other``."""
    source = (
        f"export async function* main(input, context, chunks) {{ {body} }} export function other(x, c) {{ {more} }}"
    )
    with engine() as talk:
        program = GuestProgram([module(source)], ("main", "other"), LIMIT, LIMIT, ("main",), EVERYTHING)
        assert talk.say(talk.talk.load(program)) == Loaded()
        yield talk
