"""An ordinary user without root: a Python function from nothing to its second version, and what mistakes are told."""

import json
import os
import shutil
import subprocess
import sys
from collections.abc import Mapping
from contextlib import nullcontext
from pathlib import Path
from types import MappingProxyType
from typing import NamedTuple

import pytest
from tests.rigs.command_line import casemate_here, measure_once
from tests.rigs.newcomer import TIME, Newcomer, write_files
from tests.rigs.two_users import VICTIM, user
from tests.rigs.workshop import SEED

from casemate.cli.errors import ExitCode
from casemate.client.local import LocalMachine

pytestmark = [
    pytest.mark.machine,
    pytest.mark.skipif(sys.platform != "linux", reason="Python guests need Linux's layers"),
]

COUNT = """
from casemate.guest import Context

def count(input: dict[str, int], context: Context) -> dict[str, int]:
    before = context.state.get("total")
    total = (before if isinstance(before, int) else 0) + input["add"]
    context.state.put("total", total)
    return {"total": total}
"""
MISTAKEN = COUNT.replace('input["add"]', 'input["ad"]')
UNIT_TEST = """
import unittest
import main
from casemate.testing.fake_enclave import FakeEnclave

class Counts(unittest.TestCase):
    def test_adds(self) -> None:
        enclave = FakeEnclave()
        self.assertEqual(enclave.call(main.count, {"add": 2}), {"total": 2})
"""
NEEDED = '["random", "now"]'
"""Permissions that Python cannot be kept from."""


def manifest(suffix: str = ".py", permissions: str = NEEDED) -> str:
    return f"""\
[enclave]
name = "f"
product_id = 1
security_version = 1
engine = "{"python" if suffix == ".py" else "javascript"}"
main = "guest/main{suffix}"
permissions = {permissions}

[limits]
memory_mib = 64
time_ms = 1000
output_kib = 64

[entry.main]
input = {{}}
output = {{ type = ["object", "string", "number"], properties = {{ a = {{ type = "integer" }} }} }}
callers = "anyone"
"""


MANIFEST = manifest()
COUNTS = (
    MANIFEST[: MANIFEST.index("[entry.main]")].replace("product_id = 1", "product_id = 2")
    + """\
[state]
policy = "mrsigner"
recovery = "never"
max_kib = 64

[entry.count]
input = { type = "object", properties = { add = { type = "integer" } }, required = ["add"] }
output = { type = "object", properties = { total = { type = "integer" } } }
callers = "anyone"
"""
)


def test_a_function_from_nothing_to_its_second_version(newcomer: Newcomer) -> None:
    ann, folder = newcomer, newcomer.home / "count"
    ann.does("init", folder, "--engine", "python")
    ann.does("run", folder, "--input", folder / "input.json")
    with user(VICTIM) if os.geteuid() == 0 else nullcontext():
        shutil.rmtree(folder / "tests")
    ann.writes(folder, {
        "guest/main.py": COUNT, "casemate.toml": COUNTS, "input.json": '{"add": 2}',
        "expected.json": '{"total": 2}', "tests/test_main.py": UNIT_TEST,
    })  # fmt: skip
    strict = [sys.executable, "-m", "mypy", "--strict", "--cache-dir", os.devnull, "main.py"]
    done = subprocess.run(strict, cwd=folder / "guest", capture_output=True, text=True, timeout=TIME, check=False)
    assert done.returncode == 0, done.stdout
    assert "2 passed, 0 failed" in ann.does("test", folder).out

    ann.writes(folder, {"guest/main.py": MISTAKEN})
    told = ann.casemate("run", folder, "--input", folder / "input.json", "--debug", "-q")
    line = next(number for number, text in enumerate(MISTAKEN.split("\n"), 1) if '["ad"]' in text)
    assert f"KeyError: 'ad' at guest/main.py:{line}:" in told.err
    assert MISTAKEN.split("\n")[line - 1].strip() in told.err
    assert told.next == f"correct {folder}/guest/main.py, line {line}"
    ann.writes(folder, {"guest/main.py": COUNT})

    assert _counted(ann, folder) == 2
    ann.writes(folder, {"casemate.toml": COUNTS.replace("security_version = 1", "security_version = 2")})
    assert _counted(ann, folder) == 4, "the second version opens what the first one has kept"
    ann.does("lock", "check", folder, folder / "f.sgxs")


def _counted(ann: Newcomer, folder: Path) -> int:
    """Builds this version, launches it beside nothing, and calls it by a policy made for it."""
    ann.does("build", folder)
    number = json.loads(ann.does("launch", folder / "f.sgxs", "--json").out)["enclave"]
    ann.writes(folder, {"policy.toml": ann.does("policy", folder / "f.sgxs").out})
    called = ann.does(
        "call", number, "count", "--input", folder / "input.json", "--policy", folder / "policy.toml", "--json"
    )
    ann.does("stop", number)
    total = json.loads(called.out)["result"]["total"]
    assert isinstance(total, int)
    return total


class Mistake(NamedTuple):
    """Code of a newcomer's, what the command tells of it, and what is written instead by what it says to do."""

    main: str
    got: str
    next: str
    mended: str = ""
    """The main module afterwards; empty where it stays."""
    suffix: str = ".py"
    files: Mapping[str, str] = MappingProxyType({})
    code: ExitCode = ExitCode.CALL_FAILED
    more: str = ""
    """What the manifest ends with besides."""
    added: str = ""
    """What is added to its end."""
    grants: str = NEEDED
    granted: str = ""
    """The permissions afterwards; empty where they stay."""
    afterwards: Mapping[str, str] = MappingProxyType({})
    """Other files that are written then."""


def body(lines: str, *, first: str = "") -> str:
    return f"{first}def main(input, context):\n    {lines}\n"


def script(lines: str, *, first: str = "") -> str:
    return f"{first}export async function main(input, context) {{\n  {lines}\n}}\n"


GOOD = body("return 1")
LATE = '[errors]\nlate = "It is late."\n'
STATE = '[state]\npolicy = "mrsigner"\nrecovery = "never"\nmax_kib = 64\n'
CLOCK = '[ocall.time]\ninput = {type="null"}\noutput = {type="object", properties={unix_ms={type="integer"}}}\n'
MISTAKES = {
    "permission": Mistake(
        body("return context.seal(1, 'mrenclave')"),
        'guest-error: this needs the permission "seal": add permissions = ["seal", ...] to [enclave]',
        "main.py, line 2",
        granted='["seal", "random", "now"]',
    ),
    "no permissions": Mistake(
        GOOD,
        'enclave.permissions is not there, want permissions = ["random", "now"]',
        'write permissions = ["random", "now"] below [enclave]',
        code=ExitCode.INPUT,
        grants="[]",
        granted='["random", "now"]',
    ),
    "no module": Mistake(
        body("return 1", first="import numpy\n"),
        "1:1: there is no module numpy inside",
        "that line",
        GOOD,
        code=ExitCode.INPUT,
    ),
    "entry": Mistake(
        "def mian(input, context):\n    return 1\n",
        "guest/main.py, want one of ['mian']",
        "write `def main(input, context)` there",
        GOOD,
        code=ExitCode.INPUT,
    ),
    "parameters": Mistake(
        "def main(input):\n    return 1\n",
        "main is called with (input, context)",
        "that line",
        GOOD,
        code=ExitCode.INPUT,
    ),
    "no JSON": Mistake(
        body("return {'a': {1}}"), "the result is not JSON: a is a set", "return what JSON has", body("return {'a': 1}")
    ),
    "result": Mistake(
        body("return {'a': 'x'}"),
        '$.a: the value is not of type "integer"; it is "x"',
        "schema",
        body("return {'a': 1}"),
    ),
    "exception": Mistake(
        body("return input['x']"),
        "TypeError: 'NoneType' object is not subscriptable at guest/main.py:2:12",
        "main.py, line 2",
        body("return (input or {}).get('x', 1)"),
    ),
    "endless loop": Mistake(
        body("while True: pass"),
        "did not return within the manifest's time limit",
        "if it has a loop without an end, give it one",
        body("while not context.entry: pass\n    return 1"),
    ),
    "undeclared error": Mistake(
        body("raise context.refuse('late')"),
        "'late' is no error that [errors] in casemate.toml declares",
        "declare it in [errors]",
        added=LATE,
    ),
    "details": Mistake(
        body("raise context.refuse('late', {'x': 1})"),
        "the manifest has no schema for them",
        "refuse without details",
        body("raise context.refuse('late')"),
        more=LATE,
    ),
    "no such OCALL": Mistake(
        body("return context.ocall('rate', None)"),
        "the manifest declares no such OCALL as 'rate' at guest/main.py:2:12",
        "add a table [ocall.NAME]",
        body("return context.ocall('time', None)['unix_ms']"),
        added=CLOCK,
    ),
    "nobody answers": Mistake(
        body("return context.ocall('rate', None)"),
        "the host refuses OCALL 'rate'; Casemate's own hosts answer echo, log, time",
        "`--ocalls FILE`",  # which tests/e2e/test_ocall_handlers.py gives
        body("return context.ocall('echo', 1)"),
        more='[ocall.rate]\ninput = {type="null"}\noutput = {type="number"}\n',
        added='[ocall.echo]\ninput = {type="number"}\noutput = {type="number"}\n',
    ),
    "syntax": Mistake(body("return (1"), "main.py:2:12: Python 3", "that line", GOOD, code=ExitCode.INPUT),
    "bad JSON": Mistake(
        GOOD,
        "guest/common.json:1:9: this is not valid JSON",
        "that line",
        files={"guest/common.json": '{"a": 1,}'},
        code=ExitCode.INPUT,
        afterwards={"guest/common.json": '{"a": 1}'},
    ),
    "thread": Mistake(
        body("threading.Thread(target=print).start()", first="import threading\n"),
        "can't start new thread at",
        "a function has no threads",
        body("return await asyncio.sleep(0, 1)", first="import asyncio\n\nasync "),
    ),
    "file": Mistake(
        body("return open('/etc/passwd').read()"),
        "Permission denied: '/etc/passwd' at",
        "read it with pkgutil.get_data",
        body("return pkgutil.get_data(__name__, 'x.txt').decode()", first="import pkgutil\n"),
        files={"guest/x.txt": "x"},
    ),
    "socket": Mistake(
        body("socket.create_connection(('127.0.0.1', 80))", first="import socket\n"),
        "Operation not permitted at",
        "ask the operator with context.ocall",
        body("return context.ocall('time', None)['unix_ms']"),
        added=CLOCK,
    ),
    "state": Mistake(
        body("context.state.put('n', 1)\n    return context.state.get('n')"),
        "add [state] with policy, recovery and",
        "build it anew with that table",
        added=STATE,
    ),
    "fetch": Mistake(
        script("return await fetch('https://rates.example');"),
        "ReferenceError: fetch is not defined at guest/main.js:2:",
        "ask the operator with context.ocall",
        script("return (await context.ocall('time', null)).unix_ms;"),
        suffix=".js",
        added=CLOCK,
    ),
    "package": Mistake(
        script("return one;", first="import { one } from 'ones';\n"),
        "'ones' is not relative: an enclave imports measured files alone, by ./",
        "that line",
        script("return one;", first="import { one } from './ones.js';\n"),
        suffix=".js",
        code=ExitCode.INPUT,
        afterwards={"guest/ones.js": "export const one = 1;\n"},
    ),
    "no export": Mistake(
        script("return 1;").removeprefix("export "),
        "entry.main is not exported by guest/main.js, want a function that it exports: it has no exports",
        "write `export function main(input, context)` there",
        script("return 1;"),
        suffix=".js",
        code=ExitCode.INPUT,
    ),
    "chance": Mistake(
        script("return Math.random();"),
        'Math.random needs the permission "random": add permissions = ["random", ...] to [enclave] in casemate.toml',
        "main.js, line 2",
        suffix=".js",
        grants="[]",
        granted='["random"]',
    ),
    "error in JavaScript": Mistake(
        script("throw context.refuse('late');"),
        'no error is declared as "late": add it to [errors] in casemate.toml, with its words',
        "main.js, line 2",
        suffix=".js",
        added=LATE,
    ),
    "at the top level": Mistake(
        "const fs = require('fs');\n" + script("return 1;"),
        "the code cannot be loaded: ReferenceError: require is not defined at guest/main.js:1:12",
        "nothing of Node's",
        script("return data.one;", first="import data from './data.json' with { type: 'json' };\n"),
        suffix=".js",
        afterwards={"guest/data.json": '{"one": 1}'},
    ),
}


@pytest.mark.parametrize("name", MISTAKES)
def test_a_mistake_is_told_with_what_to_do_and_that_works(
    name: str, machine: LocalMachine, developer_home: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("XDG_CONFIG_HOME", str(developer_home))
    monkeypatch.setenv("COLUMNS", "200")
    measure_once(monkeypatch)
    mistake, folder = MISTAKES[name], tmp_path / name.replace(" ", "-")
    main = f"guest/main{mistake.suffix}"
    write_files(folder, {
        main: mistake.main, "casemate.toml": manifest(mistake.suffix, mistake.grants) + mistake.more,
        "input.json": "null", **mistake.files,
    })  # fmt: skip
    on_it = ["--state", machine.state, "--seed", SEED]
    run, debug = ["run", folder, "--input", folder / "input.json", "-q", *on_it], ["--debug"]
    if mistake.code == ExitCode.INPUT:
        run, debug = ["build", folder], []
    told = casemate_here(*run, *debug)
    assert (told.code, told.out) == (mistake.code, ""), told
    assert mistake.got in told.err
    assert mistake.next in told.err.partition("next:")[2]
    mended = manifest(mistake.suffix, mistake.granted or mistake.grants) + mistake.more + mistake.added
    write_files(folder, {main: mistake.mended or mistake.main, "casemate.toml": mended, **mistake.afterwards})
    refuses = "context.refuse" in (mistake.mended or mistake.main)
    said = casemate_here(*run)
    assert said.code == (ExitCode.FUNCTION_REFUSED if refuses else ExitCode.OK), said


def test_who_prints_without_the_permission_is_told_so_by_the_debug_copy(newcomer: Newcomer) -> None:
    ann, folder = newcomer, newcomer.home / "prints"
    printing = body("print('hi')\n    return 1")
    ann.writes(folder, {"guest/main.py": printing, "casemate.toml": MANIFEST, "input.json": "null"})
    run = ["run", folder, "--input", folder / "input.json", "-q"]
    told = ann.casemate(*run)
    assert told.code == ExitCode.CALL_FAILED
    assert "`casemate run --debug DIR`" in told.next
    told = ann.does(*run, "--debug")
    assert 'permissions = ["log", ...]' in told.err
    granted = MANIFEST.replace('["random", "now"]', '["log", "random", "now"]')
    ann.writes(folder, {"casemate.toml": granted})
    ann.does(*run)
    assert "only a debug copy" not in ann.does(*run, "--debug").err
