"""Each process imports what the table in docs/architecture.md allows its room, and nothing else of ours."""

import json
import subprocess
import sys

import pytest

ALLOWED = {
    "casemate.chip.__main__": {"chip", "wire", "process", "link"},
    "casemate.makers.__main__": {"makers", "wire", "process", "link"},
    "casemate.supervisor.__main__": {"supervisor", "wire", "process", "link"},
    "casemate.host.__main__": {"host", "wire", "process", "link", "sandbox"},
    "casemate.spawner.loop": {"enclave", "spawner", "engines", "images", "sandbox", "wire", "process", "link"},
    "casemate.client": {"client", "verifier", "images", "wire", "process", "link"},
    "casemate.verifier": {"verifier", "wire"},
}
FRAMEWORKS = {"typer", "rich", "click", "pydantic", "fastapi"}
NOT_IN_ENCLAVE = FRAMEWORKS | {"asyncio", "tree_sitter", "deno", "http", "urllib.request"}


def modules_after_importing(module: str) -> set[str]:
    program = f"import json, sys, {module}; json.dump(sorted(sys.modules), sys.stdout)"
    done = subprocess.run([sys.executable, "-I", "-c", program], capture_output=True, check=True, timeout=60)
    return set(json.loads(done.stdout))


@pytest.mark.parametrize("module", ALLOWED)
def test_a_process_loads_its_own_room_and_those_below(module: str) -> None:
    loaded = modules_after_importing(module)
    rooms = {name.split(".")[1] for name in loaded if name.startswith("casemate.")}
    assert rooms <= ALLOWED[module]
    assert not loaded & FRAMEWORKS


def test_the_enclave_runtime_is_lean() -> None:
    assert not modules_after_importing("casemate.spawner.loop") & NOT_IN_ENCLAVE


def test_the_host_cannot_compute_with_keys() -> None:
    assert not [name for name in modules_after_importing("casemate.host.__main__") if name.startswith("cryptography")]


def test_the_root_package_loads_nothing() -> None:
    assert {name for name in modules_after_importing("casemate") if name.startswith("casemate.")} == set()
