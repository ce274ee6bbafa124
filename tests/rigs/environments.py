"""Virtual environments that hold Casemate's wheel and what some of its extras bring, and nothing else."""

import os
import re
import subprocess
import sys
import sysconfig
import tomllib
import venv
from collections.abc import Iterable, Iterator
from importlib.metadata import Distribution, distribution
from pathlib import Path
from typing import Any

from packaging.requirements import Requirement

ROOT = Path(__file__).parents[2]
PROJECT: dict[str, Any] = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
EXTRAS: dict[str, list[str]] = PROJECT["optional-dependencies"]


def direct(*extras: str) -> list[str]:
    """The requirements of the package itself, and of these of its extras."""
    return [*PROJECT["dependencies"], *(line for extra in extras for line in EXTRAS[extra])]


def closure(requirements: Iterable[str]) -> dict[str, Distribution]:
    """The installed distributions that these requirements bring, by name, with all that they require."""
    found: dict[str, Distribution] = {}
    wanted = [Requirement(line) for line in requirements]
    while wanted:
        requirement = wanted.pop()
        name = re.sub(r"[-_.]+", "-", requirement.name).lower()
        applies = requirement.marker is None or requirement.marker.evaluate({"extra": ""})
        if applies and name not in found:
            found[name] = distribution(requirement.name)
            wanted += [Requirement(line) for line in found[name].requires or ()]
    return found


def environment(place: Path, wheel: Path, *extras: str) -> Path:
    """The interpreter of a new environment with the wheel: dependencies are links into the one that runs the tests."""
    venv.create(place, symlinks=True)
    python = place / "bin" / "python"
    command = [sys.executable, "-m", "pip", "--python", str(python), "install", "--no-deps", "--no-index", str(wheel)]
    subprocess.run([*command, "--disable-pip-version-check"], check=True, capture_output=True, timeout=120)
    _link_packages(place, direct(*extras))
    return python


def environment_of(place: Path, interpreter: Path, *extras: str) -> Path:
    """The interpreter of a new environment, made with another build of this minor version of Python.

    Packages are links into the environment that runs the tests; so is Casemate, which is installed for development.
    """
    command = [str(interpreter), "-I", "-m", "venv", "--symlinks", "--without-pip", str(place)]
    subprocess.run(command, check=True, capture_output=True, timeout=120)
    _link_packages(place, [*direct(*extras), PROJECT["name"]])
    (place / "bin" / "casemate").unlink()  # it names the interpreter of the environment that it is from
    return place / "bin" / "python"


def other_interpreters() -> Iterator[Path]:
    """The programs of other builds of this minor version of Python that are on this computer, each once."""
    name = f"python3.{sys.version_info.minor}"
    folders = [*os.get_exec_path(), "/usr/bin", "/usr/local/bin"]
    pyenv = Path(os.environ.get("PYENV_ROOT", Path.home() / ".pyenv"), "versions")
    seen = {Path(sys._base_executable).resolve()}  # type: ignore[attr-defined]
    for program in (*(Path(folder, name) for folder in folders), *pyenv.glob(f"*/bin/{name}")):
        if not os.access(program, os.X_OK):
            continue
        command = [str(program), "-I", "-c", "import sys; print(sys._base_executable)"]
        done = subprocess.run(command, capture_output=True, timeout=60, text=True, check=False)
        found = Path(done.stdout.strip()).resolve()
        if done.returncode == 0 and found not in seen:
            seen.add(found)
            yield found


def _link_packages(place: Path, requirements: Iterable[str]) -> None:
    """Links what these requirements bring into an environment."""
    packages = Path(sysconfig.get_path("purelib", vars={"base": str(place), "platbase": str(place)}))
    for found in closure(requirements).values():
        for file in found.files or ():
            first = packages / (file if ".." in file.parts else file.parts[0])
            if not first.exists() and file.parts[0] != "__pycache__":
                first.parent.mkdir(parents=True, exist_ok=True)
                first.symlink_to(str(found.locate_file(file if ".." in file.parts else file.parts[0])))
