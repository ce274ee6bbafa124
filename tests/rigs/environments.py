"""Virtual environments that hold Casemate's wheel and what some of its extras bring, and nothing else."""

import re
import subprocess
import sys
import sysconfig
import tomllib
import venv
from collections.abc import Iterable
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
    packages = Path(sysconfig.get_path("purelib", vars={"base": str(place), "platbase": str(place)}))
    for found in closure(direct(*extras)).values():
        for file in found.files or ():
            first = packages / (file if ".." in file.parts else file.parts[0])
            if not first.exists() and file.parts[0] != "__pycache__":
                first.parent.mkdir(parents=True, exist_ok=True)
                first.symlink_to(str(found.locate_file(file if ".." in file.parts else file.parts[0])))
    return python
