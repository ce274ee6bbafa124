"""What `casemate init` writes, used as its page says: its tests, and one call."""

import json
from pathlib import Path

import pytest
from tests.rigs.command_line import Said, casemate_here, lend, measure_once
from tests.rigs.examples import files_of
from tests.rigs.workshop import SEED

from casemate.client.local import LocalMachine
from casemate.images.functions.starter import Template
from casemate.wire.protocol.manifest import Engine

pytestmark = pytest.mark.machine

CASES = {Template.HELLO: ["input.json"], Template.STATE: ["input.json", "budget"], Template.SERVICE: ["tallies"]}


def done(*arguments: object) -> Said:
    """What a command says that ends well."""
    said = casemate_here(*arguments)
    assert said.code == 0, said
    return said


@pytest.mark.parametrize("template", Template)
@pytest.mark.parametrize("engine", Engine)
def test_a_starter_passes_its_tests_and_runs(
    engine: Engine, template: Template, machine: LocalMachine, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path / "config"))
    monkeypatch.setenv("PYTEST_DISABLE_PLUGIN_AUTOLOAD", "1")  # loading Hypothesis takes a second
    measure_once(monkeypatch)
    lend(machine, monkeypatch)
    folder = tmp_path / "starter"
    done("init", folder, "--engine", engine, "--template", template)
    before = files_of(folder)
    found = done("test", folder, "--json").json
    assert [(test["name"], test["passed"]) for test in found["tests"]] == [
        (name, True) for name in ["unit tests", *CASES[template]]
    ]
    assert {path: files_of(folder)[path] for path in before} == before
    on_it = ("--state", machine.state, "--seed", SEED)
    entry = ("--entry", "add") if template is Template.SERVICE else ()
    ran = done("run", folder, "--input", folder / "input.json", "--json", *entry, *on_it).json
    result = {"tally": 3} if template is Template.SERVICE else json.loads((folder / "expected.json").read_text())
    assert ran["result"] == result
