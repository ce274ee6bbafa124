"""Where a compiler is missing, tests say so; in continuous integration they fail."""

from pathlib import Path

import pytest
from tests.rigs.independent_verifiers import GO, BuildError, Toolchain, built, running

MISSING = Toolchain("no-such-compiler", ("no-such-compiler",), lambda folder: [str(folder)], "program")


def test_a_missing_compiler_is_the_reason_for_a_skip(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.delenv("CI", raising=False)
    with pytest.raises(pytest.skip.Exception, match="no-such-compiler is missing"), running(tmp_path, MISSING):
        pass


def test_a_missing_compiler_fails_in_continuous_integration(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("CI", "true")
    with pytest.raises(pytest.fail.Exception, match="no-such-compiler is missing"), running(tmp_path, MISSING):
        pass


def test_a_build_that_fails_leaves_no_program(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    source = tmp_path / "source"
    source.mkdir()
    (source / "main.txt").write_text("no program")
    refusing = Toolchain("sh", ("true",), lambda _: ["sh", "-c", "echo no >&2; exit 1"], GO.made)
    for _ in range(2):
        with pytest.raises(BuildError, match=r"sh in .*: no"):
            built(source, refusing)
