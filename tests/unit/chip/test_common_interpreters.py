"""The digests of interpreters that come along are those of the interpreters, by the rules that runtimes are made by."""

import subprocess
import sys
from pathlib import Path

import pytest
from scripts import common_interpreters as script
from tests.rigs.environments import other_interpreters
from tests.rigs.missing import missing

from casemate.chip.common_interpreters import common_cores, common_interpreters
from casemate.chip.interpreter_files import interpreter_files
from casemate.chip.runtime import LIBRARY_FOLDER, PYTHON, component_of, this_platform
from casemate.chip.runtime_digest import INTERPRETER, MeasuredFile, group_of, measure, part_digest
from casemate.chip.runtime_sources import runtime_sources
from casemate.wire.protocol.runtime_lock import CORE

NEW_ROW = "scripts/common_interpreters.py NAME=PYTHON adds it"
LIBRARY = "lib/python3.11"


def test_the_file_was_made_by_the_rules_as_they_are() -> None:
    assert script.main(["--check"]) == 0, "the rules have changed: scripts/common_interpreters.py measures anew"


def test_the_interpreters_that_run_the_tests_are_listed_with_their_digests() -> None:
    """Both of them where CI is set; a developer's own build is not listed, and need not be."""
    listed = {script.Measured(common.platform, common.digest.hex()) for common in common_interpreters()}
    interpreters = [Path(sys.executable), *other_interpreters()]
    unknown = [str(python) for python in interpreters if script.measure(python) not in listed]
    if unknown:
        missing(f"not among the common interpreters: {', '.join(unknown)}; {NEW_ROW}")


def test_a_changed_rule_makes_the_file_stale_and_drops_what_cannot_be_measured(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    rule, data = tmp_path / "rule.py", tmp_path / "data.toml"
    monkeypatch.setattr(script, "RULES", (rule,))
    monkeypatch.setattr(script, "DATA", data)
    rule.write_text("first = 1\n")
    assert script.main([f"one={sys.executable}", f"two={sys.executable}"]) == 0
    assert script.main(["--check"]) == 0
    assert script.main([f"three={sys.executable}"]) == 0
    assert data.read_text().count("[[interpreter]]") == 3
    rule.write_text("second = 2\n")
    assert script.main(["--check"]) == 1
    assert script.main([f"one={sys.executable}"]) == 0
    assert "measured by other rules: two" in capsys.readouterr().out
    assert script.main(["--check"]) == 0
    assert data.read_text().count("[[interpreter]]") == 1


def files(interpreter: bytes, own: bytes) -> list[MeasuredFile]:
    return [
        MeasuredFile(PYTHON, executable=True, sha256=interpreter * 32),
        MeasuredFile(f"{LIBRARY_FOLDER}/libpython3.11.so.1.0", executable=False, sha256=interpreter * 32),
        MeasuredFile(f"{LIBRARY}/os.py", executable=False, sha256=interpreter * 32),
        MeasuredFile(f"{LIBRARY}/casemate/wire/errors.py", executable=False, sha256=own * 32),
        MeasuredFile(f"{LIBRARY}/h11/__init__.py", executable=False, sha256=b"\x05" * 32),
    ]


def test_the_core_with_another_interpreter_is_told_without_it() -> None:
    here, there = measure(files(b"\x01", b"\x02")), measure(files(b"\x03", b"\x02"))
    assert here.parts != there.parts
    exchanged = {**here.core_groups, INTERPRETER: there.core_groups[INTERPRETER]}
    assert part_digest(CORE, exchanged) == there.parts[0].digest
    other_code = measure(files(b"\x03", b"\x04"))
    assert other_code.core_groups[INTERPRETER] == there.core_groups[INTERPRETER]
    assert other_code.parts != there.parts


def test_interpreters_of_other_platforms_are_left_out() -> None:
    groups = measure(files(b"\x01", b"\x02")).core_groups
    assert common_cores("plan9-mips-cp399", groups) == {}
    (platform,) = {common.platform for common in common_interpreters()}
    assert len(common_cores(platform, groups)) == len(common_interpreters())


def test_every_file_of_the_runtime_is_in_the_group_that_measures_it() -> None:
    groups: dict[str, set[str]] = {}
    for file in runtime_sources():
        if component_of(file.path) == CORE:
            groups.setdefault(group_of(file.path), set()).add(file.path)
    assert groups["interpreter"] == {file.path for file in interpreter_files()}
    assert all("/casemate/" in path for path in groups["casemate"])
    names = {path.split("/")[2].partition(".")[0] for path in groups["packages"]}
    assert {"OpenSSL", "_cffi_backend", "cryptography", "h11", "jsonschema_rs", "typing_extensions"} <= names


def test_an_interpreter_is_measured_without_installed_packages(tmp_path: Path) -> None:
    bare = tmp_path / "bare"
    subprocess.run([sys.executable, "-I", "-m", "venv", "--without-pip", str(bare)], check=True, timeout=60)
    assert script.measure(bare / "bin" / "python") == script.measure(sys.executable)
    assert script.measure(sys.executable).platform == this_platform()
