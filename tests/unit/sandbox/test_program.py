import os
import sys
from pathlib import Path

import pytest

from casemate.sandbox import linux
from casemate.sandbox.program import libraries_of, open_program

linux_only = pytest.mark.skipif(sys.platform != "linux", reason="the loader is Linux's")


@linux_only
def test_the_libraries_of_a_binary_are_found_with_the_loader() -> None:
    found = libraries_of(sys.executable)
    assert any("/libc.so" in path or "/libc-" in path for path in found)
    assert any("/ld-" in path for path in found)
    assert all(Path(path).is_file() for path in found)


@linux_only
def test_a_program_is_held_by_a_descriptor_that_is_not_inherited() -> None:
    program = open_program(sys.executable)
    (held,) = program.descriptors
    try:
        assert os.path.samestat(os.fstat(held), Path(sys.executable).stat())
        assert not os.get_inheritable(held)
    finally:
        os.close(held)


@linux_only
def test_the_loader_is_told_the_folders_of_the_libraries() -> None:
    program = open_program(sys.executable)
    for held in program.descriptors:
        os.close(held)
    told = program.environment["LD_LIBRARY_PATH"].split(":")
    assert set(told) == {str(Path(library).parent) for library in program.libraries}
    assert len(told) == len(set(told))


def test_a_program_that_is_not_there_is_refused(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError):
        open_program(str(tmp_path / "none"))


def test_elsewhere_a_program_is_its_path(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(linux, "IS_LINUX", False)
    program = open_program(sys.executable)
    assert (program.binary, program.descriptors, program.environment) == (sys.executable, (), {})
