"""The `casemate` of the pages' shells is the real command in all that a page can see of it."""

import os
import subprocess
import sys
from pathlib import Path

import pytest


def run(commands: Path, text: str, folder: Path, **environment: str) -> tuple[int, str, str]:
    path = os.pathsep.join((str(commands), str(Path(sys.executable).parent), os.environ["PATH"]))
    done = subprocess.run(
        ["/bin/bash", "-c", text],
        cwd=folder,
        env={"HOME": str(folder), "PATH": path, **environment},
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    return done.returncode, done.stdout, done.stderr


@pytest.mark.parametrize(
    "text",
    [
        "casemate --version",
        "casemate nonsense",
        "casemate inspect nowhere.bin",
        "echo x | casemate inspect -",
        "casemate inspect --json a.txt",
        "casemate docs tour.md | head -3",
        "casemate docs tour.md > page; wc -l < page",
    ],
)
def test_is_the_real_command(warm_commands: Path, tmp_path: Path, text: str) -> None:
    (tmp_path / "a.txt").write_text("x")
    real = run(Path("/nowhere"), text, tmp_path, NO_COLOR="1", COLUMNS="120")
    assert run(warm_commands, text, tmp_path, NO_COLOR="1", COLUMNS="120") == real
    assert any(real)
