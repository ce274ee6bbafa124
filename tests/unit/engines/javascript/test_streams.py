"""Streams of JavaScript: what it alone offers, and what a program cannot do to others."""

import os
from pathlib import Path

import pytest
from tests.rigs.engine import LIMIT, engine
from tests.rigs.engine import main as module
from tests.rigs.engine_streams import ECHO, Kind, Stream, javascript_streams

from casemate.engines.command import GuestProgram
from casemate.engines.frames import Ended, Failed, Paused, Returned, Said
from casemate.testing.hostile_guests import TRAPS
from casemate.wire.protocol.call import MAX_CHUNK
from casemate.wire.protocol.faults import Code

HUNGRY = Paused(is_hungry=True, data=b"")
MIB = 1024 * 1024


def refused(said: Said, code: Code) -> bool:
    assert isinstance(said, Failed), said
    return said.code is code


def test_a_piece_that_the_program_keeps_stays_what_it_was() -> None:
    body = "const kept = []; for await (const c of chunks) kept.push(c); return kept.map((c) => [c.length, c[0]]);"
    with javascript_streams(body) as talk:
        stream = Stream(talk)
        stream.open()
        for number in range(4):
            stream.chunk(bytes([number]) * (number + 1))
        assert stream.end() == Ended(b"", b"[[1,0],[2,1],[3,2],[4,3]]")


def test_strings_are_utf_8_and_subarrays_are_themselves() -> None:
    body = "yield 'ä€'; yield new Uint8Array([0, 1, 2, 3]).subarray(1, 3); yield ''; yield new Uint8Array(0); return 1;"
    with javascript_streams(body) as talk:
        assert Stream(talk).open() == Ended("ä€".encode() + b"\1\2", b"1")


def test_input_that_nobody_wants_any_more_is_dropped() -> None:
    body = "for await (const c of chunks) break; yield 'after'; const {done} = await chunks.next(); return done;"
    with javascript_streams(body) as talk:
        stream = Stream(talk)
        assert stream.open() == HUNGRY
        assert stream.chunk(b"x") == Ended(b"after", b"true")


def test_a_generator_may_ask_for_several_pieces_at_once() -> None:
    body = """
        const [a, b] = await Promise.all([chunks.next(), chunks.next()]);
        const c = chunks.next(); yield 'between'; await c; const end = await chunks.next();
        return [a.value.length, b.value.length, (await c).value.length, end.done, (await chunks.next()).done];"""
    with javascript_streams(body) as talk:
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
    with javascript_streams(body) as talk:
        stream = Stream(talk)
        said = stream.open()
        assert isinstance(said, Paused)
        assert b'[true,true,true,"function"]' in said.data + (b"" if said.data else b'[true,true,true,"function"]')
        stream.chunk(b"lost to the first next")
        stream.chunk(b"x")
        assert stream.end() == Ended(b"", b'{"value":7,"done":true}')


def test_a_stream_must_be_an_asynchronous_generator() -> None:
    for kind in ("function", "async function", "function*"):
        with engine() as talk:
            program = GuestProgram([module(f"export {kind} main() {{}}")], ("main",), LIMIT, LIMIT, ("main",))
            said = talk.say(talk.talk.load(program))
            assert said == Failed(Code.GUEST_ERROR, "TypeError", "main is a stream, so it must be an async function*")


def test_many_times_its_memory_passes_through_a_guest() -> None:
    with javascript_streams(ECHO[Kind.JAVASCRIPT]) as talk:
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
    with javascript_streams(manual, more) as talk:
        stream = Stream(talk)
        assert stream.open() == HUNGRY
        talk.call(entry="other")
        for size in (1, 100_000, 1):
            assert stream.chunk(b"x" * size) == Paused(is_hungry=True, data=b"x" * size)
        assert stream.end() == Ended(b"", b"100002")
        another = Stream(talk)
        assert another.open() == HUNGRY
        assert another.chunk(b"abc") == Paused(is_hungry=True, data=b"abc")
        assert talk.call("look", "other") == Returned(b"0")


def test_a_thenable_everywhere_is_the_program_s_own_trouble() -> None:
    more = """Object.defineProperty(Object.prototype, 'then', {configurable: true, get() {
        return (done) => done.call(null, 5);
    }}); return null;"""
    with javascript_streams("yield 'a'; yield 'b';", more) as talk:
        talk.call(entry="other")
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
    with javascript_streams(body, "return x;") as talk:
        stream = Stream(talk)
        said = stream.open()
        for _ in range(4):
            if not isinstance(said, Paused):
                break
            assert talk.call(1, "other") == Returned(b"1")
            said = stream.chunk(b"x") if said.is_hungry else stream.pull()
        if isinstance(said, Paused):
            said = stream.end() if said.is_hungry else stream.pull()
        assert isinstance(said, Ended | Failed | Paused)
        assert talk.call(1, "other") == Returned(b"1")
