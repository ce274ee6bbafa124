"""The engine itself, without confinement: what its command says, and what its bootstrap does."""

import base64
import json
import subprocess
import time

import pytest
from tests.rigs.engine import LIMIT, Module, engine, link, linked, main

from casemate.engines.frames import Asked, Failed, Loaded, Place, Returned
from casemate.engines.javascript.engine import node_modules
from casemate.engines.registry import JAVASCRIPT
from casemate.testing.hostile_guests import TRAPS
from casemate.testing.lone_spawner import shared_engine
from casemate.wire.protocol.faults import Code
from casemate.wire.protocol.image_index import Link


def test_the_command_grants_nothing() -> None:
    command = JAVASCRIPT.command("/bin/deno", memory_mib=32)
    assert command.arguments[:2] == ("/bin/deno", "run")
    assert not [argument for argument in command.arguments if argument.startswith("--allow") or argument == "-A"]
    assert {"--no-prompt", "--no-remote", "--no-npm", "--no-config", "--no-lock", "--no-code-cache"} < set(
        command.arguments
    )
    flags = next(argument for argument in command.arguments if argument.startswith("--v8-flags="))
    assert "--max-old-space-size=32" in flags
    assert "PATH" not in command.environment


def test_the_bootstrap_is_in_the_command_itself() -> None:
    command = JAVASCRIPT.command("/bin/deno", memory_mib=32)
    kind, _, text = command.arguments[-1].partition(",")
    assert kind == "data:text/javascript;base64"
    code = base64.b64decode(text)
    assert b"lockDown();" in code
    assert b"// " not in code


def test_the_list_of_node_s_modules_is_the_engine_s() -> None:
    script = "import('node:module').then((m) => console.log(JSON.stringify(m.builtinModules)))"
    ran = subprocess.run(
        [shared_engine(), "eval", script], capture_output=True, check=True, env={"DENO_DIR": "/dev/null/x"}
    )
    known = {name.removeprefix("node:") for name in json.loads(ran.stdout)}
    assert known - set(node_modules()) == set()


def test_a_function_gets_arguments_and_context() -> None:
    with engine() as talk:
        source = "export function main(x, c) { return [x, c.entry, c.caller, typeof c.ocall, Object.isFrozen(c)]; }"
        assert talk.load(main(source)) == Loaded()
        caller = {"name": "alice", "key": "ed25519:x"}
        assert talk.value({"ä": [1, None]}, caller) == [{"ä": [1, None]}, "main", caller, "function", True]


def test_promises_are_awaited_and_state_is_kept() -> None:
    with engine() as talk:
        source = "let n = 0; export async function main() { await new Promise((d) => setTimeout(d, 5)); return ++n; }"
        talk.load(main(source))
        assert [talk.value(), talk.value()] == [1, 2]


def test_modules_are_linked_by_byte_offsets() -> None:
    first = Module(
        "guest/lib/a.js",
        b'/* \xc3\xa4\xe2\x82\xac\xf0\x9f\x98\x80 */ import { b } from "./b.js"; export const a = "\xc3\xa4" + b;',
    )
    last = linked(
        Module(
            "guest/main.js",
            'export const ü = "ü"; import { a } from "./a.js"; import { b as again } from "./b.js";'
            ' import table from "./t.json" with { type: "json" }; export * from "./a.js";'
            " export function main() { return a + again + ü + table.x; }".encode(),
        )
    )
    main_module = Module(
        last.path,
        last.source,
        tuple(
            sorted(
                [
                    link(last, "./a.js", "guest/lib/a.js"),
                    link(last, "./b.js", "guest/lib/b.js"),
                    link(last, "./t.json", "guest/t.json"),
                    Link(
                        last.path,
                        "./a.js",
                        "guest/lib/a.js",
                        last.source.rindex(b'"./a.js"'),
                        last.source.rindex(b'"./a.js"') + 8,
                    ),
                ],
                key=lambda one: one.start,
            )
        ),
    )
    modules = (
        Module("guest/lib/b.js", b'export let b = "b"; globalThis.loads = (globalThis.loads ?? 0) + 1;'),
        Module(first.path, first.source, (link(first, "./b.js", "guest/lib/b.js"),)),
        Module("guest/t.json", b'{"x": "t"}'),
        main_module,
    )
    with engine() as talk:
        assert talk.load(*modules) == Loaded()
        assert talk.value() == "äbbüt"


def test_errors_name_modules_by_their_paths() -> None:
    with engine() as talk:
        said = talk.load(main("import.meta.url; nonsense ("))
        assert isinstance(said, Failed)
        assert said.place == Place("guest/main.js", 1, 28)
        assert "blob:" not in said.message


def test_every_entry_point_must_be_an_exported_function() -> None:
    with engine() as talk:
        said = talk.load(main("export function main() {} export const other = 1;"), entries=("main", "other"))
        assert said == Failed(Code.GUEST_ERROR, "TypeError", "guest/main.js exports no function other")


def test_questions_are_asked_and_answered() -> None:
    with engine() as talk:
        talk.load(main("export function main(x, c) { return [c.ocall('time', x), c.ocall('none')]; }"))
        assert talk.call({"a": 1}) == Asked("time", b'{"a":1}')
        assert talk.say(talk.talk.answer(b'{"t":5}')) == Asked("none", b"null")
        assert talk.say(talk.talk.answer(b"[]")) == Returned(b'[{"t":5},[]]')


def test_a_refused_question_is_an_exception() -> None:
    with engine() as talk:
        source = "export function main(x, c) { try { c.ocall('t'); } catch (e) { return [e.name, e.message]; } }"
        talk.load(main(source))
        talk.call()
        assert talk.say(talk.talk.refuse(Code.OCALL_REFUSED, "not declared")) == Returned(
            b'["ocall-refused","not declared"]'
        )


@pytest.mark.parametrize("size", [0, 1, 60_000, 64 * 1024 - 20, 64 * 1024, 200_000, 3_000_000])
def test_arguments_of_any_size_come_through(size: int) -> None:
    with engine() as talk:
        talk.load(main("export function main(x) { return x.length; }"))
        assert talk.value("x" * size) == size
        assert talk.value("y") == 1


@pytest.mark.parametrize("size", [0, 20_000, 21_850, 40_000, LIMIT - 2])
def test_results_of_any_size_up_to_the_limit_come_through(size: int) -> None:
    with engine() as talk:
        talk.load(main("export function main(n) { return 'x'.repeat(n); }"))
        assert talk.value(size) == "x" * size


def test_a_result_beyond_the_limit_is_refused_by_the_bootstrap() -> None:
    with engine() as talk:
        talk.load(main("export function main(n) { return 'x'.repeat(n); }"))
        said = talk.call(LIMIT)
        assert isinstance(said, Failed)
        assert said.code is Code.OUTPUT_LIMIT
        assert talk.value(1) == "x"


@pytest.mark.parametrize(("count", "fits"), [(LIMIT // 3 - 2, True), (LIMIT // 3 + 1, False), (LIMIT - 2, False)])
def test_the_limit_counts_bytes_and_not_characters(count: int, fits: bool) -> None:
    with engine() as talk:
        talk.load(main("export function main(n) { return '€'.repeat(n); }"))
        said = talk.call(count)
        assert isinstance(said, Returned) if fits else isinstance(said, Failed) and said.code is Code.OUTPUT_LIMIT
        assert talk.value(1) == "€"


def test_the_console_prints_in_bounds() -> None:
    with engine() as talk:
        source = """export function main() {
            console.error('a', {b: [1]});
            console.table([1]);
            for (let i = 0; i < 999; i++) console.log('ä'.repeat(9999));
        }"""
        talk.load(main(source))
        talk.call()
        assert talk.printed[0] == "a { b: [ 1 ] }"
        assert len(talk.printed) == 64
        assert max(len(line.encode()) for line in talk.printed) <= 4096


def test_the_enclave_s_end_is_the_guest_s() -> None:
    with engine() as talk:
        assert talk.process.stdin is not None
        talk.process.stdin.close()
        assert talk.process.wait(timeout=5) == 0


def test_nonsense_from_the_enclave_ends_the_guest() -> None:
    with engine() as talk:
        assert talk.process.stdin is not None
        talk.process.stdin.write(b"\x09\0\0\0" + bytes(9))
        talk.process.stdin.flush()
        assert talk.process.wait(timeout=5) == 71


@pytest.mark.parametrize("kind", ["", "async "])
@pytest.mark.parametrize("size", [1, 30_000, 60_000])
def test_what_a_call_left_behind_sees_no_bytes_of_the_pipes_and_writes_none(kind: str, size: int) -> None:
    with engine() as talk:
        source = f"export {kind}function main(x) {{ if (x === 'arm') arm(); return x === 'look' ? caught.length : x; }}"
        talk.load(
            main(
                f"let caught; function arm() {{ {TRAPS.replace('const caught = [],', 'caught = []; const')} }} {source}"
            )
        )
        assert talk.value("arm") == "arm"
        for _ in range(3):
            assert talk.value("x" * size) == "x" * size
        assert talk.value("look") == 0


def test_what_is_left_of_the_globals_is_the_language_and_little_more() -> None:
    with engine() as talk:
        talk.load(main("export function main() { return Object.getOwnPropertyNames(globalThis); }"))
        left = set(talk.value())
        assert not left & {
            "Deno",
            "fetch",
            "WebSocket",
            "Worker",
            "process",
            "Buffer",
            "localStorage",
            "navigator",
            "close",
        }
        assert {"JSON", "Intl", "Temporal", "TextEncoder", "URL", "crypto", "console", "setTimeout"} <= left


def test_a_warm_call_is_quick() -> None:
    with engine() as talk:
        talk.load(main("export function main(x) { return x; }"))
        took = []
        for _ in range(200):
            began = time.perf_counter()
            talk.call("x" * 1000)
            took.append(time.perf_counter() - began)
        assert sorted(took)[100] < 0.01
