"""An ordinary user without root: a Python function from nothing to its second version, and what mistakes are told."""

import json
import os
import shutil
import subprocess
import sys
from collections.abc import Iterator, Mapping
from contextlib import nullcontext
from pathlib import Path
from types import MappingProxyType
from typing import NamedTuple

import pytest
from tests.rigs.environments import environment_of, other_interpreters
from tests.rigs.missing import missing
from tests.rigs.two_users import VICTIM, shared_folder, user

from casemate.cli.errors import ExitCode

pytestmark = [
    pytest.mark.machine,
    pytest.mark.skipif(sys.platform != "linux", reason="Python guests need Linux's layers"),
]

TIME = 120.0
TRACEBACK = "Traceback (most recent call last)"
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
MANIFEST = """\
[enclave]
name = "f"
product_id = 1
security_version = 1
engine = "python"
main = "guest/main.py"
permissions = ["random", "now"]

[limits]
memory_mib = 64
time_ms = 1000
output_kib = 64

[entry.main]
input = {}
output = { type = ["object", "string", "number"], properties = { a = { type = "integer" } } }
callers = "anyone"
"""
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


class Told(NamedTuple):
    """How a command ended, and what it printed."""

    code: int
    out: str
    err: str

    @property
    def next(self) -> str:
        return self.err.partition("next:")[2].strip()


class Newcomer(NamedTuple):
    """A user who is not root."""

    python: Path
    home: Path

    def command(self, *words: object) -> "subprocess.Popen[str]":
        other = VICTIM if os.geteuid() == 0 else None
        return subprocess.Popen(
            [*map(str, words)],
            cwd=self.home,
            env={"HOME": str(self.home), "PATH": f"{self.python.parent}:/usr/bin:/bin", "COLUMNS": "200"},
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            user=other,
            group=other,
            extra_groups=None if other is None else [],
        )

    def casemate(self, *words: object) -> Told:
        with self.command(self.python, "-I", "-m", "casemate", *words) as process:
            out, err = process.communicate(timeout=TIME)
        assert TRACEBACK not in out + err
        return Told(process.returncode, out, err)

    def does(self, *words: object) -> Told:
        told = self.casemate(*words)
        assert told.code == 0, told
        return told

    def writes(self, folder: Path, files: dict[str, str]) -> None:
        with user(VICTIM) if os.geteuid() == 0 else nullcontext():
            for name, text in files.items():
                (folder / name).parent.mkdir(parents=True, exist_ok=True)
                (folder / name).write_text(text)


@pytest.fixture(scope="module")
def newcomer() -> Iterator[Newcomer]:
    """With a machine that runs in their home."""
    with shared_folder() as folder:
        mine = [Path(sys._base_executable)]  # type: ignore[attr-defined]
        found = (program for program in (*mine, *other_interpreters()) if _is_for_all(program))
        program = next(found, None)
        if program is None:
            missing(f"no Python 3.{sys.version_info.minor} on this computer that every user may run")
        home = folder / "home"
        home.mkdir()
        if os.geteuid() == 0:
            os.chown(home, VICTIM, VICTIM)
        ann = Newcomer(environment_of(folder / "environment", program, "machine"), home)
        with ann.command(ann.python, "-I", "-m", "casemate", "up", "--no-gateway", "--json") as machine:
            assert machine.stdout is not None
            assert machine.stdout.readline(), machine.communicate()[1]
            yield ann
            ann.does("down", "--now")
            machine.communicate(timeout=TIME)


def _is_for_all(program: Path) -> bool:
    return os.geteuid() != 0 or all(parent.stat().st_mode & 0o001 for parent in program.resolve().parents)


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
    """Code of a newcomer's, what `run --debug` tells of it, and how it is mended."""

    main: str
    got: str
    next: str
    mended: str = ""
    """Empty where any other code mends it, since what is told is only where the mistake is."""
    files: Mapping[str, str] = MappingProxyType({})
    code: ExitCode = ExitCode.CALL_FAILED
    more: str = ""
    """What the manifest ends with besides."""
    added: str = ""
    """What mends the manifest, at its end."""


def body(lines: str, *, first: str = "") -> str:
    return f"{first}def main(input, context):\n    {lines}\n"


GOOD = body("return 1")
MISTAKES = {
    "permission": Mistake(
        body("return context.seal(1, 'mrenclave')"),
        'guest-error: this needs the permission "seal": add permissions = ["seal", ...] to [enclave]',
        "main.py, line 2",
    ),
    "no module": Mistake(
        body("return 1", first="import numpy\n"),
        "1:1: there is no module numpy inside",
        "that line",
        code=ExitCode.INPUT,
    ),
    "entry": Mistake(
        "def mian(input, context):\n    return 1\n",
        "guest/main.py, want one of ['mian']",
        "correct that key",
        code=ExitCode.INPUT,
    ),
    "parameters": Mistake(
        "def main(input):\n    return 1\n",
        "main is called with (input, context)",
        "that line",
        code=ExitCode.INPUT,
    ),
    "no JSON": Mistake(body("return {'a': {1}}"), "the result is not JSON: a is a set", "return what JSON has"),
    "result": Mistake(body("return {'a': 'x'}"), '$.a: the value is not of type "integer"; it is "x"', "schema"),
    "exception": Mistake(
        body("return input['x']"),
        "TypeError: 'NoneType' object is not subscriptable at guest/main.py:2:12",
        "main.py, line 2",
    ),
    "endless loop": Mistake(body("while True: pass"), "did not return within the manifest's time", "raise time_ms"),
    "undeclared error": Mistake(
        body("raise context.refuse('late')"),
        "'late' is no error that [errors] in casemate.toml declares",
        "declare it in [errors]",
    ),
    "details": Mistake(
        body("raise context.refuse('late', {'x': 1})"),
        "the manifest has no schema for them",
        "details = SCHEMA",
        more='[errors]\nlate = "It is late."\n',
    ),
    "no such OCALL": Mistake(
        body("return context.ocall('rate', None)"),
        "the manifest declares no such OCALL",
        "add a table [ocall.NAME]",
        body("return context.ocall('time', None)['unix_ms']"),
        added='[ocall.time]\ninput = {type="null"}\noutput = {type="object", properties={unix_ms={type="integer"}}}\n',
    ),
    "nobody answers": Mistake(
        body("return context.ocall('rate', None)"),
        "the host refuses OCALL 'rate'; Casemate's own hosts answer echo",
        "`--ocalls FILE`",
        more='[ocall.rate]\ninput = {type="null"}\noutput = {type="number"}\n',
    ),
    "syntax": Mistake(body("return (1"), "main.py:2:12: Python 3", "that line", code=ExitCode.INPUT),
    "bad JSON": Mistake(
        GOOD,
        "guest/common.json:1:9: this is not valid JSON",
        "that line",
        files={"guest/common.json": '{"a": 1,}'},
        code=ExitCode.INPUT,
    ),
    "thread": Mistake(
        body("threading.Thread(target=print).start()", first="import threading\n"),
        "can't start new thread at",
        "a function has no threads",
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
        "a function has no sockets",
    ),
    "state": Mistake(
        body("context.state.put('n', 1)\n    return context.state.get('n')"),
        "add [state] with policy, recovery and",
        "build it anew with that table",
        body("context.state.put('n', 1)\n    return context.state.get('n')"),
        added='[state]\npolicy = "mrsigner"\nrecovery = "never"\nmax_kib = 64\n',
    ),
}


@pytest.mark.parametrize("name", MISTAKES)
def test_a_mistake_is_told_with_what_to_do_and_that_works(newcomer: Newcomer, name: str) -> None:
    ann, mistake, folder = newcomer, MISTAKES[name], newcomer.home / name.replace(" ", "-")
    ann.writes(folder, {
        "guest/main.py": mistake.main, "casemate.toml": MANIFEST + mistake.more, "input.json": "null", **mistake.files
    })  # fmt: skip
    run = ["run", folder, "--input", folder / "input.json", "-q"]
    told = ann.casemate(*(["build", folder] if mistake.code == ExitCode.INPUT else [*run, "--debug"]))
    assert (told.code, told.out) == (mistake.code, ""), told
    assert mistake.got in told.err
    assert mistake.next in told.next
    if mistake.mended:
        mended = {"guest/main.py": mistake.mended, "casemate.toml": MANIFEST + mistake.more + mistake.added}
        ann.writes(folder, mended)
        ann.does(*run)


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
