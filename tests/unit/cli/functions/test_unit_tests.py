import os
import sys
import time
from pathlib import Path

import pytest

from casemate.cli.functions import unit_tests
from casemate.cli.functions.outcomes import Outcome
from casemate.wire.protocol.manifest import Engine


def folder_with(place: Path, name: str, text: str) -> Path:
    (place / "tests").mkdir()
    (place / "guest").mkdir()
    (place / "guest" / "rates.py").write_text("RATE = 7\n")
    (place / "tests" / name).write_text(text)
    return place


def outcome_of(folder: Path, command: list[str]) -> Outcome:
    with unit_tests.running(folder, command) as wait:
        return wait()


@pytest.mark.parametrize("engine", Engine)
def test_a_folder_without_tests_has_no_command(engine: Engine, tmp_path: Path) -> None:
    assert unit_tests.command(tmp_path, engine) is None
    assert unit_tests.command(folder_with(tmp_path, "notes.txt", ""), engine) is None


@pytest.mark.parametrize(("wanted", "passed"), [(7, True), (8, False)])
@pytest.mark.parametrize("has_pytest", [True, False])
def test_tests_in_python_import_the_function(
    has_pytest: bool, wanted: int, passed: bool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    text = f"import unittest, rates\nclass T(unittest.TestCase):\n  def test(self): assert rates.RATE == {wanted}\n"
    folder = folder_with(tmp_path, "test_rates.py", text)
    monkeypatch.setattr(unit_tests, "find_spec", lambda _: object() if has_pytest else None)
    command = unit_tests.command(folder, Engine.PYTHON)
    assert command is not None
    assert command[:3] == [sys.executable, "-m", "pytest" if has_pytest else "unittest"]
    outcome = outcome_of(folder, command)
    assert outcome.passed is passed, outcome
    assert passed or "AssertionError" in outcome.details


@pytest.mark.parametrize(("words", "passed"), [("", True), ("throw new Error('is wrong')", False)])
def test_tests_in_javascript_run_in_deno(words: str, passed: bool, tmp_path: Path) -> None:
    folder = folder_with(tmp_path, "main.test.js", f"Deno.test('it', () => {{ {words} }});")
    command = unit_tests.command(folder, Engine.JAVASCRIPT)
    assert command is not None
    outcome = outcome_of(folder, command)
    assert outcome.passed is passed, outcome
    assert passed or "is wrong" in outcome.details


FAKE_ENCLAVE = """\
import { FakeEnclave } from "casemate/testing";
Deno.test("it", async () => {
  if (await new FakeEnclave().call((input) => input + 1, 1) !== 2) throw new Error();
});
"""


@pytest.mark.parametrize("settings", [None, "{}", '{ "fmt": { "lineWidth": 120 } }'])
def test_tests_in_javascript_find_the_fake_enclave(settings: str | None, tmp_path: Path) -> None:
    folder = folder_with(tmp_path, "main.test.js", FAKE_ENCLAVE)
    if settings is not None:
        (folder / "deno.json").write_text(settings)
    command = unit_tests.command(folder, Engine.JAVASCRIPT)
    assert command is not None
    outcome = outcome_of(folder, command)
    assert outcome.passed, outcome


@pytest.mark.parametrize("place", [".", ".."])
@pytest.mark.parametrize("name", ["deno.json", "deno.jsonc"])
def test_an_authors_own_imports_are_kept(name: str, place: str, tmp_path: Path) -> None:
    (tmp_path / "function").mkdir()
    folder = folder_with(
        tmp_path / "function",
        "main.test.js",
        "import { words } from 'mine'; Deno.test(words, () => { if (words !== 'my own') throw new Error(); });",
    )
    settings = folder / place / name
    settings.write_text('{ "imports": { "mine": "./mine.js" } }')
    settings.with_name("mine.js").write_text("export const words = 'my own';")
    command = unit_tests.command(folder, Engine.JAVASCRIPT)
    assert command is not None
    outcome = outcome_of(folder, command)
    assert outcome.passed, outcome


def test_tests_that_do_not_end_fail(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(unit_tests, "TIME", 0.5)
    outcome = outcome_of(tmp_path, [sys.executable, "-c", "import time; print('begun', flush=True); time.sleep(60)"])
    assert outcome.failure == "they did not end within 0.5 s"
    assert "begun" in outcome.details


STARTS_ANOTHER = """\
import subprocess, sys, time
subprocess.Popen([sys.executable, "-c", "import time; open('started', 'w').close(); time.sleep(60)"])
while True:
    try:
        open("started").close()
        break
    except FileNotFoundError:
        time.sleep(0.01)
print("begun", flush=True)
"""


@pytest.mark.parametrize("then", ["", "time.sleep(60)"], ids=["ended", "hanging"])
def test_what_they_have_started_ends_with_them(then: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(unit_tests, "TIME", 10)
    begin = time.monotonic()
    outcome = outcome_of(tmp_path, [sys.executable, "-c", STARTS_ANOTHER + then])
    assert outcome.passed is not bool(then)
    assert outcome.passed or "begun" in outcome.details
    assert time.monotonic() - begin < 40, "the pipe of what they have started is not waited for"


def test_an_interrupted_run_leaves_none_of_them(tmp_path: Path) -> None:
    told = tmp_path / "pid"

    def interrupted() -> None:
        with unit_tests.running(tmp_path, [sys.executable, "-c", HANGS]):
            deadline = time.monotonic() + 60
            while not (told.exists() and told.read_text().endswith(".")):
                assert time.monotonic() < deadline
                time.sleep(0.02)
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        interrupted()
    with pytest.raises(ProcessLookupError):
        os.kill(int(told.read_text()[:-1]), 0)


HANGS = "import os, time; file = open('pid', 'w'); file.write(f'{os.getpid()}.'); file.close(); time.sleep(60)"


def test_of_much_that_they_print_the_last_is_kept(tmp_path: Path) -> None:
    many = "print('x' * 5_000_000); print('the last'); raise SystemExit(3)"
    outcome = outcome_of(tmp_path, [sys.executable, "-c", many])
    assert outcome.failure == "exit status 3"
    assert outcome.details.startswith("...")
    assert outcome.details.endswith("the last\n")
    assert len(outcome.details) < 2_000_000


def test_tests_that_unittest_does_not_find_did_not_pass(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    folder = folder_with(tmp_path, "test_rates.py", "def test_rates():\n    assert False\n")
    monkeypatch.setattr(unit_tests, "find_spec", lambda _: None)
    command = unit_tests.command(folder, Engine.PYTHON)
    assert command is not None
    assert "pip install pytest" in outcome_of(folder, command).failure


@pytest.mark.parametrize("has_pytest", [True, False])
def test_tests_in_python_leave_no_files(has_pytest: bool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    text = "import unittest, rates\nclass T(unittest.TestCase):\n  def test(self): pass\n"
    folder = folder_with(tmp_path, "test_rates.py", text)
    before = sorted(folder.rglob("*"))
    monkeypatch.setattr(unit_tests, "find_spec", lambda _: object() if has_pytest else None)
    command = unit_tests.command(folder, Engine.PYTHON)
    assert command is not None
    assert outcome_of(folder, command).passed
    assert sorted(folder.rglob("*")) == before
