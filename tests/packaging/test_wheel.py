"""The wheel that `pip install` builds: what is in it, what is not, and that the command works from it."""

import json
import subprocess
import sys
import tomllib
import venv
from email.parser import BytesParser
from pathlib import Path
from zipfile import ZipFile

import pytest

ROOT = Path(__file__).parents[2]
SOURCES = ROOT / "src" / "casemate"
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]


@pytest.fixture(scope="module")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Built as pip builds it, with the build backend that the development environment holds: nothing is fetched."""
    folder = tmp_path_factory.mktemp("wheel")
    command = [sys.executable, "-m", "pip", "wheel", "--no-deps", "--no-build-isolation", "--no-index"]
    built = subprocess.run(
        [*command, "--disable-pip-version-check", "--wheel-dir", str(folder), str(ROOT)],
        capture_output=True,
        timeout=120,
        text=True,
        check=False,
    )
    assert built.returncode == 0, built.stderr
    (found,) = folder.glob("*.whl")
    return found


@pytest.fixture(scope="module")
def contents(wheel: Path) -> dict[str, bytes]:
    with ZipFile(wheel) as archive:
        return {name: archive.read(name) for name in archive.namelist()}


def test_it_holds_the_package_whole_and_as_it_is(contents: dict[str, bytes]) -> None:
    sources = {
        f"{place}/{file.relative_to(folder).as_posix()}": file.read_bytes()
        for place, folder in (("casemate", SOURCES), ("casemate/docs", ROOT / "docs"))
        for file in folder.rglob("*")
        if file.is_file() and "__pycache__" not in file.parts
    }
    assert {name: data for name, data in contents.items() if name.startswith("casemate/")} == sources


@pytest.mark.parametrize(
    "name",
    [
        "py.typed",
        "engines/javascript/bootstrap/serve.js",
        "images/functions/starter_files/casemate.toml",
        "images/functions/starter_files/gitignore",
        "images/functions/starter_files/guest/main.js",
        "images/functions/starter_files/tests/main.test.js",
    ],
)
def test_it_holds_what_is_no_python(contents: dict[str, bytes], name: str) -> None:
    assert contents[f"casemate/{name}"] == (SOURCES / name).read_bytes()


def test_it_holds_nothing_but_the_package_and_its_description(contents: dict[str, bytes]) -> None:
    folders = {name.partition("/")[0] for name in contents}
    assert folders == {"casemate", f"casemate-{PROJECT['version']}.dist-info"}
    assert not [name for name in contents if name.endswith((".pyc", ".pem", ".sgxs", ".quote"))]


def test_it_names_licence_command_and_dependencies(contents: dict[str, bytes]) -> None:
    info = f"casemate-{PROJECT['version']}.dist-info"
    metadata = BytesParser().parsebytes(contents[f"{info}/METADATA"])
    assert metadata["License-Expression"] == "Apache-2.0"
    assert contents[f"{info}/licenses/LICENSE"] == (ROOT / "LICENSE").read_bytes()
    assert metadata["Requires-Python"] == PROJECT["requires-python"]
    names = {_name(requirement) for requirement in metadata.get_all("Requires-Dist", [])}
    assert names == {_name(requirement) for requirement in PROJECT["dependencies"]}
    assert b"casemate = casemate.cli.main:main" in contents[f"{info}/entry_points.txt"]


def _name(requirement: str) -> str:
    return requirement.partition(">")[0].partition("<")[0].strip()


@pytest.mark.machine
def test_the_installed_command_runs_a_starter(wheel: Path, tmp_path: Path) -> None:
    home = tmp_path / "home"
    home.mkdir()
    venv.create(tmp_path / "env", symlinks=True)
    python = tmp_path / "env" / "bin" / "python"
    _run([sys.executable, "-m", "pip", "--python", str(python), "install", "--no-deps", "--no-index", str(wheel)], home)
    packages = Path(_run([str(python), "-c", "import sysconfig; print(sysconfig.get_path('purelib'))"], home).strip())
    dependencies = Path(pytest.__file__).parents[1]  # of the development environment, whose own Casemate stays hidden
    (packages / "dependencies.pth").write_text(f"{dependencies}\n")

    command = str(tmp_path / "env" / "bin" / "casemate")
    where = _run([str(python), "-c", "import casemate; print(casemate.__file__)"], home)
    assert Path(where.strip()).is_relative_to(packages)
    _run([command, "init", "x"], home)
    answered = json.loads(_run([command, "run", "x", "--input", "x/input.json", "--json"], home))
    assert answered["result"]["verdict"] == "strong"


def _run(command: list[str], home: Path) -> str:
    environment = {"HOME": str(home), "PATH": "/usr/bin:/bin", "PIP_DISABLE_PIP_VERSION_CHECK": "1"}
    done = subprocess.run(command, cwd=home, env=environment, capture_output=True, timeout=120, text=True, check=False)
    assert done.returncode == 0, done.stderr
    return done.stdout
