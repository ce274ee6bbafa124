"""Streams of Python: what generators and asynchronous generators have alone."""

import time

import pytest
from tests.rigs.engine_streams import ECHO, Kind, Stream, python_streams
from tests.rigs.python_guests import guest, main, program

from casemate.engines.frames import Ended, Failed, Paused, Returned
from casemate.wire.protocol.faults import Code

HUNGRY = Paused(is_hungry=True, data=b"")


BOTH = pytest.mark.parametrize("kind", [Kind.PYTHON, Kind.ASYNC_PYTHON])


@BOTH
@pytest.mark.parametrize(("value", "code", "words"), [
    ("{1}", Code.RESULT_REFUSED, "the result is not JSON: it is a set"),
    ("{'a': [1j]}", Code.RESULT_REFUSED, "the result is not JSON: a[0] is a complex"),
    ("'x' * 100_000", Code.OUTPUT_LIMIT, "the result has more than the 65536 bytes that are allowed"),
])  # fmt: skip
def test_a_stream_s_result_is_checked(value: str, code: Code, words: str, kind: Kind) -> None:
    ending = f"return {value}" if kind == Kind.PYTHON else f"context.finish({value})"
    with python_streams(f"yield 'x'\n{ending}", kind) as talk:
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
    with python_streams(text, Kind.ASYNC_PYTHON) as talk:
        for _ in range(2):
            assert Stream(talk).open() == Ended(b"x", result.encode())


def test_a_generator_that_fails_after_it_has_finished_has_failed() -> None:
    with python_streams("context.finish(1)\nraise ValueError('no')\nyield", Kind.ASYNC_PYTHON) as talk:
        said = Stream(talk).open()
        assert isinstance(said, Failed)
        assert (said.name, said.message) == ("ValueError", "no")


@pytest.mark.parametrize(("kind", "text", "words"), [
    (Kind.PYTHON, "yield 'x'\ncontext.finish(1)", "for asynchronous generators alone: here, return gives the result"),
    (Kind.ASYNC_PYTHON, "yield 'x'\ncontext.finish(1)\ncontext.finish(1)", "has one result: call it once"),
    (Kind.ASYNC_PYTHON, "context.finish(1)\nyield 'x'", "yields after context.finish: give the result"),
])  # fmt: skip
def test_to_finish_in_a_wrong_place_is_an_error_that_says_so(kind: Kind, text: str, words: str) -> None:
    with python_streams(text, kind, debug=True) as talk:
        said = Stream(talk).open()
        assert isinstance(said, Failed)
        assert said.code is Code.GUEST_ERROR
        assert words in said.message
        assert said.place is not None
        assert said.place.line == text.count("\n") + 4


@BOTH
def test_a_call_that_is_no_stream_does_not_finish(kind: Kind) -> None:
    with python_streams("yield", kind, "c.finish(x)") as talk:
        said = talk.call(1, "other")
        assert isinstance(said, Failed)
        assert said.message == "context.finish is for asynchronous generators alone: here, return gives the result"


def test_nobody_else_finishes_a_stream() -> None:
    more = "try:\n    kept[0].finish(1)\nexcept RuntimeError as e:\n    return str(e)"
    with python_streams(f"kept.append(context)\n{ECHO[Kind.ASYNC_PYTHON]}", Kind.ASYNC_PYTHON, more) as talk:
        stream = Stream(talk)
        stream.open()
        assert talk.call(None, "other") == Returned(b'"this call is over"')
        assert stream.end() == Ended(b"", b'{"n":0,"input":null}')
        assert talk.call(None, "other") == Returned(b'"this call is over"')


def test_a_generator_that_says_several_things_to_a_piece_is_heard_in_full() -> None:
    text = "yield 'begin '\nfor c in chunks:\n    yield c\n    yield c\nyield 'end'\nreturn 1"
    with python_streams(text) as talk:
        stream = Stream(talk)
        assert stream.open() == Paused(is_hungry=True, data=b"begin ")
        assert stream.chunk(b"ab") == Paused(is_hungry=True, data=b"abab")
        assert stream.end() == Ended(b"end", b"1")


def test_a_generator_that_takes_two_pieces_without_a_yield_is_told_so() -> None:
    with python_streams("n = 0\nfor c in chunks:\n    n += len(c)\nreturn n\nyield") as talk:
        said = Stream(talk).open()
        assert isinstance(said, Failed)
        assert said.name == "WaitingError"
        assert "take one piece, then yield" in said.message


def test_a_generator_that_only_counts_yields_nothing() -> None:
    with python_streams("n = 0\nfor c in chunks:\n    n += len(c)\n    yield b''\nreturn n") as talk:
        stream = Stream(talk)
        assert stream.open() == HUNGRY
        assert stream.chunk(b"abc") == HUNGRY
        assert stream.chunk(b"d") == HUNGRY
        assert stream.end() == Ended(b"", b"4")


def test_an_asynchronous_generator_may_only_count() -> None:
    with python_streams("n = 0\nasync for c in chunks:\n    n += len(c)\nyield str(n)", Kind.ASYNC_PYTHON) as talk:
        stream = Stream(talk)
        assert stream.open() == HUNGRY
        assert stream.chunk(b"abc") == HUNGRY
        assert stream.end() == Ended(b"3", b"null")


def test_input_that_nobody_wants_any_more_is_dropped() -> None:
    text = "async for c in chunks:\n    break\nyield 'after'\ntry:\n    await asyncio.wait_for(anext(chunks), 0.01)\n"
    text += "except TimeoutError:\n    yield 'timeout'"
    with python_streams(text, Kind.ASYNC_PYTHON) as talk:
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
    with python_streams(text, Kind.ASYNC_PYTHON) as talk:
        stream = Stream(talk)
        assert stream.open() == HUNGRY
        assert stream.chunk(b"x") == HUNGRY
        assert stream.chunk(b"y") == Paused(is_hungry=True, data=b"xy")
        assert stream.chunk(b"z") == HUNGRY
        assert stream.end() == Ended(b"[b'z']", b"null")


@pytest.mark.parametrize("text", ["await asyncio.Event().wait()\nyield", "yield 'x'\nawait asyncio.Event().wait()"])
def test_a_stream_that_waits_for_nothing_is_told_so(text: str) -> None:
    with python_streams(text, Kind.ASYNC_PYTHON) as talk:
        said = Stream(talk).open()
        assert isinstance(said, Failed)
        assert said.name == "NothingLeftError"
        assert talk.call(1, "other") == Returned(b"1")


@pytest.mark.parametrize("source", ["def main(i, c, chunks): ...", "async def main(i, c, chunks): ..."])
def test_a_stream_must_be_a_generator(source: str) -> None:
    with guest() as talk:
        said = talk.load(program(main(source), streams=("main",)))
        words = "main is a stream, so it must be a generator: a def, or async def, with a yield in it"
        assert said == Failed(Code.GUEST_ERROR, "TypeError", words)
