"""Streams in either language: when a step ends, what it puts out, and that streams and calls take turns.

What one language has alone is tested in the folder of its engine.
"""

import os
import time

import pytest
from tests.rigs.engine_streams import ECHO, Kind, Stream, in_python, streams

from casemate.engines.frames import Asked, Ended, Failed, FrameKind, Paused, Returned, Wanted
from casemate.engines.questions.state import GetState
from casemate.wire.protocol.call import MAX_CHUNK
from casemate.wire.protocol.faults import Code

HUNGRY = Paused(is_hungry=True, data=b"")
JAVASCRIPT, PYTHON, ASYNC_PYTHON = Kind


def each(bodies: dict[Kind, str]) -> pytest.MarkDecorator:
    """A test of the same stream, written in each way."""
    return pytest.mark.parametrize(("kind", "body"), bodies.items(), ids=[*bodies])


@each(ECHO)
def test_pieces_go_in_and_out_and_a_result_ends_it(kind: Kind, body: str) -> None:
    with streams(kind, body) as talk:
        stream = Stream(talk)
        assert stream.open({"a": 1}) == HUNGRY
        assert stream.chunk(b"one") == Paused(is_hungry=True, data=b"one")
        assert stream.chunk(b"three") == Paused(is_hungry=True, data=b"three")
        assert stream.end() == Ended(b"", b'{"n":8,"input":{"a":1}}')


@each(ECHO)
@pytest.mark.parametrize("size", [1, 60_000, 64 * 1024 - 13, 64 * 1024, 64 * 1024 + 1, MAX_CHUNK])
def test_pieces_of_any_size_come_through(kind: Kind, body: str, size: int) -> None:
    with streams(kind, body) as talk:
        stream, piece = Stream(talk), os.urandom(size)
        stream.open()
        for _ in range(3):
            assert stream.chunk(piece) == Paused(is_hungry=True, data=piece)
        assert isinstance(stream.end(), Ended)


@each({
    JAVASCRIPT: "const b = new Uint8Array(2e6).fill(1); yield b; b.fill(2); await 0; yield b.fill(3).subarray(0, 1);",
    **in_python("b = bytearray(b'\\1' * 2_000_000)\nyield b\nb[:] = b'\\3' * 10\nyield memoryview(b)[:1]"),
})  # fmt: skip
def test_what_is_yielded_is_taken_at_once(kind: Kind, body: str) -> None:
    with streams(kind, body) as talk:
        stream = Stream(talk)
        assert stream.open() == Paused(is_hungry=False, data=b"\1" * MAX_CHUNK)
        assert stream.pull() == Ended(b"\1" * (2_000_000 - MAX_CHUNK) + b"\3", b"null")


@each({
    JAVASCRIPT: "for (let i = 0; i < 3; i++) yield new Uint8Array(700000).fill(i); yield 'ä'.repeat(1500000);",
    **in_python("for i in range(3):\n    yield bytes([i]) * 700_000\nyield 'ä' * 1_500_000"),
})  # fmt: skip
def test_small_pieces_are_collected_and_large_ones_cut(kind: Kind, body: str) -> None:
    with streams(kind, body) as talk:
        stream = Stream(talk)
        said, data = stream.open(), b""
        while isinstance(said, Paused):
            assert len(said.data) == MAX_CHUNK
            assert not said.is_hungry
            data += said.data
            said = stream.pull()
        assert isinstance(said, Ended)
        assert data + said.data == b"\0" * 700_000 + b"\1" * 700_000 + b"\2" * 700_000 + "ä".encode() * 1_500_000


IN_JAVASCRIPT = [
    ("yield new Uint8Array(16 * 1024 * 1024 + 1);", Code.OUTPUT_LIMIT),
    ("yield 'x'.repeat(16 * 1024 * 1024 + 1);", Code.OUTPUT_LIMIT),
    ("yield '€'.repeat(6 * 1024 * 1024);", Code.OUTPUT_LIMIT),
    ("yield 5;", Code.RESULT_REFUSED),
    ("yield;", Code.RESULT_REFUSED),
    ("yield null;", Code.RESULT_REFUSED),
    ("yield {};", Code.RESULT_REFUSED),
    ("yield [1, 2];", Code.RESULT_REFUSED),
    ("yield new ArrayBuffer(5);", Code.RESULT_REFUSED),
    ("yield new Uint16Array(5);", Code.RESULT_REFUSED),
    ("yield new Proxy(new Uint8Array(5), {});", Code.RESULT_REFUSED),
    ("yield {length: 5, [Symbol.toStringTag]: 'Uint8Array', __proto__: Uint8Array.prototype};", Code.RESULT_REFUSED),
    ("throw new Error('no');", Code.GUEST_ERROR),
    ("yield 'x'; throw new Error('no');", Code.GUEST_ERROR),
    ("for await (const c of chunks) throw c;", Code.GUEST_ERROR),
    ("await new Promise(() => {});", Code.GUEST_ERROR),
    ("yield new Promise(() => {});", Code.GUEST_ERROR),
    ("return 5n;", Code.RESULT_REFUSED),
    ("return 'x'.repeat(100000);", Code.OUTPUT_LIMIT),
]
IN_PYTHON = [
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
    ("for c in chunks:\n    yield c\n    if c: raise ValueError(c)", Code.GUEST_ERROR),
    ("try:\n    yield 5\nexcept Exception:\n    yield 'caught'\nyield 'more'", Code.RESULT_REFUSED),
    ("try:\n    yield 5\nexcept Exception: pass", Code.RESULT_REFUSED),
]


@pytest.mark.parametrize(
    ("kind", "body", "code"),
    [
        *((JAVASCRIPT, body, code) for body, code in IN_JAVASCRIPT),
        *((kind, body, code) for text, code in IN_PYTHON for kind, body in in_python(text).items()),
    ],
)
def test_what_cannot_be_told_ends_the_stream_alone(kind: Kind, body: str, code: Code) -> None:
    with streams(kind, body) as talk:
        for _ in range(2):
            stream = Stream(talk)
            said = stream.open()
            if said == HUNGRY:
                said = stream.chunk(b"x")
            assert isinstance(said, Failed), said
            assert said.code is code
            assert talk.call(5, "other") == Returned(b"5")


@each({JAVASCRIPT: "yield new Uint8Array(16 * 1024 * 1024);", **in_python("yield bytes(16 * 1024 * 1024)")})
def test_16_mib_at_once_are_16_steps(kind: Kind, body: str) -> None:
    with streams(kind, body) as talk:
        stream = Stream(talk)
        said, steps = stream.open(), 1
        while isinstance(said, Paused):
            said, steps = stream.pull(), steps + 1
        assert said == Ended(bytes(MAX_CHUNK), b"null")
        assert steps == 16


@each({
    JAVASCRIPT: "let n = input; for await (const c of chunks) { n += c.length; yield String(n); } return n;",
    **in_python("n = input\nfor c in chunks:\n    n += len(c)\n    yield str(n) if c else ''", result="n"),
})  # fmt: skip
def test_streams_and_calls_take_turns(kind: Kind, body: str) -> None:
    with streams(kind, body) as talk:
        opened = [Stream(talk) for _ in range(5)]
        for number, stream in enumerate(opened):
            assert stream.open(number * 100) == HUNGRY
        for round_ in range(1, 4):
            for number, stream in enumerate(opened):
                assert stream.chunk(b"x") == Paused(is_hungry=True, data=str(number * 100 + round_).encode())
                assert talk.call(number, "other") == Returned(str(number).encode())
        for number, stream in reversed([*enumerate(opened)]):
            assert stream.end() == Ended(b"", str(number * 100 + 3).encode())


@each({
    JAVASCRIPT: "for (let i = 0; i < 3; i++) { const t = Date.now(); while (Date.now() < t + 120); yield String(i); }",
    **in_python(
        "for i in range(3):\n    t = time.monotonic()\n    while time.monotonic() < t + 0.12: pass\n    yield str(i)"
    ),
})  # fmt: skip
def test_a_step_ends_at_a_yield_when_it_has_taken_a_while(kind: Kind, body: str) -> None:
    with streams(kind, body) as talk:
        stream = Stream(talk)
        said, got = stream.open(), []
        while isinstance(said, Paused):
            got.append(said.data)
            assert not said.is_hungry
            said = stream.pull()
        assert got == [b"0", b"1", b"2"]
        assert said == Ended(b"", b"null")


@each({
    JAVASCRIPT: "for (let i = 0; i < 30; i++) { await new Promise((d) => setTimeout(d, 10)); yield 'x'; }",
    ASYNC_PYTHON: "for _ in range(30):\n    await asyncio.sleep(0.01)\n    yield 'x'",
})  # fmt: skip
def test_a_slow_stream_of_timers_is_not_waited_out(kind: Kind, body: str) -> None:
    with streams(kind, body) as talk:
        began = time.monotonic()
        said = Stream(talk).open()
        assert isinstance(said, Paused)
        assert 1 <= len(said.data) < 30
        assert time.monotonic() - began < 5


@each({
    JAVASCRIPT: """
        try { for await (const c of chunks) yield c; } finally { console.log("finally"); context.ocall("t"); }""",
    **in_python("try:\n    for c in chunks:\n        yield c\nfinally:\n    print('finally')\n    context.ocall('t')"),
})  # fmt: skip
def test_a_stream_is_forgotten_when_it_is_dropped_and_its_finally_is_not_heard(kind: Kind, body: str) -> None:
    with streams(kind, body) as talk:
        stream, gone = Stream(talk), Stream(talk)
        stream.open()
        gone.open()
        talk.send(talk.talk.drop(number=gone.number))
        assert stream.chunk(b"x") == Paused(is_hungry=True, data=b"x")
        assert talk.printed == []
        talk.send(bytes((FrameKind.CHUNK,)) + gone.number + b"x")  # no enclave steps through one that it dropped
        assert talk.ended()


@each({
    JAVASCRIPT: """
        for await (const c of chunks) yield String(context.ocall("t", c.length) + (context.state.get("k") ?? 0));""",
    **in_python("for c in chunks:\n    yield str(context.ocall('t', len(c)) + context.state.get('k', 0)) if c else ''"),
})  # fmt: skip
def test_questions_are_asked_in_steps(kind: Kind, body: str) -> None:
    with streams(kind, body) as talk:
        stream = Stream(talk)
        stream.open()
        assert stream.chunk(b"xyz") == Asked("t", b"3")
        assert talk.say(talk.talk.answer(b"5")) == Wanted(GetState("k"))
        assert talk.say(talk.talk.answer(b"")) == Paused(is_hungry=True, data=b"5")


@each({
    JAVASCRIPT: "globalThis.kept = [context]; for await (const c of chunks) yield c;",
    **in_python("kept.append(context)\nfor c in chunks:\n    yield c"),
})  # fmt: skip
def test_a_stream_s_context_is_of_no_use_in_the_turns_of_others(kind: Kind, body: str) -> None:
    more = "try:\n    return kept[0].ocall('t', 1)\nexcept RuntimeError as e:\n    return str(e)"
    if kind is JAVASCRIPT:
        more = "try { return kept[0].ocall('t', 1); } catch (e) { return e.message; }"
    with streams(kind, body, more=more) as talk:
        stream = Stream(talk)
        stream.open()
        assert talk.call(None, "other") == Returned(b'"this call is over"')
        assert Stream(talk).open() == HUNGRY
        assert stream.chunk(b"x") == Paused(is_hungry=True, data=b"x")


@each({
    JAVASCRIPT: """
        yield 'now'; await chunks.next(); setTimeout(() => globalThis.go(), 1);
        await new Promise((d) => { globalThis.go = d; }); yield 'later';""",
    ASYNC_PYTHON: "task = asyncio.ensure_future(asyncio.sleep(0.001, 'later'))\nyield 'now'\nawait anext(chunks)\n"
    "yield await task",
})  # fmt: skip
def test_what_a_stream_does_in_the_turns_of_others_waits_for_its_own(kind: Kind, body: str) -> None:
    more = "await asyncio.sleep(0.03)\nreturn x"
    if kind is JAVASCRIPT:
        more = "return new Promise((d) => setTimeout(() => d(x), 30));"
    with streams(kind, body, more=more) as talk:
        stream, another = Stream(talk), Stream(talk)
        assert stream.open() == Paused(is_hungry=True, data=b"now")
        assert another.open() == Paused(is_hungry=True, data=b"now")
        assert talk.call(7, "other") == Returned(b"7")
        assert stream.chunk(b"x") == Ended(b"later", b"null")
        assert another.chunk(b"x") == Ended(b"later", b"null")


@each({
    JAVASCRIPT: "const c = chunks.next(); await new Promise((d) => setTimeout(d, 1)); throw new Error('late');",
    ASYNC_PYTHON: "c = asyncio.ensure_future(anext(chunks))\nawait asyncio.sleep(0.001)\nraise OSError('late')\nyield",
})  # fmt: skip
def test_a_failure_ends_its_own_stream_whosever_turn_it_is(kind: Kind, body: str) -> None:
    more = "await asyncio.sleep(0.03)\nreturn x"
    if kind is JAVASCRIPT:
        more = "return new Promise((d) => setTimeout(() => d(x), 30));"
    with streams(kind, body, more=more) as talk:
        stream = Stream(talk)
        said = stream.open()
        if said == HUNGRY:
            assert talk.call(7, "other") == Returned(b"7")
            said = stream.chunk(b"x")
        assert isinstance(said, Failed)
        assert said.message == "late"
        assert talk.call(7, "other") == Returned(b"7")


@each({
    JAVASCRIPT: "for await (const c of chunks) { for (let i = 0; i < 99; i++) console.log(i); yield c; }",
    **in_python("for c in chunks:\n    for i in range(99 * len(c)): print(i)\n    yield c"),
})  # fmt: skip
def test_lines_are_counted_for_each_step(kind: Kind, body: str) -> None:
    with streams(kind, body) as talk:
        stream = Stream(talk)
        stream.open()
        for round_ in range(1, 4):
            stream.chunk(b"x")
            assert len(talk.printed) == 64 * round_
