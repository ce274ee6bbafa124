"""Measures interpreters that many computers have, for ``casemate lock add --common``.

``scripts/common_interpreters.py NAME=PYTHON...`` measures that program with its standard library, and writes the digest
under that name into ``src/casemate/chip/common_interpreters.toml``. ``NAME=apt:VERSION`` measures Debian's package
python3.11 of that version, which apt fetches. Rows of other names stay, unless the rules by which files are chosen have
changed since: then they are dropped, and named.

``--check`` writes nothing, and fails where the rules have changed since the file was made.

The digests are of interpreters alone, none of them is of Casemate's code: this has to be run when an interpreter is
published or the rules change, not at each change of the code.
"""

import argparse
import hashlib
import json
import subprocess
import sys
import tempfile
import tomllib
from collections.abc import Sequence
from pathlib import Path
from typing import Any, NamedTuple

SOURCES = Path(__file__).parents[1] / "src"
CHIP = SOURCES / "casemate" / "chip"
DATA = CHIP / "common_interpreters.toml"
RULES = (CHIP / "interpreter_files.py", CHIP / "runtime_digest.py")
"""The modules that say which files an interpreter's digest is over, and how it is taken."""

HEAD = f"""# The digests of common interpreters' own files. Made by scripts/{Path(__file__).name}; not edited by hand.
"""

APT = "apt:"
APT_GET, DPKG_DEB = "/usr/bin/apt-get", "/usr/bin/dpkg-deb"
PACKAGES = ("python3.11-minimal", "libpython3.11-minimal", "libpython3.11-stdlib")
MEASURE_TIME = 120.0
"""Longest that one interpreter may take to read its own files (seconds)."""

_MEASURE = f"""
import hashlib, json, sys
sys.path.insert(0, {str(SOURCES)!r})
from casemate.chip.interpreter_files import interpreter_files
from casemate.chip.runtime import this_platform
from casemate.chip.runtime_digest import INTERPRETER, MeasuredFile, group_digest
files = [
    MeasuredFile(file.path, file.executable, hashlib.sha256(file.source.read_bytes()).digest())
    for file in interpreter_files()
]
print(json.dumps({{"platform": this_platform(), "sha256": group_digest(INTERPRETER, files).hex()}}))
"""


class Measured(NamedTuple):
    """An interpreter, as a runtime lock would know it."""

    platform: str
    sha256: str


def measure(python: str | Path) -> Measured:
    """What that program says of itself, without any installed package."""
    done = subprocess.run(
        [str(python), "-I", "-S", "-B", "-c", _MEASURE],
        capture_output=True,
        timeout=MEASURE_TIME,
        text=True,
        check=True,
    )
    said = json.loads(done.stdout)
    return Measured(said["platform"], said["sha256"])


def rules() -> str:
    """The digest of the rules as they are now."""
    return hashlib.sha256(b"".join(path.read_bytes() for path in RULES)).hexdigest()


def _measure_debian(version: str) -> Measured:
    with tempfile.TemporaryDirectory() as folder:
        packages = [f"{name}={version}" for name in PACKAGES]
        subprocess.run([APT_GET, "-q", "download", *packages], cwd=folder, check=True, stdout=subprocess.DEVNULL)
        for package in Path(folder).glob("*.deb"):
            subprocess.run([DPKG_DEB, "--extract", str(package), folder], check=True)
        return measure(Path(folder, "usr/bin/python3.11"))


def _text(found: dict[str, Measured]) -> str:
    rows = [
        f'\n[[interpreter]]\nname = "{name}"\nplatform = "{measured.platform}"\nsha256 = "{measured.sha256}"\n'
        for name, measured in sorted(found.items())
    ]
    return f'{HEAD}rules = "{rules()}"\n{"".join(rows)}'


def main(arguments: Sequence[str]) -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("interpreters", nargs="*", metavar="NAME=PYTHON")
    parser.add_argument("--check", action="store_true")
    given = parser.parse_args(arguments)
    empty: dict[str, Any] = {"rules": "", "interpreter": []}
    known = tomllib.loads(DATA.read_text()) if DATA.exists() else empty
    is_stale = known["rules"] != rules()
    if given.check:
        if is_stale:
            print(f"{DATA.name} is stale: run {Path(__file__).name} for each interpreter that it names")
        return int(is_stale)
    found = {
        name: _measure_debian(place.removeprefix(APT)) if place.startswith(APT) else measure(place)
        for name, _, place in (text.partition("=") for text in given.interpreters)
    }
    for row in known["interpreter"]:
        if row["name"] not in found:
            if is_stale:
                print(f"dropped, since it was measured by other rules: {row['name']}")
            else:
                found[row["name"]] = Measured(row["platform"], row["sha256"])
    DATA.write_text(_text(found))
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
