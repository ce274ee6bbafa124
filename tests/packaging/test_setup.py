"""What a new user runs first, and what it says where something is missing."""

import os
import re
import shutil
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]


def old_python(folder: Path) -> Path:
    """An interpreter that is too old: it answers a check of its version with no."""
    path = folder / "python3.10"
    path.write_text('#!/bin/sh\n[ "$1" = --version ] && echo "Python 3.10.12" && exit 0\nexit 1\n')
    path.chmod(0o755)
    return path


def test_an_interpreter_that_is_too_old_is_refused_before_anything_is_installed(tmp_path: Path) -> None:
    place = tmp_path / "venv"
    done = subprocess.run(
        [shutil.which("make") or "make", "demo", f"PYTHON={old_python(tmp_path)}", f"VENV={place}"],
        cwd=ROOT,
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
        env={name: value for name, value in os.environ.items() if not name.startswith("MAKE")},
    )
    assert done.returncode == 2
    assert "Casemate needs Python 3.11 or newer, and" in done.stderr
    assert "is Python 3.10.12." in done.stderr
    assert "make demo PYTHON=python3.12" in done.stderr
    assert not place.exists()


def test_an_interpreter_that_is_not_there_is_refused(tmp_path: Path) -> None:
    done = subprocess.run(
        [shutil.which("make") or "make", "demo", "PYTHON=python3.99", f"VENV={tmp_path / 'venv'}"],
        cwd=ROOT,
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
        env={name: value for name, value in os.environ.items() if not name.startswith("MAKE")},
    )
    assert done.returncode == 2
    assert "There is no python3.99 here. Casemate needs Python 3.11 or newer" in done.stderr


def test_packages_that_cannot_be_installed_are_said_and_the_step_fails(tmp_path: Path) -> None:
    listed = tmp_path / "listed.txt"
    listed.write_text("casemate-that-is-nowhere==1.0 --hash=sha256:" + "0" * 64 + "\n")
    done = subprocess.run(
        [ROOT / "scripts" / "install-packages", sys.executable, listed],
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
        env=os.environ | {"PIP_NO_INDEX": "1"},
    )
    assert done.returncode != 0
    assert done.stdout.startswith("installing up to 1 locked packages")
    assert f"the packages of {listed} could not be installed" in done.stderr


def test_readme_has_the_package_and_all_that_builds_it_checked_by_hash() -> None:
    readme = (ROOT / "README.md").read_text()
    for line in re.findall(r"^.*pip install .*$", readme, flags=re.MULTILINE):
        if line.startswith("~"):
            assert "--require-hashes" in line or ("--no-deps" in line and "--no-build-isolation" in line), line
    for name in ("run", "build"):
        assert f"-r requirements/{name}.txt" in readme
        listed = (ROOT / "requirements" / f"{name}.txt").read_text()
        packages = [part for part in re.split(r"^(?=[a-z])", listed, flags=re.MULTILINE) if part.strip()]
        assert packages
        assert all("--hash=sha256:" in package for package in packages)


def test_the_build_backend_that_is_locked_is_the_one_that_builds() -> None:
    (wanted,) = tomllib.loads((ROOT / "pyproject.toml").read_text())["build-system"]["requires"]
    for name in ("build", "dev"):
        assert f"\n{wanted} " in "\n" + (ROOT / "requirements" / f"{name}.txt").read_text()


@pytest.mark.parametrize("name", ["run", "build", "dev"])
def test_no_list_names_an_index(name: str) -> None:
    assert "://" not in (ROOT / "requirements" / f"{name}.txt").read_text()
