"""Streams of guests in either engine."""

import json
import os
import textwrap
from collections.abc import Iterator
from contextlib import contextmanager
from enum import StrEnum
from typing import Any

from tests.rigs.engine import EVERYTHING, LIMIT, Talk, engine
from tests.rigs.engine import main as javascript_module
from tests.rigs.engine_talk import EngineTalk
from tests.rigs.python_guests import ALL, LoadingTalk, function

from casemate.engines.command import GuestProgram
from casemate.engines.frames import FrameKind, Loaded, Said


class Kind(StrEnum):
    """The kinds of functions that are streams."""

    JAVASCRIPT = "javascript"
    PYTHON = "python"
    """A generator."""
    ASYNC_PYTHON = "async python"


class Stream:
    def __init__(self, talk: EngineTalk) -> None:
        self.talk = talk
        self.number = os.urandom(8)

    def open(self, argument: Any = None, entry: str = "main") -> Said:
        return self.talk.say(self.talk.talk.open(entry, json.dumps(argument).encode(), None, number=self.number))

    def step(self, kind: FrameKind, piece: bytes = b"") -> Said:
        return self.talk.say(self.talk.talk.step(kind, piece, number=self.number))

    def chunk(self, piece: bytes) -> Said:
        return self.step(FrameKind.CHUNK, piece)

    def end(self) -> Said:
        return self.step(FrameKind.END)

    def pull(self) -> Said:
        return self.step(FrameKind.PULL)


@contextmanager
def javascript_streams(body: str, more: str = "return x;", errors: tuple[str, ...] = ()) -> Iterator[Talk]:
    """An engine with a stream ``main`` and a plain function ``other``."""
    source = (
        f"export async function* main(input, context, chunks) {{ {body} }} export function other(x, c) {{ {more} }}"
    )
    with engine() as talk:
        program = GuestProgram(
            [javascript_module(source)], ("main", "other"), LIMIT, LIMIT, ("main",), EVERYTHING, errors
        )
        assert talk.say(talk.talk.load(program)) == Loaded()
        yield talk


@contextmanager
def python_streams(text: str, kind: Kind = Kind.PYTHON, more: str = "return x", **how: Any) -> Iterator[LoadingTalk]:
    """A guest with a stream ``main`` and a plain function ``other``; ``kept`` is a list of the module's."""
    define = "async def" if kind is Kind.ASYNC_PYTHON else "def"
    source = (
        f"import asyncio, time\nkept = []\n{define} main(input, context, chunks):\n{textwrap.indent(text, '    ')}\n"
        f"{define} other(x, c):\n{textwrap.indent(more, '    ')}\n"
    )
    with function(source, entries=("main", "other"), streams=("main",), **how) as talk:
        yield talk


@contextmanager
def streams(kind: Kind, body: str, **more: Any) -> Iterator[EngineTalk]:
    """A guest with a stream ``main`` of that kind and a plain function ``other``, which gives its argument back.

    Its code may use all that a permission can grant.
    """
    if kind is Kind.JAVASCRIPT:
        with javascript_streams(body, **more) as talk:
            yield talk
    else:
        with python_streams(body, kind, permissions=ALL, **more) as talk:
            yield talk


def in_python(text: str, *, result: str = "") -> dict[Kind, str]:
    """A generator's body as an asynchronous one's, too.

    Args:
        text: the body, whose loops over the input are ``for c in chunks``.
        result: what it gives in the end, as an expression.
    """
    waits = text.replace("for c in chunks", "async for c in chunks")
    return {
        Kind.PYTHON: f"{text}\nreturn {result}" if result else text,
        Kind.ASYNC_PYTHON: f"{waits}\ncontext.finish({result})" if result else waits,
    }


ECHO = {
    Kind.JAVASCRIPT: "let n = 0; for await (const c of chunks) { n += c.length; yield c; } return {n, input};",
    **in_python("n = 0\nfor c in chunks:\n    n += len(c)\n    yield c", result="{'n': n, 'input': input}"),
}
