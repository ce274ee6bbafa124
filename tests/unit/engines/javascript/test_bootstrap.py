"""What the bootstrap leaves a program, and what it tells of its exceptions."""

import base64
import json
import re
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import tree_sitter_javascript
from tests.rigs.engine import EVERYTHING, LIMIT, Module, Talk, engine, linked, main
from tests.rigs.engine_streams import Stream, javascript_streams
from tree_sitter import Language, Parser

from casemate.engines.command import GuestProgram
from casemate.engines.frames import Failed, Loaded, Paused, Place, Returned, Said
from casemate.engines.javascript.engine import BOOTSTRAP, JavaScript, may_import_more, node_modules
from casemate.testing.lone_spawner import shared_engine
from casemate.wire.protocol.faults import Code
from casemate.wire.protocol.image_index import Link

FOLDER = Path(may_import_more.__code__.co_filename).with_name("bootstrap")


def test_the_engine_gets_the_bootstrap_without_comments_and_with_its_lines() -> None:
    parser = Parser(Language(tree_sitter_javascript.language()))

    def tokens(source: bytes) -> list[list[bytes]]:
        found, waiting = [], [parser.parse(source).root_node]
        assert not waiting[0].has_error
        while waiting:
            node = waiting.pop()
            if node.type != "comment" and not node.children:
                found.append(source[node.start_byte : node.end_byte].split())
            waiting += [] if node.type == "comment" else reversed(node.children)
        return found

    whole = b"".join((FOLDER / f"{part}.js").read_bytes() for part in BOOTSTRAP)
    given = base64.b64decode(JavaScript().command("deno", memory_mib=64).arguments[-1].partition(",")[2])
    assert tokens(given) == tokens(whole)
    assert given.count(b"\n") == whole.count(b"\n")


def test_every_part_of_the_bootstrap_is_in_it_once_and_says_what_it_is_for() -> None:
    parts = [f"{part}.js" for part in BOOTSTRAP]
    assert sorted(parts) == sorted(file.name for file in FOLDER.iterdir())
    for part in parts:
        header = (FOLDER / part).read_text().partition("\n\n")[0].splitlines()
        assert len(header) > 2
        assert all(line.startswith("//") for line in header)


@pytest.mark.parametrize(("value", "words"), [
    ("() => 1", "the result is not JSON: it is a function"),
    ("Symbol()", "the result is not JSON: it is a symbol"),
    ("{ toJSON() {} }", "the result is not JSON: it is an object"),
])  # fmt: skip
def test_a_result_without_json_is_named_by_its_kind(value: str, words: str) -> None:
    with engine() as talk:
        talk.load(main(f"export function main() {{ return {value}; }}"))
        assert talk.call() == Failed(Code.RESULT_REFUSED, "Error", words)


# --- every documented name, by the ways that make an engine warn, refuse or load more of itself ----------------------

ODD_USES = Path(__file__).with_name("odd_uses.js")


def test_what_the_page_names_works_in_odd_ways_too() -> None:
    with engine() as talk:
        assert talk.load(Module("guest/main.js", ODD_USES.read_bytes())) == Loaded()
        for _ in range(2):  # what the first call has made the engine load, the second finds
            count, wrong = talk.value()
            assert wrong == {}
            assert count > len("twenty-six names, and many delays")


def test_what_is_promised_on_the_page_is_what_is_there() -> None:
    page = (Path(__file__).parents[4] / "docs/writing-functions.md").read_text()
    names = re.findall(r"`(\w+)`", page.partition("these names exist:")[2].partition("\n\n")[2].partition("\n\n")[0])
    assert len(names) > 30
    with engine() as talk:
        talk.load(
            main("export const main = (names) => names.filter((name) => typeof globalThis[name] === 'undefined');")
        )
        assert talk.value(names) == []


# --- waiting ----------------------------------------------------------------------------------------------------------

CELL = "const cell = new Int32Array(new SharedArrayBuffer(16), 4);"


@pytest.mark.parametrize(
    ("body", "value"),
    [
        ("return Atomics.waitAsync(cell, 0, 0, 2).value;", "timed-out"),
        ("return [Atomics.waitAsync(cell, 0, 1).value, Atomics.waitAsync(cell, 0, 0, 0).value];",
         ["not-equal", "timed-out"]),
        ("return Atomics.waitAsync(cell, 0, 0, -1).async;", False),
        ("setTimeout(() => Atomics.notify(cell, 1), 1); return Atomics.waitAsync(cell, 1, 0).value;", "ok"),
        (("const all = [1, 2, 3].map(() => Atomics.waitAsync(cell, 0, 0, 5).value);"
         " const n = [Atomics.notify(cell, 1), Atomics.notify(cell, 0, 2), Atomics.notify(cell, 0, 0)];"
         " return [n, await Promise.all(all), Atomics.notify(cell, 0)];"), [[0, 2, 0], ["ok", "ok", "timed-out"], 0]),
        (("const big = new BigInt64Array(cell.buffer, 8); const wait = Atomics.waitAsync(cell, 1, 0).value;"
         " return [Atomics.notify(big, 0), await wait];"), [1, "ok"]),
        ("try { Atomics.waitAsync(new Int32Array(4), 0, 0); } catch (error) { return error.name; }", "TypeError"),
        ("try { Atomics.waitAsync(cell, 9, 0); } catch (error) { return error.name; }", "RangeError"),
        ("return Atomics.notify(new Int32Array(4), 0);", 0),
        ("const late = AbortSignal.timeout(2); return await new Promise((done) => late.onabort = () => done(1));", 1),
        ("const wasm = new Uint8Array([0, 97, 115, 109, 1, 0, 0, 0]); return String(await WebAssembly.compile(wasm));",
         "[object WebAssembly.Module]"),
    ],
)  # fmt: skip
def test_a_call_waits_for_what_still_comes(body: str, value: Any) -> None:
    with engine() as talk:
        talk.load(main(f"{CELL} export async function main() {{ {body} }}"))
        assert talk.value() == value


@pytest.mark.parametrize("body", ["new Promise(() => {})", "Atomics.waitAsync(cell, 0, 0).value"])
def test_a_call_that_waits_for_nothing_is_told_so(body: str) -> None:
    with engine() as talk:
        talk.load(main(f"{CELL} export async function main() {{ await {body}; }}"))
        said = talk.call()
        assert isinstance(said, Failed)
        assert said.message == "the promise can never be settled: nothing is left to run"


# --- exceptions -------------------------------------------------------------------------------------------------------


def load(talk: Talk, *modules: Module, debug: bool) -> Said:
    return talk.say(talk.talk.load(GuestProgram(modules, ("main",), LIMIT, LIMIT, (), EVERYTHING, debug=debug)))


THROWN = [
    ("() => {}", "Thrown", "a function"),
    ("class A {}", "Thrown", "a function"),
    ("{}", "Thrown", "an object without a message"),
    ("Object.create(null)", "Thrown", "an object without a message"),
    ("new Proxy({}, { get() { throw 1; } })", "Thrown", "an object without a message"),
    ("new Proxy(function () {}, {})", "Thrown", "a function"),
    ("{ get name() { throw 1; }, get message() { throw 2; }, get stack() { throw 3; } }", "Thrown",
     "an object without a message"),
    ("{ get message() { throw 1; }, name: 'N' }", "N", ""),
    ("{ message: 'm' }", "Error", "m"),
    ("{ message: 1, name: 2 }", "Thrown", "an object without a message"),
    ("null", "Thrown", "null"),
    ("undefined", "Thrown", "undefined"),
    ("Symbol('s')", "Thrown", "Symbol(s)"),
    ("5n", "Thrown", "5"),
    ("'text'", "Thrown", "text"),
    ("-0", "Thrown", "0"),
    ("new Error()", "Error", ""),
    ("new Error('\\ud800')", "Error", "\ufffd"),
    ("new Error('x'.repeat(1e6))", "Error", "x" * 1024),
    ("new DOMException('m', 'DataError')", "DataError", "m"),
]  # fmt: skip


@pytest.fixture(scope="module")
def thrower() -> Iterator[Talk]:
    with engine() as talk:
        all_of_them = ", ".join(f"() => {{ throw {thrown}; }}" for thrown, _, _ in THROWN)
        load(talk, main(f"const all = [{all_of_them}]; export const main = (number) => all[number]();"), debug=False)
        yield talk


@pytest.mark.parametrize("number", range(len(THROWN)), ids=[thrown[:40] for thrown, _, _ in THROWN])
def test_whatever_is_thrown_has_a_name(thrower: Talk, number: int) -> None:
    _, name, message = THROWN[number]
    assert thrower.call(number) == Failed(Code.GUEST_ERROR, name, message)


INNER = Module("guest/lib/inner.js", b"export function inner(x) {\n  return x.a.b;\n}")
OUTER = linked(
    main(
        'import { inner } from "./lib/inner.js";\n\nexport async function main(x) {\n  await 0;\n  return inner(x);\n}'
    ),
    **{"lib/inner.js": "lib/inner.js"},
)


def test_a_debug_enclave_s_guest_says_where_it_threw() -> None:
    with engine() as talk:
        load(talk, INNER, OUTER, debug=True)
        said = talk.call({})
        words = "Cannot read properties of undefined (reading 'b')"
        assert said == Failed(Code.GUEST_ERROR, "TypeError", words, Place("guest/lib/inner.js", 2, 14))


def test_places_are_those_of_the_measured_file_though_specifiers_are_longer_in_here() -> None:
    one_line = (
        '"ä😀"; import { inner } from "./i.js"; import * as all from "./i.js"; export function main(x) { inner.a.b; }'
    )
    outer = main(one_line)
    offsets = [found.start() for found in re.finditer(rb'"./i.js"', outer.source)]
    links = tuple(Link(outer.path, "./i.js", INNER.path, offset, offset + 8) for offset in offsets)
    with engine() as talk:
        load(talk, INNER, Module(outer.path, outer.source, links), debug=True)
        said = talk.call({})
        assert isinstance(said, Failed)
        column = len(one_line.encode("utf-16-le")[: one_line.index("b; }") * 2 + 2]) // 2 + 1
        assert said.place == Place("guest/main.js", 1, column)
    with engine() as talk:
        said = load(talk, INNER, Module(outer.path, outer.source + b" let z; let z;", links), debug=False)
        assert isinstance(said, Failed)
        assert said.message == "Identifier 'z' has already been declared"
        assert said.place == Place("guest/main.js", 1, len(one_line) + 1 + len(" let z; let ") + 1)


def test_every_other_guest_says_no_places() -> None:
    with engine() as talk:
        load(talk, INNER, OUTER, debug=False)
        said = talk.call({})
        assert isinstance(said, Failed)
        assert said.message == "Cannot read properties of undefined (reading 'b')"
        assert said.place is None


def test_an_exception_at_a_module_s_top_level_has_its_place() -> None:
    with engine() as talk:
        said = load(talk, main("const x = 1;\nnull.x;\nexport function main() {}"), debug=False)
        assert isinstance(said, Failed)
        assert said.place == Place("guest/main.js", 2, 6)


@pytest.mark.parametrize("debug", [True, False])
def test_a_stack_trace_has_the_measured_files_and_no_url(debug: bool) -> None:
    source = "export function main() {\n  return [new Error('e').stack, new RangeError('f', {\n cause: 1 }).stack];\n}"
    with engine() as talk:
        load(talk, main(source), debug=debug)
        assert talk.value() == [
            "Error: e\n    at main (guest/main.js:2:11)",
            "RangeError: f\n    at main (guest/main.js:2:33)",
        ]


def test_a_module_that_breaks_the_language_and_throws_is_refused_with_its_words() -> None:
    spoils = (
        "Array.prototype[Symbol.iterator] = Array.prototype.join = String.prototype.split = RegExp.prototype.exec = 0;"
        "\n"
        "Error.prototype.toString = Object.getPrototypeOf([][Symbol.iterator] ?? {}).next = 0; null.x;"
    )
    with engine() as talk:
        said = load(talk, main(spoils), debug=True)
        assert isinstance(said, Failed)
        assert said.message == "Cannot read properties of null (reading 'x')"
        assert said.place == Place("guest/main.js", 2, 92)


def test_a_program_may_make_its_own_stack_traces() -> None:
    source = "export function main() { Error.prepareStackTrace = (e, s) => 'mine'; return new Error('e').stack; }"
    with engine() as talk:
        load(talk, main(source), debug=False)
        assert talk.value() == "mine"


def test_a_program_that_makes_stack_traces_gets_frames_with_paths_and_measured_columns() -> None:
    one_line = (
        'import { inner } from "./lib/inner.js"; export function main() { '
        "Error.prepareStackTrace = (e, sites) => [Error.prepareStackTrace.name, ...sites.map((s) => [s.getFileName(),"
        " s.getLineNumber(), s.getColumnNumber(), s.getFunctionName(), s.isAsync(), s.getThis() ?? null, String(s)])];"
        " const { stack } = new Error(); Error.prepareStackTrace = null;"
        " return [stack, new Error().stack]; }"
    )
    with engine() as talk:
        load(talk, INNER, linked(main(one_line), **{"lib/inner.js": "lib/inner.js"}), debug=False)
        place = f"guest/main.js:1:{one_line.index('new Error()') + 1}"
        last = f"guest/main.js:1:{one_line.rindex('new Error()') + 1}"
        column = int(place.rpartition(":")[2])
        frames = ["guest/main.js", 1, column, "main", False, None, f"main ({place})"]
        assert talk.value() == [["prepareStackTrace", frames], f"Error\n    at main ({last})"]


ADDRESSES = """
export async function main() {
  const told = [import.meta.url, Object.keys(import.meta)];
  EventTarget.prototype.addEventListener.call(globalThis, "error", (event) => told.push(event.filename), true);
  EventTarget.prototype.addEventListener.call(globalThis, "unhandledrejection", (event) => told.push(event), true);
  setTimeout(() => { throw new Error("late"); }, 1);
  Promise.reject(new Error("lost"));
  await new Promise((done) => setTimeout(done, 10));
  try { globalThis.Error = { prepareStackTrace: (_, sites) => sites.map((site) => site.getFileName()) }; } catch {}
  Error.prepareStackTrace = undefined;
  told.push(new Error("x").stack);
  Error.prepareStackTrace = (_, sites) => sites.map((site) => [String(site), site.getScriptNameOrSourceURL()]);
  told.push(new Error("x").stack);
  console.log(new Error("printed"), import.meta);
  return told;
}
"""


def test_no_address_of_the_engine_s_is_told_to_a_program() -> None:
    with engine() as talk:
        load(talk, main(ADDRESSES), debug=True)
        told = talk.value()
        assert told[:2] == ["guest/main.js", ["url", "main"]]
        assert len(told) == 4
        everything = json.dumps(told) + "".join(talk.printed)
        assert len(talk.printed) == 3
        assert "blob:" not in everything
        assert "data:" not in everything


def test_a_module_that_uses_import_meta_has_its_places_on_the_first_line_too() -> None:
    source = "export const main = () => { import.meta.a.b; };\nlet never = () => null.x;"
    with engine() as talk:
        load(talk, main(source), debug=True)
        said = talk.call()
        assert isinstance(said, Failed)
        assert said.place == Place("guest/main.js", 1, source.index("b; }") + 1)


@pytest.mark.parametrize(("source", "name", "message", "place"), [
    ("let a;\nlet b = ;\n", "SyntaxError", "Expression expected", Place("guest/main.js", 2, 9)),
    ("let a;\nlet a;\n", "SyntaxError", "Identifier 'a' has already been declared", Place("guest/main.js", 2, 5)),
    ("export const other = 1;", "TypeError", "guest/main.js exports no function main", None),
])  # fmt: skip
def test_what_cannot_be_loaded_has_its_place(source: str, name: str, message: str, place: Place | None) -> None:
    with engine() as talk:
        assert load(talk, main(source), debug=False) == Failed(Code.GUEST_ERROR, name, message, place)


LOSSES = (
    "export async function main() { Promise.reject(new TypeError('r'));\n"
    " setTimeout(() => { throw new RangeError('t'); });\n"
    " queueMicrotask(() => { throw null; });\n"
    " await new Promise((done) => setTimeout(done, 5)); }"
)


def test_exceptions_that_nobody_catches_are_printed_by_a_debug_enclave_s_guest() -> None:
    with engine() as talk:
        load(talk, main(LOSSES), debug=True)
        assert talk.value() is None
        assert sorted(talk.printed) == [
            "a promise was rejected, and nobody waited for it: TypeError: r at guest/main.js:1:47",
            "an exception outside of a call: RangeError: t at guest/main.js:2:27",
            "an exception outside of a call: Thrown: null",
        ]


def test_and_by_no_other() -> None:
    with engine() as talk:
        load(talk, main(LOSSES), debug=False)
        assert talk.value() is None
        assert talk.printed == []


def test_a_promise_that_is_rejected_as_the_call_returns_is_printed_with_it() -> None:
    with engine() as talk:
        load(talk, main("export function main() { Promise.reject(new Error('late')); return 1; }"), debug=True)
        assert talk.value() == 1
        assert len(talk.printed) == 1


# --- imports ----------------------------------------------------------------------------------------------------------

DATA = "data:text/javascript,export default 42"
REFUSAL = "is not a measured module that the image's index links"


@pytest.mark.parametrize("specifier", [
    DATA, "data:application/json,1", "./main.js", "guest/main.js", "node:fs", "fs", "node:vm", "file:///etc/passwd",
    "npm:x", "https://example.com/x.js", "ext:core/mod.js", "ext:deno_canvas/01_canvas.js", "blob:null/x",
    "", "\ud800", 5, None,
])  # fmt: skip
def test_an_import_that_the_index_does_not_list_is_refused_at_run_time(guarded: Talk, specifier: Any) -> None:
    assert REFUSAL in guarded.value({"specifier": specifier})


def test_a_module_that_a_program_makes_is_not_imported(guarded: Talk) -> None:
    assert REFUSAL in guarded.value({"blob": "export default 42"})


def test_a_program_that_is_guarded_has_no_other_names(guarded: Talk) -> None:
    names = set(guarded.value({"names": True}))
    with engine() as talk:
        talk.load(main("export function main() { return Object.getOwnPropertyNames(globalThis); }"))
        assert names == set(talk.value())


@pytest.fixture(scope="module")
def guarded() -> Iterator[Talk]:
    """A program that no builder of Casemate's would make, whose ``main`` imports what it is told."""
    source = """export async function main({ specifier, blob, names }) {
        if (names) return Object.getOwnPropertyNames(globalThis);
        if (blob) specifier = URL.createObjectURL(new Blob([blob], { type: "text/javascript" }));
        const { iterator } = Symbol, kept = Array.prototype[iterator];
        Function.prototype.call = Function.prototype.apply = Array.prototype[iterator] = () => { throw 1; };
        try { return (await import(specifier)).default; }
        catch (error) { return String(error.message); }
        finally { Array.prototype[iterator] = kept; }
    }"""
    with engine() as talk:
        assert talk.load(main(source)) == Loaded()
        yield talk


@pytest.mark.parametrize("source", [
    f"import x from '{DATA}'; export const main = () => x;",
    f"import '{DATA}'; export function main() {{}}",
    f"export * from '{DATA}'; export function main() {{}}",
    f"export {{ default as y }} from/**/'{DATA}'; export function main() {{}}",
    f"import x from\u2028'{DATA}'; export const main = () => x;",
    "import x from 'data:application/json,1' with { type: 'json' }; export const main = () => x;",
    f"const x = await import('{DATA}'); export const main = () => x;",
    f"#!x\u2028const x = await import ('{DATA}'); export const main = () => x;",
    f"const x = await import/*\n*/('{DATA}'); export const main = () => x;",
    f"const x = await import\ufeff('{DATA}'); export const main = () => x;",
    r"const x = await \u0069mport('x'); export const main = () => x;",
    f"import defer * as x from '{DATA}'; export const main = () => x;",
    f"import source x from '{DATA}'; export const main = () => x;",
    f"const x = await import.defer('{DATA}'); export const main = () => x;",
    f"const x = await import.source('{DATA}'); export const main = () => x;",
    "import vm from 'vm'; export const main = (text) => new vm.Script(text).runInThisContext();",
    r"import vm from 'node:\u0076m'; export const main = (text) => new vm.Script(text).runInThisContext();",
    "import vm from 'node:vm' with { type: 'json' }; export const main = () => vm;",
    "import defer * as vm from 'node:vm'; export const main = () => vm;",
    "import source vm from 'node:vm'; export const main = () => vm;",
    "export * from 'node:vm'; export function main() {}",
    "import 'node:module'; export function main() {}",
    "import 'ext:deno_canvas/01_canvas.js'; export function main() {}",
    "import 'ext:deno_node/internal/streams/compose.js'; export function main() {}",
])  # fmt: skip
def test_code_that_imports_what_the_index_does_not_list_cannot_be_loaded(source: str) -> None:
    with engine() as talk:
        said = talk.load(main(source))
        assert isinstance(said, Failed)
        kind = said.message.partition(":")[0]
        assert REFUSAL in said.message or "source phase" in said.message or "SyntaxError" in (said.name, kind)


@pytest.mark.parametrize("wanted", [
    "'npm:x'", "'jsr:@a/b'", "'http://127.0.0.1:9/x.js'", "'https://127.0.0.1:9/x.js'", "'blob:null/x'", "'./a.js'",
    "'x'", "'/etc/hostname'", "'file:/etc/hostname'", "'file://localhost/etc/hostname'", "'file://x/etc/hostname'",
    "'file:///etc/hostname' with { type: 'text' }", "'file:/etc/hostname' with { type: 'bytes' }",
    "'data:,1' with { type: 'text' }", "'refused:import'",
])  # fmt: skip
def test_nor_can_code_that_imports_from_elsewhere(wanted: str) -> None:
    with engine() as talk:
        assert isinstance(talk.load(main(f"import x from {wanted}; export const main = () => x;")), Failed)


def test_a_module_that_is_linked_cannot_bring_along_what_is_not() -> None:
    inner = Module("guest/a.js", b"import vm from 'node:vm'; import fs from 'fs'; export default vm;")
    outer = linked(main('import vm from "./a.js"; export const main = () => vm;'), **{"a.js": "a.js"})
    with engine() as talk:
        said = talk.load(inner, outer)
        assert isinstance(said, Failed)
        assert said.message == f'"node:vm" {REFUSAL}'


def refusal_of_node_s(name: str) -> str:
    with engine() as talk:
        said = talk.load(main(f"import * as all from 'node:{name}'; export const main = () => Object.keys(all);"))
        return said.message if isinstance(said, Failed) else repr(said)


@pytest.mark.parametrize("name", [
    "child_process", "fs", "module", "net", "os", "process", "repl", "sqlite", "v8", "vm", "wasi", "worker_threads",
])  # fmt: skip
def test_a_part_of_the_engine_s_own_is_not_imported_by_a_module_s_text(name: str) -> None:
    assert refusal_of_node_s(name) == f'"node:{name}" {REFUSAL}'


@pytest.mark.nightly("an engine started for each of Node's 60 modules")
def test_and_no_other_part() -> None:
    loaded = [name for name in node_modules() if refusal_of_node_s(name) != f'"node:{name}" {REFUSAL}']
    assert loaded == []


def test_utf_16_cannot_be_loaded() -> None:
    with engine() as talk:
        source = f"const x = await import('{DATA}'); export const main = () => x.default;".encode("utf-16")
        assert isinstance(talk.load(Module("guest/main.js", source)), Failed)


@pytest.mark.parametrize(("source", "is_guarded"), [
    ("", False),
    ("export const url = import.meta.url; Array.from([1]); const from = 1;", False),
    ('import { a } from "./a.js"; export * from "./a.js";', False),
    ("// it would import('x')", True),
    ("const text = 'made from \"scratch\"';", True),
    ("#!x\rimport('x')", True),
    ("import\t\u3000/* */ ('x')", True),
    ("import.defer('x')", True),
    ("import .meta; import. meta", True),
])  # fmt: skip
def test_all_that_could_be_an_import_is_looked_for_in_the_text(source: str, is_guarded: bool) -> None:
    encoded = source.encode()
    links = tuple(
        Link("guest/main.js", "./a.js", "guest/a.js", found.start(), found.end())
        for found in re.finditer(rb'"./a.js"', encoded)
    )
    assert may_import_more(Module("guest/main.js", encoded, links)) is is_guarded
    assert not may_import_more(Module("guest/a.json", encoded))


def test_a_promise_at_the_top_level_that_is_never_settled_ends_the_engine_with_these_words() -> None:
    command = JavaScript().command(str(shared_engine()), memory_mib=64)
    script = (
        *command.arguments[:-1],
        "data:text/javascript,await import('data:text/javascript,await new Promise(()=>{})')",
    )
    ended = subprocess.run(script, env=command.environment, capture_output=True, check=False)
    assert ended.returncode == 1
    assert b"Top-level await promise never resolved" in ended.stderr


# --- streams ----------------------------------------------------------------------------------------------------------


def test_a_stream_yields_no_lone_surrogates() -> None:
    with javascript_streams("yield 'ok'; yield '\\ud83d'; yield '\\udc32';") as talk:
        said = Stream(talk).open()
        assert isinstance(said, Failed)
        assert said.code is Code.RESULT_REFUSED
        assert "lone surrogate" in said.message


def test_a_stream_of_a_debug_enclave_pauses_and_ends_as_any_other() -> None:
    source = main("export async function* main(x, c, chunks) { for await (const b of chunks) yield b; return 1; }")
    with engine() as talk:
        talk.say(talk.talk.load(GuestProgram([source], ("main",), LIMIT, LIMIT, ("main",), debug=True)))
        stream = Stream(talk)
        assert stream.open() == Paused(is_hungry=True, data=b"")
        assert stream.chunk(b"x") == Paused(is_hungry=True, data=b"x")


def test_minus_zero_comes_in_and_goes_out_as_zero() -> None:
    with engine() as talk:
        talk.load(main("export function main(x) { return [Object.is(x, -0), x]; }"))
        said = talk.say(talk.talk.call("main", b"-0.0", None, number=b"12345678"))
        assert said == Returned(b"[true,0]")
