"""What `casemate init` writes, used as its page says: its tests, its types, and one call."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
from tests.rigs.examples import files_of
from tests.rigs.served_commands import casemate

from casemate.images.functions.starter import Template
from casemate.wire.protocol.manifest import Engine

pytestmark = pytest.mark.machine

LONG = 120.0
"""Seconds: a machine is started, and an enclave for each case."""
CASES = {Template.HELLO: ["input.json"], Template.STATE: ["input.json", "budget"]}


def done(*arguments: object, config: Path) -> str:
    """What a command that ends well says on standard output."""
    with casemate(*arguments, XDG_CONFIG_HOME=str(config)) as process:
        out, err = process.communicate(timeout=LONG)
    assert process.returncode == 0, out + err
    return out


@pytest.mark.parametrize("template", Template)
@pytest.mark.parametrize("engine", Engine)
def test_a_starter_passes_its_tests_and_runs(engine: Engine, template: Template, tmp_path: Path) -> None:
    config, folder = tmp_path / "config", tmp_path / "starter"
    done("init", folder, "--engine", engine, "--template", template, config=config)
    before = files_of(folder)
    found = json.loads(done("test", folder, "--json", config=config))
    assert [(test["name"], test["passed"]) for test in found["tests"]] == [
        (name, True) for name in ["unit tests", *CASES[template]]
    ]
    assert {path: files_of(folder)[path] for path in before} == before
    if engine is Engine.PYTHON:
        sources = sorted(map(str, folder.rglob("*.py")))
        strict = [sys.executable, "-m", "mypy", "--strict", "--cache-dir", os.devnull, *sources]
        typed = subprocess.run(strict, cwd=folder, capture_output=True, text=True, check=False)
        assert typed.returncode == 0, typed.stdout
    ran = json.loads(done("run", folder, "--input", folder / "input.json", "--json", config=config))
    assert ran["result"] == json.loads((folder / "expected.json").read_text())
