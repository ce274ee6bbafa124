"""Streams through the engine itself: when a step ends, what it puts out, and what a program cannot do to others."""

import os
import time
from pathlib import Path

import pytest
from tests.rigs.engine import LIMIT, engine
from tests.rigs.engine import main as module
from tests.rigs.engine_streams import Stream, program

from casemate.engines.command import GuestProgram
from casemate.engines.frames import Asked, Ended, Failed, Paused, Returned, Said, Wanted
from casemate.engines.questions import GetState
from casemate.testing.hostile_guests import TRAPS
from casemate.wire.protocol.call import MAX_CHUNK
from casemate.wire.protocol.faults import Code

HUNGRY = Paused(is_hungry=True, data=b"")
MIB = 1024 * 1024


def refused(said: Said, code: Code) -> bool:
    assert isinstance(said, Failed), said
    return said.code is code


ECHO = "let n = 0; for await (const c of chunks) { n += c.length; yield c; } return {n, input};"


def test_pieces_go_in_and_out_and_a_result_ends_it() -> None:
    with program(ECHO) as talk:
        stream = Stream(talk)
        assert stream.open({"a": 1}) == HUNGRY
        assert stream.chunk(b"one") == Paused(is_hungry=True, data=b"one")
        assert stream.chunk(b"three") == Paused(is_hungry=True, data=b"three")
        assert stream.end() == Ended(b"", b'{"n":8,"input":{"a":1}}')


@pytest.mark.parametrize("size", [1, 60_000, 64 * 1024 - 13, 64 * 1024, 64 * 1024 + 1, MAX_CHUNK])
def test_pieces_of_any_size_come_through(size: int) -> None:
    with program(ECHO) as talk:
        stream, piece = Stream(talk), os.urandom(size)
        stream.open()
        for _ in range(3):
            assert stream.chunk(piece) == Paused(is_hungry=True, data=piece)
        assert isinstance(stream.end(), Ended)


def test_a_piece_that_the_program_keeps_stays_what_it_was() -> None:
    body = "const kept = []; for await (const c of chunks) kept.push(c); return kept.map((c) => [c.length, c[0]]);"
    with program(body) as talk:
        stream = Stream(talk)
        stream.open()
        for number in range(4):
            stream.chunk(bytes([number]) * (number + 1))
        assert stream.end() == Ended(b"", b"[[1,0],[2,1],[3,2],[4,3]]")


def test_what_is_yielded_is_taken_at_once() -> None:
    body = "const b = new Uint8Array(2e6).fill(1); yield b; b.fill(2); await 0; b.fill(3); yield b.subarray(0, 1);"
    with program(body) as talk:
        stream = Stream(talk)
        assert stream.open() == Paused(is_hungry=False, data=b"\1" * MAX_CHUNK)
        assert stream.pull() == Ended(b"\1" * (2_000_000 - MAX_CHUNK) + b"\3", b"null")


def test_strings_are_utf_8_and_subarrays_are_themselves() -> None:
    body = "yield 'ä€'; yield new Uint8Array([0, 1, 2, 3]).subarray(1, 3); yield ''; yield new Uint8Array(0); return 1;"
    with program(body) as talk:
        assert Stream(talk).open() == Ended("ä€".encode() + b"\1\2", b"1")


def test_small_pieces_are_collected_and_large_ones_cut() -> None:
    body = "for (let i = 0; i < 3; i++) yield new Uint8Array(700000).fill(i); yield new Uint8Array(3e6).fill(9);"
    with program(body) as talk:
        stream = Stream(talk)
        said, data = stream.open(), b""
        while isinstance(said, Paused):
            assert len(said.data) == MAX_CHUNK
            assert not said.is_hungry
            data += said.data
            said = stream.pull()
        assert isinstance(said, Ended)
        data += said.data
        assert data == b"\0" * 700_000 + b"\1" * 700_000 + b"\2" * 700_000 + b"\x09" * 3_000_000


@pytest.mark.parametrize(
    ("body", "code"),
    [
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
        (
            "yield {length: 5, [Symbol.toStringTag]: 'Uint8Array', __proto__: Uint8Array.prototype};",
            Code.RESULT_REFUSED,
        ),
        ("throw new Error('no');", Code.GUEST_ERROR),
        ("yield 'x'; throw new Error('no');", Code.GUEST_ERROR),
        ("for await (const c of chunks) throw c;", Code.GUEST_ERROR),
        ("await new Promise(() => {});", Code.GUEST_ERROR),
        ("yield new Promise(() => {});", Code.GUEST_ERROR),
        ("return 5n;", Code.RESULT_REFUSED),
        ("return 'x'.repeat(100000);", Code.OUTPUT_LIMIT),
    ],
)
def test_what_cannot_be_told_ends_the_stream_alone(body: str, code: Code) -> None:
    with program(body, "return x;") as talk:
        stream = Stream(talk)
        said = stream.open()
        if said == HUNGRY:
            said = stream.chunk(b"x")
        assert refused(said, code)
        assert talk.call("other", 5) == Returned(b"5")
        assert isinstance(Stream(talk).open(), Failed | Paused)


def test_16_mib_at_once_are_16_steps() -> None:
    with program("yield new Uint8Array(16 * 1024 * 1024); return 1;") as talk:
        stream = Stream(talk)
        said, steps = stream.open(), 1
        while isinstance(said, Paused):
            said, steps = stream.pull(), steps + 1
        assert said == Ended(bytes(MAX_CHUNK), b"1")
        assert steps == 16


def test_streams_and_calls_take_turns() -> None:
    with program(
        "let n = input; for await (const c of chunks) { n += c.length; yield String(n); } return n;", "return x;"
    ) as talk:
        streams = [Stream(talk) for _ in range(5)]
        for number, stream in enumerate(streams):
            assert stream.open(number * 100) == HUNGRY
        for round_ in range(1, 4):
            for number, stream in enumerate(streams):
                assert stream.chunk(b"x") == Paused(is_hungry=True, data=str(number * 100 + round_).encode())
                assert talk.call("other", number) == Returned(str(number).encode())
        for number, stream in reversed([*enumerate(streams)]):
            assert stream.end() == Ended(b"", str(number * 100 + 3).encode())


def test_a_step_ends_at_a_yield_when_it_has_taken_a_while() -> None:
    body = (
        "for (let i = 0; i < 5; i++) { const t = Date.now(); while (Date.now() < t + 120); yield String(i); } return 1;"
    )
    with program(body) as talk:
        stream = Stream(talk)
        said, got = stream.open(), []
        while isinstance(said, Paused):
            got.append(said.data)
            assert not said.is_hungry
            said = stream.pull()
        assert got == [b"0", b"1", b"2", b"3", b"4"]
        assert said == Ended(b"", b"1")


def test_a_slow_stream_of_timers_is_not_waited_out() -> None:
    body = "for (let i = 0; i < 30; i++) { await new Promise((d) => setTimeout(d, 10)); yield 'x'; } return 1;"
    with program(body) as talk:
        began = time.monotonic()
        said = Stream(talk).open()
        assert isinstance(said, Paused)
        assert 1 <= len(said.data) < 30
        assert time.monotonic() - began < 2


def test_input_that_nobody_wants_any_more_is_dropped() -> None:
    body = "for await (const c of chunks) break; yield 'after'; const {done} = await chunks.next(); return done;"
    with program(body) as talk:
        stream = Stream(talk)
        assert stream.open() == HUNGRY
        assert stream.chunk(b"x") == Ended(b"after", b"true")


def test_a_generator_may_ask_for_several_pieces_at_once() -> None:
    body = """
        const [a, b] = await Promise.all([chunks.next(), chunks.next()]);
        const c = chunks.next(); yield 'between'; await c; const end = await chunks.next();
        return [a.value.length, b.value.length, (await c).value.length, end.done, (await chunks.next()).done];"""
    with program(body) as talk:
        stream = Stream(talk)
        assert stream.open() == HUNGRY
        for size in (1, 2):
            said = stream.chunk(bytes(size))
            assert isinstance(said, Paused)
            assert said.is_hungry
        said = stream.chunk(bytes(3))
        assert isinstance(said, Paused)
        assert stream.end() == Ended(b"" if said.data else b"between", b"[1,2,3,true,true]")


def test_what_chunks_offers() -> None:
    body = """
        const other = {[Symbol.asyncIterator]: () => chunks};
        yield JSON.stringify([Object.isFrozen(chunks), chunks[Symbol.asyncIterator]() === chunks,
            chunks.next() instanceof Promise, typeof chunks.return]);
        for await (const c of other) yield c;
        return await chunks.return(7);"""
    with program(body) as talk:
        stream = Stream(talk)
        said = stream.open()
        assert isinstance(said, Paused)
        assert b'[true,true,true,"function"]' in said.data + (b"" if said.data else b'[true,true,true,"function"]')
        stream.chunk(b"lost to the first next")
        stream.chunk(b"x")
        assert stream.end() == Ended(b"", b'{"value":7,"done":true}')


def test_a_stream_is_forgotten_when_it_is_dropped_or_over() -> None:
    with program(ECHO, "return x;") as talk:
        stream, gone = Stream(talk), Stream(talk)
        stream.open()
        gone.open()
        assert talk.process.stdin is not None
        dropped = talk.talk.drop(number=gone.number)
        talk.process.stdin.write(len(dropped).to_bytes(4, "little") + dropped)
        assert stream.chunk(b"x") == Paused(is_hungry=True, data=b"x")
        talk.process.stdin.write(b"\x0a\0\0\0\6" + gone.number + b"x")  # no enclave steps through one that it dropped
        talk.process.stdin.flush()
        assert talk.process.wait(timeout=5) == 71


def test_a_stream_must_be_an_asynchronous_generator() -> None:
    for kind in ("function", "async function", "function*"):
        with engine() as talk:
            program = GuestProgram([module(f"export {kind} main() {{}}")], ("main",), LIMIT, LIMIT, ("main",))
            said = talk.say(talk.talk.load(program))
            assert said == Failed(Code.GUEST_ERROR, "TypeError", "main is a stream, so it must be an async function*")


def test_questions_are_asked_in_steps() -> None:
    body = "for await (const c of chunks) yield String(context.ocall('t', c.length) + (context.state.get('k') ?? 0));"
    with program(body) as talk:
        stream = Stream(talk)
        stream.open()
        assert stream.chunk(b"xyz") == Asked("t", b"3")
        assert talk.say(talk.talk.answer(b"5")) == Wanted(GetState("k"))
        assert talk.say(talk.talk.answer(b"")) == Paused(is_hungry=True, data=b"5")


def test_a_stream_s_context_is_of_no_use_in_the_turns_of_others() -> None:
    more = "try { return globalThis.kept.ocall('t', 1); } catch (e) { return e.message; }"
    with program("globalThis.kept = context; for await (const c of chunks) yield c;", more) as talk:
        stream = Stream(talk)
        stream.open()
        assert talk.call("other") == Returned(b'"this call is over"')
        assert Stream(talk).open() == HUNGRY
        assert stream.chunk(b"x") == Paused(is_hungry=True, data=b"x")


def test_what_a_stream_does_in_the_turns_of_others_waits_for_its_own() -> None:
    body = """
        setTimeout(() => globalThis.go(), 1);
        await new Promise((d) => { globalThis.go = d; });
        yield 'later';
        return 1;"""
    more = "return new Promise((d) => setTimeout(() => d(x), 30));"
    with program("yield 'now'; await chunks.next(); " + body, more) as talk:
        stream, another = Stream(talk), Stream(talk)
        assert stream.open() == Paused(is_hungry=True, data=b"now")
        assert another.open() == Paused(is_hungry=True, data=b"now")
        assert talk.call("other", 7) == Returned(b"7")
        assert stream.chunk(b"x") == Ended(b"later", b"1")
        assert another.chunk(b"x") == Ended(b"later", b"1")


def test_a_failure_in_the_turn_of_another_is_told_in_the_stream_s_own() -> None:
    with program(
        "const c = chunks.next(); await new Promise((d) => setTimeout(d, 1)); throw new Error('late');",
        "return new Promise((d) => setTimeout(() => d(x), 30));",
    ) as talk:
        stream = Stream(talk)
        assert stream.open() == HUNGRY
        assert talk.call("other", 7) == Returned(b"7")
        assert refused(stream.chunk(b"x"), Code.GUEST_ERROR)


def test_lines_are_counted_for_each_step() -> None:
    with program("for await (const c of chunks) for (let i = 0; i < 99; i++) console.log(i);") as talk:
        stream = Stream(talk)
        stream.open()
        for round_ in range(1, 4):
            stream.chunk(b"x")
            assert len(talk.printed) == 64 * round_


def test_many_times_its_memory_passes_through_a_guest() -> None:
    with program(ECHO) as talk:
        stream, piece = Stream(talk), os.urandom(MAX_CHUNK)
        stream.open()
        for _ in range(200):
            said = stream.chunk(piece)
            assert isinstance(said, Paused)
            assert said.data == piece
        status = Path(f"/proc/{talk.process.pid}/status").read_text().splitlines()
        peak = next(int(line.split()[1]) for line in status if line.startswith("VmHWM"))
        assert peak < 190 * 1024  # the engine alone takes 50 MiB; 64 of heap and 64 beside it are allowed


# What the program replaces, it replaces for itself.

TAMPERS = {
    "the bytes' methods": TRAPS.replace("const caught = [],", "globalThis.caught = []; const"),
    "async generators": """
        const g = Object.getPrototypeOf(async function* () {});
        g.prototype.next = () => Promise.resolve({done: false, value: 'forged'});
        g.prototype.return = g.prototype.throw = () => { throw 1; };
        Object.getPrototypeOf(g.prototype)[Symbol.asyncIterator] = () => ({next: () => ({done: true})});""",
    "arrays": """
        for (const name of ['push', 'shift', 'map', 'join', 'values'])
            Array.prototype[name] = () => { throw new Error('trapped'); };
        Object.defineProperty(Array.prototype, '0', {set() { throw new Error('trapped'); }, get: () => 7});
        Array.prototype[Symbol.iterator] = () => { throw new Error('trapped'); };""",
    "objects": """
        for (const name of ['call', 'generator', 'rest', 'waiting', 'wake', 'outcome', 'next', 'resolve', 'isOver'])
            Object.defineProperty(Object.prototype, name, {set() { throw new Error('trapped'); }, get: () => 7});""",
    "iterators": """
        Object.getPrototypeOf([][Symbol.iterator]()).next = () => { throw new Error('trapped'); };
        Map.prototype.get = Map.prototype.set = Map.prototype.delete = () => { throw new Error('trapped'); };
        performance.now = () => 1e300; Date.now = () => 1e300;""",
    "promises": """
        Promise.resolve = Promise.reject = Promise.all = () => { throw new Error('trapped'); };
        try { Promise.prototype.then = () => { throw new Error('trapped'); }; } catch {}
        Promise.prototype.finally = Promise.prototype.catch = () => { throw new Error('trapped'); };""",
}


@pytest.mark.parametrize("what", TAMPERS)
def test_a_stream_works_whatever_the_program_has_replaced(what: str) -> None:
    more = f"if (x === 'look') return globalThis.caught?.length ?? 0; {TAMPERS[what]} return null;"
    manual = """
        for (let n = 0;;) {
            const {done, value} = await chunks.next();
            if (done) return n;
            n += value.length;
            yield value;
        }"""
    with program(manual, more) as talk:
        stream = Stream(talk)
        assert stream.open() == HUNGRY
        talk.call("other")
        for size in (1, 100_000, 1):
            assert stream.chunk(b"x" * size) == Paused(is_hungry=True, data=b"x" * size)
        assert stream.end() == Ended(b"", b"100002")
        another = Stream(talk)
        assert another.open() == HUNGRY
        assert another.chunk(b"abc") == Paused(is_hungry=True, data=b"abc")
        assert talk.call("other", "look") == Returned(b"0")


def test_a_thenable_everywhere_is_the_program_s_own_trouble() -> None:
    more = """Object.defineProperty(Object.prototype, 'then', {configurable: true, get() {
        return (done) => done.call(null, 5);
    }}); return null;"""
    with program("yield 'a'; yield 'b';", more) as talk:
        talk.call("other")
        said = Stream(talk).open()
        assert isinstance(said, Failed | Ended | Paused)
        assert talk.process.poll() is None


@pytest.mark.parametrize(
    "body",
    [
        (
            "const p = chunks.next(); p.then = () => {}; await Promise.race([p, 1]);"
            " for await (const c of chunks) yield c;"
        ),
        (
            "chunks.next().then(() => { throw 1; }); for (let i = 0; i < 1e4; i++) chunks.next();"
            " yield 'x'; await chunks.next();"
        ),
        "queueMicrotask(() => chunks.return()); for await (const c of chunks) yield c; yield 'x';",
        (
            "(async () => { for (let i = 0; i < 9; i++) await chunks.next(); })();"
            " yield 'x'; await new Promise((d) => setTimeout(d, 5));"
        ),
        "Promise.resolve().then(() => { throw new Error('nobody listens'); }); await chunks.next(); yield 'x';",
    ],
)
def test_promise_games_across_steps_end_in_a_typed_way(body: str) -> None:
    with program(body, "return x;") as talk:
        stream = Stream(talk)
        said = stream.open()
        for _ in range(4):
            if not isinstance(said, Paused):
                break
            assert talk.call("other", 1) == Returned(b"1")
            said = stream.chunk(b"x") if said.is_hungry else stream.pull()
        if isinstance(said, Paused):
            said = stream.end() if said.is_hungry else stream.pull()
        assert isinstance(said, Ended | Failed | Paused)
        assert talk.call("other", 1) == Returned(b"1")
