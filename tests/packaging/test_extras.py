"""What `pip install casemate` brings, what each extra adds, and what is said where one is missing."""

import json
import re
import subprocess
from dataclasses import replace
from datetime import UTC, datetime
from importlib.metadata import packages_distributions, version
from pathlib import Path

import pytest
from tests.rigs.environments import EXTRAS, closure, direct, environment

from casemate.client.binding_file import encode_binding
from casemate.process.extras import MODULES
from casemate.testing.forge import honest
from casemate.verifier import print_policy
from casemate.wire.protocol.report_data import ReportDataBinding


def _name(requirement: str) -> str:
    return re.split(r"[^a-z0-9-]", requirement, maxsplit=1)[0]


def test_each_extra_is_known_by_the_modules_of_its_packages() -> None:
    assert set(EXTRAS) == {*MODULES, "all"}
    bring = packages_distributions()
    for extra, modules in MODULES.items():
        assert {bring[module][0].lower().replace("_", "-") for module in modules} == {*map(_name, EXTRAS[extra])}
    assert EXTRAS["all"] == ["casemate[machine,vm]"]


_GPL_TITLE = re.compile(r"GNU (AFFERO )?GENERAL PUBLIC LICENSE\s+Version \d", flags=re.IGNORECASE)


def test_nothing_but_the_extra_vm_brings_code_under_gpl() -> None:
    free = closure(direct("machine"))
    for name, found in free.items():
        fields = [found.metadata[key] for key in ("License", "License-Expression") if found.metadata[key]]
        stated = " ".join([*fields, *(found.metadata.get_all("Classifier") or ())])
        assert stated, name
        assert not re.search(r"\bA?GPL|General Public License", stated), name
        for file in found.files or ():
            if re.match(r"(licen[cs]e|copying)", file.name, flags=re.IGNORECASE):
                assert not _GPL_TITLE.search(file.read_text()), (name, file)
    assert set(closure(direct("machine", "vm"))) - set(free) == {"keystone-engine", "unicorn"}


def test_uvicorn_is_pinned_exactly_while_its_private_classes_are_extended() -> None:
    (pin,) = [line for line in EXTRAS["machine"] if line.startswith("uvicorn")]
    assert pin == f"uvicorn=={version('uvicorn')}"


def test_the_base_is_small() -> None:
    assert {*map(_name, direct())} == {"anyio", "cryptography", "h11", "httpcore", "rich", "sniffio", "typer"}
    assert not {"fastapi", "uvicorn", "deno", "jsonschema-rs", "tree-sitter", "pyopenssl"} & set(closure(direct()))


@pytest.fixture(scope="module")
def bare(wheel: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    return environment(tmp_path_factory.mktemp("bare") / "env", wheel)


def _run(python: Path, home: Path, *words: str) -> "subprocess.CompletedProcess[str]":
    variables = {"HOME": str(home), "PATH": "/usr/bin:/bin", "COLUMNS": "200"}
    command = [str(python), "-I", *words]
    return subprocess.run(command, cwd=home, env=variables, capture_output=True, timeout=120, text=True, check=False)


def _casemate(python: Path, home: Path, *words: str) -> "subprocess.CompletedProcess[str]":
    return _run(python, home, "-m", "casemate", *words)


def test_the_bare_wheel_verifies_and_inspects_a_quote(bare: Path, tmp_path: Path) -> None:
    forgery = honest(datetime.now(UTC).replace(microsecond=0))
    forged = forgery.sign()
    bound = forged.evidence.bound
    assert bound is not None
    binding = ReportDataBinding(bound.hpke_key, bound.receipt_key, forgery.nonce, bound.layers)
    for name, content in {
        "quote.bin": forged.evidence.quote,
        "collateral.json": forged.collateral.encode(),
        "policy.toml": print_policy(replace(forged.policy, report_data="FRESH_NONCE")).encode(),
        "binding.json": encode_binding(binding),
    }.items():
        (tmp_path / name).write_bytes(content)
    words = ("quote.bin", "--collateral", "collateral.json", "--policy", "policy.toml", "--binding", "binding.json")
    verified = _casemate(bare, tmp_path, "verify", *words, "--json")
    assert verified.returncode == 0, verified.stderr
    assert json.loads(verified.stdout)["accepted"] is True
    refused = _casemate(bare, tmp_path, "verify", *words[:-2], "--json")
    assert refused.returncode == 3
    inspected = _casemate(bare, tmp_path, "inspect", "quote.bin")
    assert inspected.returncode == 0, inspected.stderr
    assert forged.evidence.quote[112:144].hex() in inspected.stdout


MACHINE = r'^(error: )?[A-Za-z\' ]+ needs the extra "machine"[^:]*: pip install \'casemate\[machine\]\'$'
VM = MACHINE.replace("machine", "vm")


@pytest.mark.parametrize(
    ("words", "sentence"),
    [
        (("-m", "casemate", "build", "hello"), MACHINE),
        (("-m", "casemate", "run", "hello", "--input", "hello/input.json", "--quiet"), MACHINE),
        (("-m", "casemate", "up", "--dev"), MACHINE),
        (("-m", "casemate", "up", "--state", "machine", "--detach"), MACHINE),
        (("-m", "casemate", "vm", "launch", "hello"), VM),
        (("-m", "casemate", "vm", "firmware", "hello", "-o", "hello.fd"), VM),
        (("-m", "casemate.chip", "runtime-digest"), MACHINE),
        (("-m", "casemate.gateway"), MACHINE),
        (("-m", "casemate.testing.hostile"), VM),
    ],
)
def test_a_missing_extra_is_one_sentence_and_nothing_is_made(
    bare: Path, tmp_path: Path, words: tuple[str, ...], sentence: str
) -> None:
    assert _casemate(bare, tmp_path, "init", "hello").returncode == 0
    before = sorted(tmp_path.rglob("*"))
    said = _run(bare, tmp_path, *words)
    assert said.returncode == 1
    assert said.stdout == ""
    (line,) = [line for line in said.stderr.splitlines() if not line.startswith("x ")]  # a step that has failed
    assert re.match(sentence, line), line
    assert sorted(tmp_path.rglob("*")) == before


def test_the_library_raises_a_typed_error(bare: Path, tmp_path: Path) -> None:
    code = """
import casemate, pathlib
from casemate.wire.errors import MissingExtraError
assert casemate.connect and casemate.parse_policy and casemate.check_receipt and casemate.read_image
try:
    with casemate.local_machine(pathlib.Path("machine")):
        pass
except MissingExtraError as error:
    print(error.extra)
"""
    said = _run(bare, tmp_path, "-c", code)
    assert (said.stdout, said.stderr) == ("machine\n", "")
    assert not list(tmp_path.iterdir())


def test_doctor_says_which_extras_are_installed(bare: Path, tmp_path: Path) -> None:
    said = _casemate(bare, tmp_path, "doctor", "--json")
    assert said.returncode == 1
    found = {each["name"]: each for each in json.loads(said.stdout)["findings"]}
    assert found["extra machine"]["finding"] == "missing"
    assert found["extra vm"]["finding"] == "lacking"
    assert "pip install 'casemate[vm]'" in found["extra vm"]["detail"]
    assert not {"runtime copy", "engine"} & set(found)


@pytest.fixture(scope="module")
def machine(wheel: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    return environment(tmp_path_factory.mktemp("machine") / "env", wheel, "machine")


def test_the_runtime_is_of_the_same_files_whichever_other_extras_are_installed(
    wheel: Path, machine: Path, tmp_path: Path
) -> None:
    code = """
from casemate.chip.runtime_sources import runtime_sources
for file in runtime_sources():
    print(file.path, file.executable, file.source.resolve() if "/casemate/" not in file.path else "")
"""
    everything = environment(tmp_path / "env", wheel, "machine", "vm")
    few, all_of_them = (_run(python, tmp_path, "-c", code) for python in (machine, everything))
    assert few.returncode == 0, few.stderr
    assert "/jsonschema_rs/" in few.stdout
    assert few.stdout == all_of_them.stdout


@pytest.mark.machine
def test_the_extra_machine_runs_a_function_and_declines_a_vm(machine: Path, tmp_path: Path) -> None:
    assert _casemate(machine, tmp_path, "init", "x").returncode == 0
    answered = _casemate(machine, tmp_path, "run", "x", "--input", "x/input.json", "--json")
    assert answered.returncode == 0, answered.stderr
    assert json.loads(answered.stdout)["result"]["verdict"] == "strong"
    declined = _casemate(machine, tmp_path, "vm", "launch", "hello")
    assert re.match(VM, declined.stderr.strip())
