"""`make quick` runs the tests that a change can be felt in, the nearest first."""

import shutil
import subprocess
from pathlib import Path

import pytest
from scripts import quick_tests
from scripts.quick_tests import JOURNEY, PAGES, VM, Budget, changed_files, choose, imports_of_all

GIT = shutil.which("git") or "git"
IMPORTS = {
    "casemate": frozenset[str](),
    "casemate.wire": frozenset[str](),
    "casemate.wire.report": frozenset[str](),
    "casemate.verifier.appraisal": frozenset({"casemate.wire.report"}),
    "casemate.vm": frozenset[str](),
    "casemate.vm.entry": frozenset[str](),
    "casemate.gateway": frozenset[str](),
    "casemate.gateway.v1": frozenset({"casemate.verifier.appraisal"}),
    "tests.rigs.reports": frozenset({"casemate.wire.report"}),
    "tests.unit.wire.test_report": frozenset({"casemate.wire.report"}),
    "tests.unit.verifier.test_appraisal": frozenset({"casemate.verifier.appraisal", "tests.rigs.reports"}),
    "tests.unit.gateway.test_v1": frozenset({"casemate.gateway.v1"}),
    "tests.unit.vm.test_process": frozenset[str](),
    "tests.unit.cli.test_other": frozenset({"casemate.vm"}),
    "tests.e2e.test_chain": frozenset({"casemate.verifier.appraisal"}),
}
WIRE, VERIFIER, GATEWAY = (
    "tests/unit/wire/test_report.py",
    "tests/unit/verifier/test_appraisal.py",
    "tests/unit/gateway/test_v1.py",
)


def test_the_fewer_imports_away_the_earlier() -> None:
    assert choose(["src/casemate/wire/report.py"], IMPORTS) == [JOURNEY, WIRE, VERIFIER, GATEWAY]
    assert choose(["src/casemate/verifier/appraisal.py"], IMPORTS) == [JOURNEY, VERIFIER, GATEWAY]
    assert choose(["src/casemate/gateway/v1.py"], IMPORTS) == [JOURNEY, GATEWAY]


def test_a_room_s_own_tests_run_though_they_only_start_its_process() -> None:
    assert choose(["src/casemate/vm/entry.py"], IMPORTS) == [JOURNEY, VM, "tests/unit/vm/test_process.py"]


def test_a_file_that_is_no_module_belongs_to_the_package_around_it() -> None:
    assert choose(["src/casemate/vm/guests/hello.s"], IMPORTS) == [
        *(JOURNEY, VM),
        *("tests/unit/vm/test_process.py", "tests/unit/cli/test_other.py"),
    ]


def test_a_changed_test_runs_and_a_changed_rig_is_felt_by_those_who_use_it() -> None:
    assert choose(["tests/e2e/test_chain.py", "tests/rigs/reports.py"], IMPORTS) == [
        "tests/e2e/test_chain.py",
        VERIFIER,
    ]


def test_changed_pages_are_read_and_other_files_are_felt_by_none() -> None:
    assert choose(["docs/tour.md"], IMPORTS) == [PAGES]
    assert choose(["Makefile"], IMPORTS) == []


def test_every_room_s_modules_are_known_and_so_are_the_tests_of_them() -> None:
    imports = imports_of_all()
    chosen = choose(["src/casemate/wire/sgx/quote.py"], imports)
    assert chosen.index("tests/unit/wire/sgx/test_quote.py") < chosen.index("tests/unit/verifier/test_refusals.py")
    assert all((quick_tests.ROOT / test.partition("::")[0]).is_file() for test in chosen)
    for test in (JOURNEY, VM):
        path, _, name = test.partition("::")
        assert f"def {name}(" in (quick_tests.ROOT / path).read_text()


def test_what_has_changed_is_committed_or_not_since_main(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def git(*words: str) -> None:
        identity = ["-c", "user.name=n", "-c", "user.email=e@example.com"]
        subprocess.run([GIT, *identity, *words], cwd=tmp_path, check=True, capture_output=True)

    git("init", "--initial-branch", "main")
    for name in ("kept", "changed", "removed"):
        (tmp_path / name).write_text(name)
    git("add", ".")
    git("commit", "-m", "first")
    git("checkout", "-b", "branch")
    (tmp_path / "committed").write_text("1")
    git("add", ".")
    git("commit", "-m", "second")
    (tmp_path / "changed").write_text("2")
    (tmp_path / "removed").unlink()
    (tmp_path / "new").write_text("3")
    monkeypatch.setattr(quick_tests, "ROOT", tmp_path)
    assert sorted(changed_files()) == ["changed", "committed", "new"]


@pytest.mark.parametrize("failed", [False, True])
def test_a_run_ends_when_its_time_is_up_and_tells_of_failures(*, failed: bool) -> None:
    budget = Budget(-1)
    outcome = "failed" if failed else "passed"
    report = pytest.TestReport("a", ("a", 0, "a"), {}, outcome, None, "call")  # type: ignore[arg-type]
    with pytest.raises(pytest.exit.Exception, match="time is up") as ended:
        budget.pytest_runtest_logreport(report)
    assert ended.value.returncode == int(failed)
    Budget(1000).pytest_runtest_logreport(report)
