"""What holds of every example: its own tests pass, its code is its own, its manifest admits named callers."""

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest
from deno import find_deno_bin
from tests.rigs.examples import EXAMPLES, WORKLOADS, committed_manifest, named_callers

from casemate.images.functions.javascript.author_files import IMPORT_MAP
from casemate.wire.protocol.manifest import ANYONE

PYTHON = [folder for folder in WORKLOADS if (folder / "guest" / "main.py").is_file()]
JAVASCRIPT = [folder for folder in WORKLOADS if folder not in PYTHON]
EXAMPLE = pytest.mark.parametrize("folder", WORKLOADS, ids=lambda folder: folder.name)
DOCS = EXAMPLES.parent / "docs" / "examples"


IN_JAVASCRIPT = pytest.mark.parametrize("folder", JAVASCRIPT, ids=lambda folder: folder.name)
IN_PYTHON = pytest.mark.parametrize("folder", PYTHON, ids=lambda folder: folder.name)


@IN_PYTHON
def test_functions_own_tests_pass_in_python(folder: Path) -> None:
    command = [sys.executable, "-m", "unittest", "discover", "-s", "tests"]
    done = subprocess.run(command, capture_output=True, cwd=folder, timeout=120, check=False)
    assert done.returncode == 0, done.stderr.decode(errors="replace")
    assert re.search(rb"^Ran [1-9]\d* tests", done.stderr, re.MULTILINE)


@IN_PYTHON
def test_functions_in_python_are_strictly_typed(folder: Path) -> None:
    command = [sys.executable, "-m", "mypy", "--strict", "--cache-dir", os.devnull, "--config-file=", "guest"]
    environment = os.environ | {"MYPYPATH": "guest"}
    done = subprocess.run(command, capture_output=True, cwd=folder, env=environment, timeout=120, check=False)
    assert done.stdout.startswith(b"Success"), (done.stdout + done.stderr).decode(errors="replace")


@IN_PYTHON
def test_a_twin_has_the_same_schemas_inputs_and_results(folder: Path) -> None:
    other = folder.with_name(folder.name.removesuffix("-python"))
    same = [
        *(path for path in sorted(other.rglob("*.json")) if path.name != "casemate.schema.json"),
        *sorted(other.rglob("case.toml")),
    ]
    assert len(same) > 3
    for path in same:
        assert (folder / path.relative_to(other)).read_bytes() == path.read_bytes(), path


@IN_JAVASCRIPT
def test_functions_own_tests_pass(folder: Path) -> None:
    alone = ["--no-prompt", "--no-remote", "--no-npm", "--no-config", "--no-lock", f"--import-map={IMPORT_MAP}"]
    done = subprocess.run(
        [find_deno_bin(), "test", *alone, "tests/"],
        capture_output=True,
        cwd=folder,
        env={"NO_COLOR": "1"},
        timeout=120,
        check=False,
    )
    assert done.returncode == 0, (done.stdout + done.stderr).decode(errors="replace")
    assert b" 0 failed" in done.stdout


@IN_JAVASCRIPT
def test_guest_imports_only_its_own_modules_by_relative_path(folder: Path) -> None:
    guest = folder / "guest"
    for module in guest.rglob("*.js"):
        code = module.read_text()
        assert not re.search(r"\bimport\s*\(|\bDeno\b|\bprocess\b|\bfetch\b", code), module
        for specifier in re.findall(r'^import .* from "([^"]+)"', code, re.MULTILINE):
            assert specifier.startswith("./")
            assert (module.parent / specifier).resolve().is_relative_to(guest)
            assert (module.parent / specifier).is_file()


@EXAMPLE
def test_manifest_names_its_callers_and_no_key_lies_in_the_repository(folder: Path) -> None:
    manifest = committed_manifest(folder)
    assert named_callers(folder)
    assert not manifest.debug
    assert (folder / "casemate.toml").read_text().rstrip().endswith("[callers]")
    assert not list(folder.rglob("*.pem"))
    open_to_all = {entry.name for entry in manifest.entries if entry.callers is ANYONE}
    assert open_to_all == ({"read", "list"} if folder.name == "secret-manager" else set())


def test_products_are_numbered_apart() -> None:
    numbers = [committed_manifest(folder).product_id for folder in WORKLOADS]
    assert sorted(numbers) == list(range(1, len(WORKLOADS) + 1))


@EXAMPLE
def test_every_example_has_its_page_and_its_files(folder: Path) -> None:
    assert {path.name for path in folder.iterdir()} >= {"README.md", "input.json", "expected.json", "guest", "tests"}
    page = (DOCS / f"{folder.name}.md").read_text()
    for module in (folder / "guest").glob("*.*"):
        assert module.name in page, module.name
