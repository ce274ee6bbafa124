"""`casemate run --debug`: the author of a function sees what goes wrong with it, and nobody else does."""

import time
from dataclasses import dataclass
from pathlib import Path

import pytest
from tests.rigs.command_line import casemate_here, measure_once
from tests.rigs.examples import files_of
from tests.rigs.served_commands import PATIENCE, casemate
from tests.rigs.workshop import SEED

from casemate.cli.errors import ExitCode
from casemate.client.local import LocalMachine
from casemate.wire.protocol.manifest import Engine

pytestmark = pytest.mark.machine


@dataclass(frozen=True)
class Function:
    """One function in one language, and how its mistake is told."""

    main: str
    source: str
    thrown: str
    place: str
    line: str
    marked: str
    """The part of the line that the caret stands below."""


FUNCTIONS = {
    Engine.JAVASCRIPT: Function(
        main="guest/main.js",
        source="""\
export function main(input) {
  console.log("begins");
  const end = Date.now() + input.wait;
  while (Date.now() < end);
  if (input.fail) return input.missing.member;
  return input.answer;
}
""",
        thrown="TypeError: Cannot read properties of undefined (reading 'member')",
        place="5:40",
        line="if (input.fail) return input.missing.member;",
        marked="member;",
    ),
    Engine.PYTHON: Function(
        main="guest/main.py",
        source="""\
import time

def main(input, context):
    print("begins")
    end = time.monotonic() + input["wait"] / 1000
    while time.monotonic() < end: pass
    if input.get("fail"): return input["missing"]["member"]
    return input["answer"]
""",
        thrown="KeyError: 'missing'",
        place="7:34",
        line='if input.get("fail"): return input["missing"]["member"]',
        marked='input["missing"]',
    ),
}
ONE_ENGINE = pytest.mark.parametrize("engine", [Engine.JAVASCRIPT])
"""For what does not depend on the language."""
HEAD = """\
[enclave]
name = "f"
product_id = 1
security_version = 1
engine = "{engine}"
main = "{main}"
permissions = ["log", "now", "random"]
"""
MANIFEST = """\
[limits]
memory_mib = 64
time_ms = 20000
output_kib = 64

[entry.main]
input = { type = "object" }
output = { type = "object", properties = { a = { type = "array", items = { type = "integer" } } } }
callers = "anyone"
"""


@pytest.fixture
def function(engine: Engine) -> Function:
    return FUNCTIONS[engine]


@pytest.fixture
def folder(tmp_path: Path, engine: Engine, function: Function) -> Path:
    made = tmp_path / "function"
    (made / "guest").mkdir(parents=True)
    (made / function.main).write_text(function.source)
    (made / "casemate.toml").write_text(HEAD.format(engine=engine, main=function.main) + MANIFEST)
    return made


@pytest.fixture
def ask(
    folder: Path, tmp_path: Path, machine: LocalMachine, developer_home: Path, monkeypatch: pytest.MonkeyPatch
) -> list[object]:
    """The command's words; the input's file is beside the folder."""
    monkeypatch.setenv("XDG_CONFIG_HOME", str(developer_home))
    monkeypatch.setenv("COLUMNS", "200")
    measure_once(monkeypatch)
    return ["run", folder, "--input", tmp_path / "input.json", "--state", machine.state, "--seed", SEED]


def test_console_lines_come_while_the_call_runs(ask: list[object], tmp_path: Path) -> None:
    (tmp_path / "input.json").write_text('{"wait": 2000, "answer": {"a": [1]}}')
    with casemate(*ask, "--debug") as process:
        assert process.stderr is not None
        for line in process.stderr:
            if line == "| begins\n":
                break
        seen = time.monotonic()
        out, err = process.communicate(timeout=PATIENCE)
        assert time.monotonic() - seen > 0.5
        assert process.returncode == 0, err
        assert out == '{"a":[1]}\n'


def test_an_exception_comes_with_its_place_and_line(
    ask: list[object], folder: Path, function: Function, tmp_path: Path
) -> None:
    before = files_of(folder)
    (tmp_path / "input.json").write_text('{"wait": 0, "fail": true}')
    told = casemate_here(*ask, "--debug", "-q")
    assert (told.code, told.out) == (ExitCode.CALL_FAILED, "")
    assert function.thrown in told.err
    lines = told.err.splitlines()
    at = lines.index(next(line for line in lines if line.strip() == function.line))
    assert lines[at - 1].endswith(f" at {function.main}:{function.place}")
    assert lines[at + 1].index("^") == lines[at].index(function.marked)
    assert "debug = true" not in told.err
    assert lines[-1] == f"next:  correct {folder}/{function.main}, line {function.place.partition(':')[0]}"
    assert files_of(folder) == before, "a debug run edits nothing"


def test_programs_get_the_place_and_what_was_printed_before(
    ask: list[object], function: Function, tmp_path: Path
) -> None:
    (tmp_path / "input.json").write_text('{"wait": 0, "fail": true}')
    told = casemate_here(*ask, "--debug", "--json")
    assert told.code == ExitCode.CALL_FAILED
    assert told.error["line"] == function.place.partition(":")[0]
    assert [line["text"] for line in told.error["console"]] == ["begins"]


@ONE_ENGINE
def test_programs_get_the_console_with_a_result(ask: list[object], tmp_path: Path) -> None:
    (tmp_path / "input.json").write_text('{"wait": 0, "answer": {}}')
    told = casemate_here(*ask, "--debug", "--json")
    assert told.code == 0
    assert [line["text"] for line in told.json["console"]] == ["begins"]


@ONE_ENGINE
def test_a_refused_result_names_the_member_to_the_author_alone(ask: list[object], tmp_path: Path) -> None:
    (tmp_path / "input.json").write_text('{"wait": 0, "answer": {"a": [1, "two"]}}')
    error = casemate_here(*ask, "--debug", "--json").error
    assert error["message"] == ('result-refused: $.a[1]: the value is not of type "integer"; it is "two"')
    error = casemate_here(*ask, "--json").error
    assert error["message"] == ("result-refused: the value breaks the schema at /properties/a/items/type")


def test_in_production_a_caller_learns_none_of_it(ask: list[object], folder: Path, tmp_path: Path) -> None:
    (tmp_path / "input.json").write_text('{"wait": 0, "fail": true}')
    error = casemate_here(*ask, "--json").error
    assert error["message"] == ("guest-error: the function threw an exception; a debug enclave would tell which")
    assert "casemate run --debug DIR" in error["next"]
    assert "console" not in error
    assert (folder / "casemate.lock").exists()


@ONE_ENGINE
def test_an_image_cannot_be_run_as_a_debug_copy(ask: list[object], tmp_path: Path) -> None:
    (tmp_path / "input.json").write_text("{}")
    (tmp_path / "f.sgxs").write_bytes(b"")
    told = casemate_here("run", tmp_path / "f.sgxs", *ask[2:], "--debug")
    assert told.code == ExitCode.USAGE
    assert "the folder that it was" in told.err
