"""`casemate test`: what passes, what fails and why, for people, programs and CI."""

import json
from pathlib import Path
from xml.etree import ElementTree as ET

import pytest
from tests.rigs.command_line import casemate_here, lend
from tests.rigs.examples import EXAMPLES, WORKLOADS, files_of
from tests.rigs.served_commands import casemate

from casemate.client.local import LocalMachine
from casemate.wire.protocol.manifest import Engine

pytestmark = pytest.mark.machine

LONG = 120.0
"""Seconds: a machine is started, and an enclave for each case."""

FUNCTION = """\
export async function main(input, context) {
  console.log("asked", input.a);
  const before = await context.state.get("n") ?? 0;
  await context.state.put("n", before + 1);
  if (input.a === 9) return input.missing.member;
  return { a: input.a, before };
}
"""
MANIFEST = """\
[enclave]
name = "f"
product_id = 65535
security_version = 1
engine = "javascript"
main = "guest/main.js"
permissions = ["log", "now", "random"]

[limits]
memory_mib = 64
time_ms = 5000
output_kib = 64

[state]
policy = "mrsigner"
recovery = "never"
max_kib = 64

[entry.main]
input = { type = "object" }
output = { type = "object", properties = { a = { type = "integer" }, before = { type = "integer" } } }
callers = ["ann"]
"""
CASES = {
    "good": "[[call]]\ninput = {a = 1}\nexpected = {a = 1, before = 0}\n[[call]]\ninput = {a = 2}\n"
    "expected = {a = 2, before = 1}\n[[call]]\ncaller = 'eve'\nerror = 'caller-refused'\n",
    "other": "[[call]]\ninput = {a = 1}\nexpected = {a = 1, before = 7}\n",
    "throws": "[[call]]\ninput = {a = 9}\nexpected = {}\n",
    "no-error": "[[call]]\ninput = {a = 1}\nerror = 'guest-error'\n",
}


@pytest.fixture
def folder(tmp_path: Path, developer_home: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("XDG_CONFIG_HOME", str(developer_home))
    made = tmp_path / "function"
    (made / "guest").mkdir(parents=True)
    (made / "guest" / "main.js").write_text(FUNCTION)
    (made / "casemate.toml").write_text(MANIFEST)
    (made / "tests").mkdir()
    (made / "tests" / "main.test.js").write_text("Deno.test('it', () => {});")
    return made


def test_each_failure_says_what_was_wanted_and_what_came(folder: Path, tmp_path: Path) -> None:
    for name, text in CASES.items():
        (folder / "tests" / "cases" / name).mkdir(parents=True)
        (folder / "tests" / "cases" / name / "case.toml").write_text(text)
    before = files_of(folder)
    with casemate("test", folder, "--json", "--junit", tmp_path / "junit.xml") as process:
        out, err = process.communicate(timeout=LONG)
    assert process.returncode == 1, err
    found = json.loads(out)
    assert (found["passed"], found["failed"]) == (2, 3), found
    outcomes = {outcome["name"]: outcome for outcome in found["tests"]}
    assert outcomes["unit tests"]["passed"]
    assert outcomes["good"]["passed"], outcomes["good"]
    assert outcomes["good"]["console"] == ["asked 1", "asked 2"]
    assert outcomes["other"]["failure"] == "got another result than wanted"
    assert '-  "before": 7' in outcomes["other"]["details"]
    assert '+  "before": 0' in outcomes["other"]["details"], "no case meets what another one has kept"
    assert outcomes["throws"]["failure"].endswith("(reading 'member') at guest/main.js:5:43")
    assert "input.missing.member" in outcomes["throws"]["details"]
    assert outcomes["no-error"]["failure"] == "got a result, want error guest-error"
    suite = ET.parse(tmp_path / "junit.xml").find("testsuite")  # noqa: S314 - our own
    assert suite is not None
    assert (suite.get("tests"), suite.get("failures")) == ("5", "3")
    assert "x other" in err
    assert '    +  "before": 0' in err
    assert "| asked 9" in err
    assert files_of(folder) == before, "a test changes nothing in the folder"


STREAM = """\
export async function* main(input, context, chunks) {
  while (input.endless) yield "";
  for await (const chunk of chunks) yield `<${new TextDecoder().decode(chunk)}>`;
  return { a: context.ocall("rates", input.of), before: 0 };
}
"""
HANDLERS = """\
def rates(argument):
    print("asked for", argument)
    return {"usd": 7}[argument]
"""
STREAM_CASES = {
    "pieces": "input = {of = 'usd'}\nstream_in = ['a', 'b c']\nstream_out = '<a><b c>'\nexpected = {a = 7, before = 0}",
    "other": "input = {of = 'usd'}\nstream_in = 'x'\nstream_out = '<y>'",
    "handler": "input = {of = 'chf'}\nexpected = {a = 1, before = 0}",
}


def test_cases_have_streams_and_their_ocalls_are_answered(folder: Path, tmp_path: Path) -> None:
    (folder / "guest" / "main.js").write_text(STREAM)
    rates = "\n[ocall.rates]\ninput = { type = 'string' }\noutput = { type = 'integer' }\n"
    text = MANIFEST.replace("[entry.main]", "[entry.main]\nstream = true").replace("time_ms = 5000", "time_ms = 60000")
    (folder / "casemate.toml").write_text(text + rates)
    (folder / "tests" / "main.test.js").unlink()
    for name, call in STREAM_CASES.items():
        (folder / "tests" / "cases" / name).mkdir(parents=True)
        (folder / "tests" / "cases" / name / "case.toml").write_text(f"[[call]]\n{call}\n")
    handlers = folder / "handlers.py"
    handlers.write_text(HANDLERS)
    with casemate("test", folder, "--json", "--ocalls", handlers, "--junit", tmp_path / "junit.xml") as process:
        out, err = process.communicate(timeout=LONG)
    assert process.returncode == 1, err
    outcomes = {outcome["name"]: outcome for outcome in json.loads(out)["tests"]}
    assert outcomes["pieces"]["passed"], outcomes["pieces"]
    assert outcomes["pieces"]["ocalls"] == ["asked for usd"]
    assert outcomes["other"]["failure"] == "got another stream than wanted"
    assert outcomes["other"]["details"].splitlines()[-2:] == ["-<y>", "+<x>"]
    assert "ocall" in outcomes["handler"]["failure"]
    assert "    KeyError: 'chf'" in outcomes["handler"]["ocalls"]
    assert "ocalls | asked for chf" in err
    (failed,) = (case for case in ET.parse(tmp_path / "junit.xml").iter("testcase") if case.get("name") == "handler")  # noqa: S314 - our own
    assert "KeyError: 'chf'" in str(failed.findtext("system-err"))


MAIN = {Engine.JAVASCRIPT: "main.js", Engine.PYTHON: "main.py"}
FAILING = {
    Engine.JAVASCRIPT: ("main.test.js", "Deno.test('it', () => { throw new Error('is wrong'); });"),
    Engine.PYTHON: ("test_main.py", "def test_it() -> None:\n    raise ValueError('is wrong')\n"),
}


def test_failing_unit_tests_fail_it_without_a_machine(folder: Path, engine: Engine) -> None:
    (folder / "guest" / "main.py").write_text("def main(input, context):\n    return {}\n")
    (folder / "casemate.toml").write_text(MANIFEST.replace("javascript", engine).replace("main.js", MAIN[engine]))
    (folder / "tests" / "main.test.js").unlink()
    name, text = FAILING[engine]
    (folder / "tests" / name).write_text(text)
    with casemate("test", folder) as process:
        out, err = process.communicate(timeout=LONG)
    assert (process.returncode, out) == (1, "0 passed, 1 failed\n")
    assert "is wrong" in err


def test_a_folder_with_nothing_to_test_is_told_what_to_write(folder: Path) -> None:
    (folder / "tests" / "main.test.js").unlink()
    with casemate("test", folder, "--json") as process:
        out, _ = process.communicate(timeout=LONG)
    assert process.returncode == 5
    assert "tests/cases/NAME" in json.loads(out)["error"]["next"]


def test_a_case_that_names_no_entry_point_fails_by_itself(
    folder: Path, machine: LocalMachine, monkeypatch: pytest.MonkeyPatch
) -> None:
    (folder / "tests" / "cases" / "x").mkdir(parents=True)
    (folder / "tests" / "cases" / "x" / "case.toml").write_text("[[call]]\nentry = 'nothing'\n")
    lend(machine, monkeypatch)
    outcomes = casemate_here("test", folder, "--json").json["tests"]
    failure = next(outcome["failure"] for outcome in outcomes if outcome["name"] == "x")
    assert failure == "case x: got the entry point 'nothing', the manifest has main"


@pytest.mark.parametrize("example", WORKLOADS, ids=lambda example: example.name)
def test_the_examples_pass(
    example: Path, machine: LocalMachine, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert example.is_relative_to(EXAMPLES)
    monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path / "config"))
    lend(machine, monkeypatch)
    said = casemate_here("test", example)
    assert (said.code, said.out) == (0, "2 passed, 0 failed\n"), said.err
