"""Streams of Python: when a step ends, what it puts out, and that streams and calls take turns."""

import json
import os
import textwrap
import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import pytest
from tests.rigs.python_guests import LoadingTalk, Talk, function, guest, main, program

from casemate.engines.frames import Asked, Ended, Failed, FrameKind, Paused, Returned, Said, Wanted
from casemate.engines.questions import GetState
from casemate.wire.protocol.call import MAX_CHUNK
from casemate.wire.protocol.faults import Code

HUNGRY = Paused(is_hungry=True, data=b"")


class Stream:
    def __init__(self, talk: Talk) -> None:
        self.talk = talk
        self.number = os.urandom(8)

    def open(self, arguments: Any = None) -> Said:
        return self.talk.say(self.talk.talk.open("main", json.dumps(arguments).encode(), None, number=self.number))

    def step(self, kind: FrameKind, piece: bytes = b"") -> Said:
        return self.talk.say(self.talk.talk.step(kind, piece, number=self.number))

    def chunk(self, piece: bytes) -> Said:
        return self.step(FrameKind.CHUNK, piece)

    def end(self) -> Said:
        return self.step(FrameKind.END)

    def pull(self) -> Said:
        return self.step(FrameKind.PULL)


@contextmanager
def streams(text: str, kind: str = "def", more: str = "return x", **how: Any) -> Iterator[LoadingTalk]:
    """A guest with a stream ``main`` and a plain function ``other``."""
    source = (
        f"import asyncio, time\nkept = []\n{kind} main(input, context, chunks):\n{textwrap.indent(text, '    ')}\n"
        f"{kind} other(x, c):\n{textwrap.indent(more, '    ')}\n"
    )
    with function(source, entries=("main", "other"), streams=("main",), **how) as talk:
        yield talk


ECHO = {
    "def": "n = 0\nfor c in chunks:\n    n += len(c)\n    yield c\nreturn {'n': n, 'input': input}",
    "async def": (
        "n = 0\nasync for c in chunks:\n    n += len(c)\n    yield c\ncontext.finish({'n': n, 'input': input})"
    ),
}
BOTH = pytest.mark.parametrize("kind", ECHO)


@BOTH
def test_pieces_go_in_and_out_and_a_result_ends_it(kind: str) -> None:
    with streams(ECHO[kind], kind) as talk:
        stream = Stream(talk)
        assert stream.open({"a": 1}) == HUNGRY
        assert stream.chunk(b"one") == Paused(is_hungry=True, data=b"one")
        assert stream.chunk(b"three") == Paused(is_hungry=True, data=b"three")
        assert stream.end() == Ended(b"", b'{"n":8,"input":{"a":1}}')


@BOTH
@pytest.mark.parametrize("size", [1, 64 * 1024 - 13, 64 * 1024, 64 * 1024 + 1, MAX_CHUNK])
def test_pieces_of_any_size_come_through(size: int, kind: str) -> None:
    with streams(ECHO[kind], kind) as talk:
        stream, piece = Stream(talk), os.urandom(size)
        stream.open()
        for _ in range(3):
            assert stream.chunk(piece) == Paused(is_hungry=True, data=piece)
        assert isinstance(stream.end(), Ended)


@BOTH
def test_what_is_yielded_is_taken_at_once(kind: str) -> None:
    text = "b = bytearray(b'1' * 2_000_000)\nyield b\nb[:] = b'2' * 10\nyield memoryview(b)[:1]"
    with streams(text, kind) as talk:
        stream = Stream(talk)
        assert stream.open() == Paused(is_hungry=False, data=b"1" * MAX_CHUNK)
        assert stream.pull() == Ended(b"1" * (2_000_000 - MAX_CHUNK) + b"2", b"null")


@BOTH
def test_small_pieces_are_collected_and_large_ones_cut(kind: str) -> None:
    text = "for i in range(3):\n    yield bytes([i]) * 700_000\nyield 'ä' * 1_500_000"
    with streams(text, kind) as talk:
        stream = Stream(talk)
        said, data = stream.open(), b""
        while isinstance(said, Paused):
            assert len(said.data) == MAX_CHUNK
            assert not said.is_hungry
            data += said.data
            said = stream.pull()
        assert isinstance(said, Ended)
        assert data + said.data == b"\0" * 700_000 + b"\1" * 700_000 + b"\2" * 700_000 + "ä".encode() * 1_500_000


@BOTH
@pytest.mark.parametrize(("text", "code"), [
    ("yield bytes(16 * 1024 * 1024 + 1)", Code.OUTPUT_LIMIT),
    ("yield 'x' * (16 * 1024 * 1024 + 1)", Code.OUTPUT_LIMIT),
    ("yield '€' * (6 * 1024 * 1024)", Code.OUTPUT_LIMIT),
    ("yield 5", Code.RESULT_REFUSED),
    ("yield", Code.RESULT_REFUSED),
    ("yield [1, 2]", Code.RESULT_REFUSED),
    ("yield 'ok'\nyield '\\ud83d'", Code.RESULT_REFUSED),
    ("raise ValueError('no')\nyield", Code.GUEST_ERROR),
    ("yield 'x'\nraise SystemExit", Code.GUEST_ERROR),
    ("1 / 0\nyield", Code.GUEST_ERROR),
    ("try:\n    yield 5\nexcept Exception:\n    yield 'caught'\nyield 'more'", Code.RESULT_REFUSED),
    ("try:\n    yield 5\nexcept Exception: pass", Code.RESULT_REFUSED),
])  # fmt: skip
def test_what_cannot_be_told_ends_the_stream_alone(text: str, code: Code, kind: str) -> None:
    with streams(text, kind, debug=True) as talk:
        for _ in range(2):
            said = Stream(talk).open()
            assert isinstance(said, Failed), said
            assert said.code is code
            assert said.place is not None
            assert said.place.path == "guest/main.py"
            assert talk.call(5, "other") == Returned(b"5")


@BOTH
@pytest.mark.parametrize(("value", "code", "words"), [
    ("{1}", Code.RESULT_REFUSED, "the result is not JSON: it is a set"),
    ("{'a': [1j]}", Code.RESULT_REFUSED, "the result is not JSON: a[0] is a complex"),
    ("'x' * 100_000", Code.OUTPUT_LIMIT, "the result has more than the 65536 bytes that are allowed"),
])  # fmt: skip
def test_a_stream_s_result_is_checked(value: str, code: Code, words: str, kind: str) -> None:
    ending = f"return {value}" if kind == "def" else f"context.finish({value})"
    with streams(f"yield 'x'\n{ending}", kind) as talk:
        said = Stream(talk).open()
        assert isinstance(said, Failed)
        assert (said.code, said.message) == (code, words)


@pytest.mark.parametrize(("text", "result"), [
    ("yield 'x'", "null"),
    ("yield 'x'\ncontext.finish(None)", "null"),
    ("yield 'x'\nvalue = [1]\ncontext.finish(value)\nvalue.append(2)", "[1]"),
    ("try:\n    yield 'x'\nfinally:\n    context.finish('last')", '"last"'),
    ("yield 'x'\nawait asyncio.create_task(asyncio.to_thread(print)) if input else context.finish(1)", "1"),
    ("async def end(): context.finish(2)\nyield 'x'\nawait asyncio.gather(end())", "2"),
    ("yield 'x'\ntry:\n    context.finish({1})\nexcept Exception:\n    context.finish('instead')", '"instead"'),
])  # fmt: skip
def test_an_asynchronous_generator_finishes_with_a_result(text: str, result: str) -> None:
    with streams(text, "async def") as talk:
        for _ in range(2):
            assert Stream(talk).open() == Ended(b"x", result.encode())


def test_a_generator_that_fails_after_it_has_finished_has_failed() -> None:
    with streams("context.finish(1)\nraise ValueError('no')\nyield", "async def") as talk:
        said = Stream(talk).open()
        assert isinstance(said, Failed)
        assert (said.name, said.message) == ("ValueError", "no")


@pytest.mark.parametrize(("kind", "text", "words"), [
    ("def", "yield 'x'\ncontext.finish(1)", "for asynchronous generators alone: here, return gives the result"),
    ("async def", "yield 'x'\ncontext.finish(1)\ncontext.finish(1)", "has one result: call it once"),
    ("async def", "context.finish(1)\nyield 'x'", "yields after context.finish: give the result after the last yield"),
])  # fmt: skip
def test_to_finish_in_a_wrong_place_is_an_error_that_says_so(kind: str, text: str, words: str) -> None:
    with streams(text, kind, debug=True) as talk:
        said = Stream(talk).open()
        assert isinstance(said, Failed)
        assert said.code is Code.GUEST_ERROR
        assert words in said.message
        assert said.place is not None
        assert said.place.line == text.count("\n") + 4


@BOTH
def test_a_call_that_is_no_stream_does_not_finish(kind: str) -> None:
    with streams("yield", kind, "c.finish(x)") as talk:
        said = talk.call(1, "other")
        assert isinstance(said, Failed)
        assert said.message == "context.finish is for asynchronous generators alone: here, return gives the result"


def test_nobody_else_finishes_a_stream() -> None:
    more = "try:\n    kept[0].finish(1)\nexcept RuntimeError as e:\n    return str(e)"
    with streams(f"kept.append(context)\n{ECHO['async def']}", "async def", more) as talk:
        stream = Stream(talk)
        stream.open()
        assert talk.call(None, "other") == Returned(b'"this call is over"')
        assert stream.end() == Ended(b"", b'{"n":0,"input":null}')
        assert talk.call(None, "other") == Returned(b'"this call is over"')


@BOTH
def test_16_mib_at_once_are_16_steps(kind: str) -> None:
    with streams("yield bytes(16 * 1024 * 1024)", kind) as talk:
        stream = Stream(talk)
        said, steps = stream.open(), 1
        while isinstance(said, Paused):
            said, steps = stream.pull(), steps + 1
        assert said == Ended(bytes(MAX_CHUNK), b"null")
        assert steps == 16


@BOTH
def test_streams_and_calls_take_turns(kind: str) -> None:
    each = "async for" if kind == "async def" else "for"
    text = f"n = input\n{each} c in chunks:\n    n += len(c)\n    yield str(n) if c else ''"
    with streams(text, kind) as talk:
        opened = [Stream(talk) for _ in range(5)]
        for number, stream in enumerate(opened):
            assert stream.open(number * 100) == HUNGRY
        for round_ in range(1, 4):
            for number, stream in enumerate(opened):
                assert stream.chunk(b"x") == Paused(is_hungry=True, data=str(number * 100 + round_).encode())
                assert talk.call(number, "other") == Returned(str(number).encode())
        for stream in reversed(opened):
            assert stream.end() == Ended(b"", b"null")


@BOTH
def test_a_step_ends_at_a_yield_when_it_has_taken_a_while(kind: str) -> None:
    text = "for i in range(3):\n    t = time.monotonic()\n    while time.monotonic() < t + 0.12: pass\n    yield str(i)"
    with streams(text, kind) as talk:
        stream = Stream(talk)
        said, got = stream.open(), []
        while isinstance(said, Paused):
            got.append(said.data)
            assert not said.is_hungry
            said = stream.pull()
        assert isinstance(said, Ended)
        assert got == [b"0", b"1", b"2"]


def test_a_slow_stream_of_timers_is_not_waited_out() -> None:
    with streams("for _ in range(30):\n    await asyncio.sleep(0.01)\n    yield 'x'", "async def") as talk:
        began = time.monotonic()
        said = Stream(talk).open()
        assert isinstance(said, Paused)
        assert 1 <= len(said.data) < 30
        assert time.monotonic() - began < 5


def test_a_generator_that_says_several_things_to_a_piece_is_heard_in_full() -> None:
    text = "yield 'begin '\nfor c in chunks:\n    yield c\n    yield c\nyield 'end'\nreturn 1"
    with streams(text) as talk:
        stream = Stream(talk)
        assert stream.open() == Paused(is_hungry=True, data=b"begin ")
        assert stream.chunk(b"ab") == Paused(is_hungry=True, data=b"abab")
        assert stream.end() == Ended(b"end", b"1")


def test_a_generator_that_takes_two_pieces_without_a_yield_is_told_so() -> None:
    with streams("n = 0\nfor c in chunks:\n    n += len(c)\nreturn n\nyield") as talk:
        said = Stream(talk).open()
        assert isinstance(said, Failed)
        assert said.name == "WaitingError"
        assert "take one piece, then yield" in said.message


def test_a_generator_that_only_counts_yields_nothing() -> None:
    with streams("n = 0\nfor c in chunks:\n    n += len(c)\n    yield b''\nreturn n") as talk:
        stream = Stream(talk)
        assert stream.open() == HUNGRY
        assert stream.chunk(b"abc") == HUNGRY
        assert stream.chunk(b"d") == HUNGRY
        assert stream.end() == Ended(b"", b"4")


def test_an_asynchronous_generator_may_only_count() -> None:
    with streams("n = 0\nasync for c in chunks:\n    n += len(c)\nyield str(n)", "async def") as talk:
        stream = Stream(talk)
        assert stream.open() == HUNGRY
        assert stream.chunk(b"abc") == HUNGRY
        assert stream.end() == Ended(b"3", b"null")


def test_input_that_nobody_wants_any_more_is_dropped() -> None:
    text = "async for c in chunks:\n    break\nyield 'after'\ntry:\n    await asyncio.wait_for(anext(chunks), 0.01)\n"
    text += "except TimeoutError:\n    yield 'timeout'"
    with streams(text, "async def") as talk:
        stream = Stream(talk)
        assert stream.open() == HUNGRY
        assert stream.chunk(b"x") == Paused(is_hungry=True, data=b"after")
        time.sleep(0.02)
        said = stream.chunk(b"late")
        assert isinstance(said, Ended | Paused)


def test_a_generator_may_ask_for_several_pieces_at_once() -> None:
    text = (
        "a, b = await asyncio.gather(anext(chunks), anext(chunks))\nyield a + b\nyield str([c async for c in chunks])"
    )
    with streams(text, "async def") as talk:
        stream = Stream(talk)
        assert stream.open() == HUNGRY
        assert stream.chunk(b"x") == HUNGRY
        assert stream.chunk(b"y") == Paused(is_hungry=True, data=b"xy")
        assert stream.chunk(b"z") == HUNGRY
        assert stream.end() == Ended(b"[b'z']", b"null")


@pytest.mark.parametrize("text", ["await asyncio.Event().wait()\nyield", "yield 'x'\nawait asyncio.Event().wait()"])
def test_a_stream_that_waits_for_nothing_is_told_so(text: str) -> None:
    with streams(text, "async def") as talk:
        said = Stream(talk).open()
        assert isinstance(said, Failed)
        assert said.name == "NothingLeftError"
        assert talk.call(1, "other") == Returned(b"1")


@BOTH
def test_a_stream_is_forgotten_when_it_is_dropped_and_its_finally_is_not_heard(kind: str) -> None:
    each = "async for" if kind == "async def" else "for"
    text = f"try:\n    {each} c in chunks:\n        yield c\nfinally:\n    print('finally')\n    context.ocall('t')"
    with streams(text, kind, debug=True) as talk:
        stream, gone = Stream(talk), Stream(talk)
        stream.open()
        gone.open()
        talk.send(talk.talk.drop(number=gone.number))
        assert stream.chunk(b"x") == Paused(is_hungry=True, data=b"x")
        assert talk.printed == []
        talk.send(bytes((FrameKind.CHUNK,)) + gone.number + b"x")  # no enclave steps through one that it dropped
        assert talk.ended()


@pytest.mark.parametrize("source", ["def main(i, c, chunks): ...", "async def main(i, c, chunks): ..."])
def test_a_stream_must_be_a_generator(source: str) -> None:
    with guest() as talk:
        said = talk.load(program(main(source), streams=("main",)))
        words = "main is a stream, so it must be a generator: a def, or async def, with a yield in it"
        assert said == Failed(Code.GUEST_ERROR, "TypeError", words)


@BOTH
def test_questions_are_asked_in_steps(kind: str) -> None:
    each = "async for" if kind == "async def" else "for"
    text = f"{each} c in chunks:\n    yield str(context.ocall('t', len(c)) + context.state.get('k', 0)) if c else b''"
    with streams(text, kind) as talk:
        stream = Stream(talk)
        stream.open()
        assert stream.chunk(b"xyz") == Asked("t", b"3")
        assert talk.say(talk.talk.answer(b"5")) == Wanted(GetState("k"))
        assert talk.say(talk.talk.answer(b"")) == Paused(is_hungry=True, data=b"5")


@BOTH
def test_a_stream_s_context_is_of_no_use_in_the_turns_of_others(kind: str) -> None:
    more = "try:\n    return kept[0].ocall('t', 1)\nexcept RuntimeError as e:\n    return str(e)"
    with streams(f"kept.append(context)\n{ECHO[kind]}", kind, more) as talk:
        stream = Stream(talk)
        stream.open()
        assert talk.call(None, "other") == Returned(b'"this call is over"')
        assert stream.chunk(b"x") == Paused(is_hungry=True, data=b"x")


def test_what_a_stream_does_in_the_turns_of_others_waits_for_its_own() -> None:
    text = "task = asyncio.ensure_future(asyncio.sleep(0.001, 'later'))\nyield 'now'\nawait anext(chunks)\n"
    text += "yield await task"
    with streams(text, "async def", "await asyncio.sleep(0.03)\nreturn x") as talk:
        stream, another = Stream(talk), Stream(talk)
        assert stream.open() == Paused(is_hungry=True, data=b"now")
        assert another.open() == Paused(is_hungry=True, data=b"now")
        assert talk.call(7, "other") == Returned(b"7")
        assert stream.chunk(b"x") == Ended(b"later", b"null")
        assert another.chunk(b"x") == Ended(b"later", b"null")


def test_a_stream_refuses_with_a_declared_error() -> None:
    with streams("yield 'x'\nraise context.refuse('a', 1)", errors=("a",)) as talk:
        assert type(Stream(talk).open()).__name__ == "Refused"


@BOTH
def test_lines_are_counted_for_each_step(kind: str) -> None:
    each = "async for" if kind == "async def" else "for"
    with streams(
        f"{each} c in chunks:\n    for i in range(99 * len(c)): print(i)\n    yield c", kind, debug=True
    ) as talk:
        stream = Stream(talk)
        stream.open()
        for round_ in range(1, 4):
            stream.chunk(b"x")
            assert len(talk.printed) == 64 * round_
