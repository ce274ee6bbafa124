"""`casemate run --debug`: the author of a function sees what goes wrong with it, and nobody else does."""

import time
from pathlib import Path

import pytest
from tests.rigs.examples import files_of
from tests.rigs.served_commands import PATIENCE, casemate, said
from tests.rigs.workshop import SEED

from casemate.cli.errors import ExitCode
from casemate.client.local import LocalMachine

pytestmark = pytest.mark.machine

FUNCTION = """\
export function main(input) {
  console.log("begins");
  const end = Date.now() + input.wait;
  while (Date.now() < end);
  if (input.fail) return input.missing.member;
  return input.answer;
}
"""
MANIFEST = """\
[enclave]
name = "f"
product_id = 1
security_version = 1
engine = "javascript"
main = "guest/main.js"
permissions = ["log", "now", "random"]

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
def folder(tmp_path: Path) -> Path:
    made = tmp_path / "function"
    (made / "guest").mkdir(parents=True)
    (made / "guest" / "main.js").write_text(FUNCTION)
    (made / "casemate.toml").write_text(MANIFEST)
    return made


@pytest.fixture
def ask(folder: Path, tmp_path: Path, machine: LocalMachine, monkeypatch: pytest.MonkeyPatch) -> list[object]:
    """The command's words; the input's file is beside the folder."""
    monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path / "config"))
    return ["run", folder, "--input", tmp_path / "input.json", "--state", machine.state, "--seed", SEED]


def test_console_lines_come_while_the_call_runs(ask: list[object], tmp_path: Path) -> None:
    (tmp_path / "input.json").write_text('{"wait": 3000, "answer": {"a": [1]}}')
    with casemate(*ask, "--debug") as process:
        assert process.stderr is not None
        for line in process.stderr:
            if line == "| begins\n":
                break
        seen = time.monotonic()
        out, err = process.communicate(timeout=PATIENCE)
        assert time.monotonic() - seen > 2
        assert process.returncode == 0, err
        assert out == '{"a":[1]}\n'


def test_an_exception_comes_with_its_place_and_line(ask: list[object], folder: Path, tmp_path: Path) -> None:
    before = files_of(folder)
    (tmp_path / "input.json").write_text('{"wait": 0, "fail": true}')
    with casemate(*ask, "--debug", "-q") as process:
        out, err = process.communicate(timeout=PATIENCE)
    assert (process.returncode, out) == (ExitCode.CALL_FAILED, "")
    assert "TypeError: Cannot read properties of undefined (reading 'member')" in err
    lines = err.splitlines()
    at = lines.index("         if (input.fail) return input.missing.member;")
    assert lines[at - 1].endswith(" at guest/main.js:5:40")
    assert lines[at + 1].index("^") == lines[at].index("member;")
    assert "debug = true" not in err
    assert lines[-1] == f"next:  correct {folder}/guest/main.js, line 5"
    assert files_of(folder) == before, "a debug run edits nothing"


def test_programs_get_the_place_and_the_console(ask: list[object], tmp_path: Path) -> None:
    (tmp_path / "input.json").write_text('{"wait": 0, "fail": true}')
    code, document = said(*ask, "--debug")
    assert code == ExitCode.CALL_FAILED
    assert document["error"]["line"] == "5"
    assert [line["text"] for line in document["error"]["console"]] == ["begins"]
    (tmp_path / "input.json").write_text('{"wait": 0, "answer": {}}')
    code, document = said(*ask, "--debug")
    assert code == 0
    assert [line["text"] for line in document["console"]] == ["begins"]


def test_a_refused_result_names_the_member(ask: list[object], tmp_path: Path) -> None:
    (tmp_path / "input.json").write_text('{"wait": 0, "answer": {"a": [1, "two"]}}')
    _, document = said(*ask, "--debug")
    assert document["error"]["message"] == ('result-refused: $.a[1]: the value is not of type "integer"; it is "two"')


def test_in_production_a_caller_learns_none_of_it(ask: list[object], folder: Path, tmp_path: Path) -> None:
    (tmp_path / "input.json").write_text('{"wait": 0, "fail": true}')
    _, document = said(*ask)
    assert document["error"]["message"] == (
        "guest-error: the function threw an exception; a debug enclave would tell which"
    )
    assert "casemate run --debug DIR" in document["error"]["next"]
    assert "console" not in document["error"]
    (tmp_path / "input.json").write_text('{"wait": 0, "answer": {"a": [1, "two"]}}')
    _, document = said(*ask)
    assert document["error"]["message"] == ("result-refused: the value breaks the schema at /properties/a/items/type")
    assert (folder / "casemate.lock").exists()


def test_an_image_cannot_be_run_as_a_debug_copy(ask: list[object], tmp_path: Path) -> None:
    (tmp_path / "input.json").write_text("{}")
    (tmp_path / "f.sgxs").write_bytes(b"")
    with casemate("run", tmp_path / "f.sgxs", *ask[2:], "--debug") as process:
        _, err = process.communicate(timeout=PATIENCE)
    assert process.returncode == ExitCode.USAGE
    assert "the folder that it was" in err
