import json
import re
import shutil
import subprocess
import sys
import sysconfig
from pathlib import Path

import pytest

from casemate.host.ocalls import BUILT_IN, answer_built_in
from casemate.images.errors import FolderError
from casemate.images.functions.build import build
from casemate.images.functions.starter import starter_name, write_starter
from casemate.images.keys import DeveloperKey
from casemate.wire.messages.entry import ANSWERED_OCALLS


def _deno() -> str:
    found = shutil.which("deno", path=sysconfig.get_path("scripts")) or shutil.which("deno")
    if found is None:
        pytest.fail(f"{sys.executable} has no deno beside it, though the package depends on it")
    return found


def test_a_starter_builds_as_it_is(folder: Path, developer_key: DeveloperKey) -> None:
    contents = build(folder, developer_key, epoch=0).contents()
    assert contents.manifest.name == "starter"
    assert [entry.name for entry in contents.manifest.entries] == ["rate"]
    assert contents.manifest.debug is False


def test_a_starters_own_test_passes(folder: Path) -> None:
    done = subprocess.run(
        [_deno(), "test", "--no-prompt", "--no-config", "--no-remote", "--no-npm"],
        cwd=folder,
        env={"DENO_DIR": str(folder / ".deno"), "NO_COLOR": "1", "DENO_NO_UPDATE_CHECK": "1"},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    assert "4 passed" in done.stdout


def test_what_the_function_returns_is_what_its_schema_lets_out(folder: Path, developer_key: DeveloperKey) -> None:
    (entry,) = build(folder, developer_key, epoch=0).contents().schemas.entries.values()
    entry.input.check({"password": "x"})
    result = {"verdict": "weak", "guesses_log10": 1.0, "advice": [], "rated_for": "anyone", "password": "x"}
    assert "password" not in entry.output.filter(result)


def test_the_ocall_that_the_starter_shows_is_one_that_hosts_answer(folder: Path, developer_key: DeveloperKey) -> None:
    manifest = folder / "casemate.toml"
    manifest.write_text(re.sub(r"^# (?=\[ocall|input|output)", "", manifest.read_text(), flags=re.MULTILINE))
    ((name, ocall),) = build(folder, developer_key, epoch=0).contents().schemas.ocalls.items()
    assert name in BUILT_IN
    said = answer_built_in(name, json.dumps(ocall.input.filter(None)).encode())
    ocall.output.check(json.loads(said))


def test_what_is_said_of_hosts_ocalls_is_so() -> None:
    assert set(ANSWERED_OCALLS) == set(BUILT_IN)


def test_files_that_are_there_are_left_alone(tmp_path: Path) -> None:
    (tmp_path / "README.md").write_text("mine")
    with pytest.raises(FolderError, match=r"README\.md is already there"):
        write_starter(tmp_path)
    assert [path.name for path in tmp_path.iterdir()] == ["README.md"]


def test_refuses_a_folder_that_cannot_be_made(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(FolderError, match="cannot be written to"):
        write_starter(tmp_path / "file" / "inside")


@pytest.mark.parametrize(
    ("folder", "name"),
    [
        ("my-enclave", "my-enclave"),
        ("My First_Enclave", "my-first-enclave"),
        ("é", "enclave"),
        ("-", "enclave"),
        ("x" * 80, "x" * 64),
    ],
)
def test_an_enclave_is_named_for_its_folder(folder: str, name: str) -> None:
    assert starter_name(Path("/somewhere") / folder) == name


def test_no_placeholder_is_left(folder: Path) -> None:
    for path in folder.rglob("*"):
        assert path.is_dir() or b"@NAME@" not in path.read_bytes()
