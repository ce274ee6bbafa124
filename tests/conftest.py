import os
import signal
from pathlib import Path

import pytest
from hypothesis import HealthCheck, settings
from tests.rigs.levels import EXAMPLES, PROFILE, level_of
from tests.rigs.missing import missing
from tests.rigs.newcomer import newcomer
from tests.rigs.workshop import client, developer_home, engine, machine, own_machine, policy_for, workshop

__all__ = ["client", "developer_home", "engine", "machine", "newcomer", "own_machine", "policy_for", "workshop"]

_SLOW = [HealthCheck.too_slow, HealthCheck.data_too_large, HealthCheck.large_base_example]  # pages are large
for _profile, _levels in EXAMPLES.items():
    for _level, _most in _levels.items():
        settings.register_profile(
            f"{_profile} {_level}", max_examples=_most, deadline=None, suppress_health_check=_SLOW
        )
settings.load_profile(f"{PROFILE} unit")


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Skips what only the nightly run does; the mark says why."""
    for item in items:
        mark = item.get_closest_marker("nightly")
        if mark is not None and PROFILE != "nightly":
            item.add_marker(pytest.mark.skip(reason=f"`make nightly` runs it: {mark.args[0]}"))


def pytest_runtest_setup(item: pytest.Item) -> None:
    settings.load_profile(f"{PROFILE} {level_of(item.path.relative_to(Path(__file__).parent))}")


if (
    signal.getsignal(signal.SIGINT) is signal.SIG_IGN
):  # as shells start what runs behind them; commands would inherit it
    signal.signal(signal.SIGINT, signal.default_int_handler)


def pytest_xdist_auto_num_workers() -> int:
    """One more than there are processors: many tests wait, for processes to start and for time-outs."""
    return (os.cpu_count() or 1) + 1


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    """Shows what tests have measured (``record_property``), whether they passed or not."""
    reports = [*terminalreporter.getreports("passed"), *terminalreporter.getreports("failed")]
    told = {report.nodeid: report.user_properties for report in reports if report.user_properties}
    if told:
        terminalreporter.section("figures")
    for test, facts in told.items():
        terminalreporter.write_line(test)
        for name, fact in facts:
            terminalreporter.write_line(f"  {name}: {fact}")


@pytest.fixture(scope="session")
def vectors() -> Path:
    """Real evidence that others made: CASEMATE_VECTORS, or shared/vectors beside the repository."""
    beside = Path(__file__).resolve().parents[2] / "shared" / "vectors"
    folder = Path(os.environ.get("CASEMATE_VECTORS", beside))
    if not folder.is_dir():
        missing(f"there are no vectors in {folder}; CASEMATE_VECTORS names their folder")
    return folder
