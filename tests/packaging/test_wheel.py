"""The wheel that `pip install` builds: what is in it, and what is not."""

import re
from email.parser import BytesParser
from pathlib import Path
from zipfile import ZipFile

import pytest
from tests.rigs.environments import EXTRAS, PROJECT, ROOT

SOURCES = ROOT / "src" / "casemate"


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
        "images/functions/javascript/load_check.js",
        "images/functions/starter_files/common/gitignore",
        "images/functions/starter_files/hello/common/casemate.toml",
        "images/functions/starter_files/hello/javascript/tests/main.test.js",
        "images/functions/starter_files/state/python/guest/main.py.template",
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
    wanted = [*PROJECT["dependencies"], *(line for lines in EXTRAS.values() for line in lines)]
    assert names == {_name(requirement) for requirement in wanted} - {"casemate"}  # which "all" refers to
    assert set(metadata.get_all("Provides-Extra", [])) == set(EXTRAS)
    assert b"casemate = casemate.cli.main:main" in contents[f"{info}/entry_points.txt"]


def _name(requirement: str) -> str:
    return re.split(r"[^a-zA-Z0-9-]", requirement, maxsplit=1)[0]
