"""Code that a caller brings, on a whole machine: functions in each language have some in each language run."""

import hashlib
import json
import re
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Any, NamedTuple

import pytest
from tests.rigs.process_tree import descendants
from tests.rigs.workshop import ANYTHING, ANYTHING_OUT, NEEDS_LINUX, Workshop, exact_policy

from casemate.client import EnclaveRefusedError, connect
from casemate.client.local import LocalMachine
from casemate.verifier import SgxPolicy
from casemate.wire.protocol.manifest import Engine

pytestmark = [pytest.mark.machine, NEEDS_LINUX]

HOSTS = {
    Engine.JAVASCRIPT: """
export function main({ engine, code, entry = "main", argument = null, limits = {}, times = 1 }, context) {
    let ran;
    try {
        for (let turn = 0; turn < times; turn += 1) ran = context.run(engine, code, entry, argument, limits);
    } catch (error) {
        if (error.code_sha256 === undefined) throw error;
        return { error: error.name, words: error.message, code_sha256: error.code_sha256, metrics: error.metrics };
    }
    return ran;
}
export function uncaught({ engine, code }, context) { return context.run(engine, code, "main"); }
export async function* flow({ engine, code }, context, chunks) {
    for await (const chunk of chunks) yield JSON.stringify(context.run(engine, code, "main", chunk.length).result);
}
""",
    Engine.PYTHON: """
import json
from casemate.guest import CodeError

def main(input, context):
    ran = None
    try:
        for _ in range(input.get("times", 1)):
            ran = context.run(
                input["engine"], input["code"], input.get("entry", "main"), input.get("argument"), input.get("limits")
            )
    except CodeError as error:
        return {
            "error": error.code, "words": str(error), "code_sha256": error.code_sha256, "metrics": error.metrics
        }
    return ran

def uncaught(input, context):
    return context.run(input["engine"], input["code"], "main")

async def flow(input, context, chunks):
    async for chunk in chunks:
        yield json.dumps(context.run(input["engine"], input["code"], "main", len(chunk))["result"])
""",
}
RULES = {
    "engines": ["javascript", "python"],
    "memory_mib": 64,
    "time_ms": 5000,
    "output_kib": 4,
    "code_kib": 256,
    "at_once": 2,
    "per_call": 3,
}
DOUBLES = {
    "javascript": "export const main = (input, context) => [input * 2, context.caller];",
    "python": "def main(input, context):\n    return [input * 2, context.caller]\n",
}
ENTRY: dict[str, Any] = {"input": ANYTHING, "output": ANYTHING_OUT, "callers": "anyone"}


class Deployed(NamedTuple):
    number: int
    enclave: Any
    policy: SgxPolicy

    def run(self, engine: str, code: Any, **more: Any) -> Any:
        return self.enclave.call("main", {"engine": engine, "code": code, **more}).value


@pytest.fixture(scope="module")
def deployed(machine: LocalMachine, workshop: Workshop, engine: Engine) -> Iterator[Deployed]:
    entries = {"main": ENTRY, "uncaught": ENTRY, "flow": {**ENTRY, "stream": True}}
    image = workshop.image(
        HOSTS[engine], engine=engine, entries=entries, run=RULES, time_ms=20_000, receipt_metrics=True
    )
    with connect(machine.host_socket) as client:
        number = client.launch(image)
        policy = exact_policy(machine, image)
        yield Deployed(number, client.attest(number, policy), policy)
        client.destroy(number)


@pytest.fixture(params=["javascript", "python"])
def runs(request: pytest.FixtureRequest) -> str:
    chosen: str = request.param
    return chosen


def test_code_is_run_and_named(deployed: Deployed, runs: str) -> None:
    said = deployed.run(runs, DOUBLES[runs], argument=21)
    assert said["result"] == [42, None]
    path = {"javascript": "main.js", "python": "main.py"}[runs]
    listing = f"{hashlib.sha256(DOUBLES[runs].encode()).hexdigest()}  {path}\n"
    assert said["code_sha256"] == hashlib.sha256(listing.encode()).hexdigest()
    used = said["metrics"]
    assert used["wall_us"] > 0
    assert used["cpu_us"] > 0
    assert used["peak_kib"] > 1024


MODULES: dict[str, dict[str, str]] = {
    "javascript": {
        "main.js": """// a comment
import { double } from "./parts/double.js"; /* another */ import * as all from './parts/double.js'
import table from "./table.json" with { type: "json" };
export const main = (input) => [double(input), all.double(table.three), import.meta.url];
""",
        "parts/double.js": "import table from '../table.json' with { type: 'json' };\n"
        "export const double = (x) => table.two * x;",
        "table.json": '{"two": 2, "three": 3}',
        "unused.js": "import './nowhere.js",
    },
    "python": {
        "main.py": "import json, pkgutil\nfrom parts.double import double\n"
        "def main(input, context):\n    table = json.loads(pkgutil.get_data('parts', 'table.json'))\n"
        "    return [double(input), double(table['three']), __file__]\n",
        "parts/__init__.py": "",
        "parts/double.py": "def double(x):\n    return 2 * x\n",
        "parts/table.json": '{"two": 2, "three": 3}',
    },
}


def test_code_may_have_several_modules(deployed: Deployed, runs: str) -> None:
    said = deployed.run(runs, MODULES[runs], argument=4)
    assert said["result"][:2] == [8, 6]
    changed = MODULES[runs] | {"more.py" if runs == "python" else "more.js": ""}
    assert deployed.run(runs, changed, argument=4)["code_sha256"] != said["code_sha256"]


BAD: dict[str, dict[str, tuple[Any, str, str]]] = {
    "javascript": {
        "no syntax": ("export const main = ;", "code-refused", r"main.js:1:21"),
        "no such function": ("export const other = 1;", "code-refused", "exports no function main"),
        "fails to load": ("null.x; export function main() {}", "code-refused", r"main.js:1:"),
        "a missing module": ("import './other.js'; export const main = 1;", "code-refused", "none of the modules"),
        "a missing module below": ("export const main = () => 1;\nimport './other.js';", "code-refused", "other.js"),
        "a circle": (
            {"main.js": "import './b.js'; export const main = () => 1;", "b.js": "import './main.js';"},
            "code-refused",
            "import each other",
        ),
        "text as a module": (
            "export const main = () => import('data:text/javascript,export default 1');",
            "guest-error",
            "measured",
        ),
        "throws": ("export function main() {\n  throw new RangeError('too far');\n}", "guest-error", r"main.js:2:9"),
        "loops": ("export function main() { for (;;); }", "time-limit", ""),
        "loops as it loads": ("for (;;); export function main() {}", "time-limit", ""),
        "never answers": ("export const main = () => new Promise(() => {});", "guest-error", "never be settled"),
        "grows": (
            "const all = []; export function main() { for (;;) all.push(new Array(1e5).fill(all)); }",
            "memory-limit",
            "",
        ),
        "says too much": ("export const main = () => 'x'.repeat(5000);", "output-limit", "4096"),
        "says no JSON": ("export const main = () => () => 1;", "result-refused", "a function"),
        "asks for state": ("export const main = (_, context) => context.state.get('k');", "code-refused", "asked"),
        "asks the host": ("export const main = (_, context) => context.ocall('time');", "code-refused", "asked"),
        "asks for a run": (
            "export const main = (_, context) => context.run('javascript', 'export const main = 1', 'main');",
            "code-refused",
            "asked",
        ),
        "seals": ("export const main = (_, context) => context.seal(1, 'mrenclave');", "guest-error", "permission"),
        "draws lots": ("export const main = () => Math.random();", "guest-error", "permission"),
        "prints without end": ("export function main() { for (;;) console.log('x'); }", "time-limit", ""),
        "forks": ("export const main = () => new Worker('data:text/javascript,');", "guest-error", "Worker"),
    },
    "python": {
        "no syntax": ("def main(", "code-refused", r"main.py:1"),
        "no such function": ("other = 1", "code-refused", "has no function main"),
        "fails to load": ("None.x\ndef main(): ...", "code-refused", r"main.py:1"),
        "a missing module": ("import other\ndef main(): ...", "code-refused", "other"),
        "throws": ("def main(input, context):\n    raise KeyError('too far')", "guest-error", r"main.py:2"),
        "loops": ("def main(input, context):\n    while True: pass", "time-limit", ""),
        "loops as it loads": ("while True: pass", "time-limit", ""),
        "grows": (
            "def main(input, context):\n    x = []\n    while True: x.append(bytearray(1 << 20))",
            "guest-error",
            "Memory",
        ),
        "says too much": ("def main(input, context): return 'x' * 5000", "output-limit", "4096"),
        "says no JSON": ("def main(input, context): return {1}", "result-refused", "set"),
        "asks for state": ("def main(input, context): return context.state.get('k')", "code-refused", "asked"),
        "asks the host": ("def main(input, context): return context.ocall('time')", "code-refused", "asked"),
        "asks for a run": (
            "def main(input, context): return context.run('python', 'def main(): ...', 'main')",
            "code-refused",
            "asked",
        ),
        "seals": ("def main(input, context): return context.seal(1, 'mrenclave')", "guest-error", "permission"),
        "prints without end": ("def main(input, context):\n    while True: print('x')", "time-limit", ""),
        "forks": ("import os\ndef main(input, context):\n    while True: os.fork()", "guest-error", "Permission"),
        "forks as it loads": ("import os\nfor _ in range(100): os.fork()\ndef main(): ...", "", ""),
        "speaks frames": (
            """
import os
def main(input, context):
    for end in range(16):
        try: os.write(end, bytes(64))
        except OSError: pass
    while True: pass
""",
            "guest-crashed",
            "protocol",
        ),
        "floods": (
            """
import os
def main(input, context):
    while True:
        for end in range(16):
            try: os.write(end, bytes([255]) * 4096)
            except OSError: pass
""",
            "guest-crashed",
            "",
        ),
        "leaves": ("import os\ndef main(input, context): os._exit(0)", "guest-crashed", ""),
    },
}


def test_bad_code_harms_its_own_run_alone(deployed: Deployed, runs: str) -> None:
    told = {
        name: deployed.run(runs, code, limits={"memory_mib": 32, "time_ms": 300 if error == "time-limit" else 5000})
        for name, (code, error, _) in BAD[runs].items()
    }
    for name, (_, error, words) in BAD[runs].items():
        assert error in (told[name].get("error"), ""), (name, told[name])
        assert re.search(words, told[name].get("words", "")), (name, told[name])
        assert told[name]["metrics"]["wall_us"] < 5e6
    assert deployed.run(runs, DOUBLES[runs], argument=2)["result"] == [4, None]


@pytest.mark.parametrize(
    ("more", "words"),
    [
        ({"engine": "ruby"}, "guest-error"),
        ({"limits": {"time_ms": 5001}}, "guest-error"),
        ({"limits": {"files": 1}}, "guest-error"),
        ({"code": {"other.js": ""}}, "guest-error"),
        ({"code": "x" * (256 * 1024 + 1)}, "guest-error"),
        ({"entry": "no name"}, "guest-error"),
        ({"times": 4}, "guest-error"),
    ],
)
def test_a_function_gets_no_more_than_its_manifest_allows(deployed: Deployed, more: dict[str, Any], words: str) -> None:
    with pytest.raises(EnclaveRefusedError, match=words):
        deployed.enclave.call("main", {"engine": "javascript", "code": DOUBLES["javascript"], "argument": 1} | more)


def test_the_words_of_brought_code_reach_no_caller_by_themselves(deployed: Deployed, runs: str) -> None:
    code = BAD[runs]["throws"][0]
    with pytest.raises(EnclaveRefusedError, match="guest-error") as refused:
        deployed.enclave.call("uncaught", {"engine": runs, "code": code})
    assert "too far" not in str(refused.value)


def test_a_stream_may_have_code_run(deployed: Deployed, runs: str) -> None:
    stream = deployed.enclave.stream("flow", {"engine": runs, "code": DOUBLES[runs]}, [b"a", b"bcd"])
    assert [json.loads(piece) for piece in stream] == [[2, None], [6, None]]


KEEPS = {
    "javascript": "let seen = 0; export const main = () => [++seen, (globalThis.x = (globalThis.x ?? 0) + 1)];",
    "python": "seen = []\ndef main(input, context):\n    seen.append(1)\n    return [len(seen), len(seen)]\n",
}


def test_two_runs_never_meet_and_use_is_counted(deployed: Deployed, runs: str) -> None:
    result = deployed.enclave.call("main", {"engine": runs, "code": KEEPS[runs], "times": 3})
    assert result.value["result"] == [1, 1]
    spin = {
        "javascript": "export function main() { const end = performance.now(); for (let x = 0; x < 2e8; x += 1); }",
        "python": "def main(input, context):\n    for _ in range(4_000_000): pass\n",
    }
    used = deployed.enclave.call("main", {"engine": runs, "code": spin[runs]})
    assert used.metrics.cpu_us >= used.value["metrics"]["cpu_us"] > 20_000
    assert used.metrics.peak_kib > used.value["metrics"]["peak_kib"]


def guests_of(machine: LocalMachine) -> int:
    """How many processes the machine has."""
    return sum(len(descendants(process.pid)) for process in machine.status.processes if process.name == "chip")


def comes_back_to(machine: LocalMachine, most: int) -> bool:
    until = time.monotonic() + 30
    while guests_of(machine) > most and time.monotonic() < until:
        time.sleep(0.05)
    return guests_of(machine) <= most


def test_nothing_is_left_when_the_call_ends(
    machine: LocalMachine, workshop: Workshop, engine: Engine, runs: str
) -> None:
    """Neither of a run that is over, nor of one that was under way when its call's time was up."""
    image = workshop.image(HOSTS[engine], engine=engine, run=RULES, time_ms=3000, guests=1)
    loops = {"engine": runs, "code": BAD[runs]["loops"][0]}
    with connect(machine.host_socket) as client:
        number = client.launch(image)
        enclave = client.attest(number, exact_policy(machine, image))
        assert enclave.call("main", {"engine": runs, "code": DOUBLES[runs], "argument": 1}).value["result"] == [2, None]
        assert enclave.call("main", loops | {"limits": {"time_ms": 200}}).value["error"] == "time-limit"
        before = guests_of(machine)
        with pytest.raises(EnclaveRefusedError, match="time-limit"):
            enclave.call("main", loops)
        assert comes_back_to(machine, before), "the pool has as many as before, and the function's guest is made anew"
        client.destroy(number)


def test_runs_beyond_those_at_once_wait_for_their_turn(machine: LocalMachine, deployed: Deployed, runs: str) -> None:
    call = {"engine": runs, "code": BAD[runs]["loops"][0], "limits": {"time_ms": 300}}

    def run(_turn: int) -> object:
        with connect(machine.host_socket) as client:
            return client.attest(deployed.number, deployed.policy).call("main", call).value["error"]

    with ThreadPoolExecutor(4) as pool:
        assert list(pool.map(run, range(4))) == ["time-limit"] * 4
