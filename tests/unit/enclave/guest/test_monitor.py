import pytest

from casemate.enclave.guest.monitor import MINUTE, Monitor
from casemate.enclave.io.loop import at_once
from casemate.wire.messages.entry import Noticed
from casemate.wire.protocol.faults import Code, FaultError
from casemate.wire.protocol.manifest import Monitored, MonitorRule, Reaction


class Clock:
    now = 1000.0


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Clock:
    made = Clock()
    monkeypatch.setattr("time.monotonic", lambda: made.now)
    return made


def watched(subject: Monitored, most: int, then: Reaction) -> tuple[Monitor, list[Noticed]]:
    told: list[Noticed] = []
    return Monitor((MonitorRule(subject, most, then),), told.append), told


def test_what_is_expected_is_not_told(clock: Clock) -> None:
    monitor, told = watched(Monitored.OCALLS, 3, Reaction.WARN)
    for _ in range(20):
        clock.now += MINUTE / 3
        monitor.asked()
        monitor.worked(100.0, 10**9, died=True)  # the manifest has no rule for these
    assert told == []


def test_more_than_expected_in_a_minute_is_told_once_a_minute(clock: Clock) -> None:
    monitor, told = watched(Monitored.OCALLS, 3, Reaction.WARN)
    for _ in range(50):
        monitor.asked()
    assert told == [Noticed(Monitored.OCALLS, 4, 3, Reaction.WARN)]
    clock.now += MINUTE + 1
    monitor.asked()
    assert len(told) == 1
    for _ in range(50):
        monitor.asked()
    assert len(told) == 2
    at_once(monitor.admit())


@pytest.mark.parametrize(
    ("subject", "worked"),
    [(Monitored.CPU_MS, (0.4, None, False)), (Monitored.DEATHS, (0.0, None, True))],
)
def test_time_and_deaths_are_summed(clock: Clock, subject: Monitored, worked: tuple[float, int | None, bool]) -> None:
    monitor, told = watched(subject, 2 if subject is Monitored.DEATHS else 1000, Reaction.WARN)
    seconds, grown, died = worked
    for _ in range(2):
        monitor.worked(seconds, grown, died=died)
    assert told == []
    clock.now += 1
    monitor.worked(seconds, grown, died=died)
    assert [found.count for found in told] == [3 if died else 1200]


def test_growth_is_of_one_guest_and_not_summed() -> None:
    monitor, told = watched(Monitored.MEMORY_MIB, 10, Reaction.WARN)
    for _ in range(5):
        monitor.worked(0.0, 10 * 1024, died=False)
        monitor.worked(0.0, None, died=False)
    assert told == []
    monitor.worked(0.0, 12 * 1024, died=False)
    assert told == [Noticed(Monitored.MEMORY_MIB, 12, 10, Reaction.WARN)]


def test_stopped_calls_are_refused_for_ever_and_told_once(clock: Clock) -> None:
    monitor, told = watched(Monitored.DEATHS, 1, Reaction.STOP)
    monitor.worked(0.0, None, died=True)
    at_once(monitor.admit())
    for _ in range(3):
        monitor.worked(0.0, None, died=True)
    clock.now += 10 * MINUTE
    for _ in range(2):
        with pytest.raises(FaultError) as caught:
            at_once(monitor.admit())
        assert caught.value.fault.code is Code.STOPPED_BY_MONITOR
        assert "deaths = 1" in caught.value.fault.reason
    monitor.worked(0.0, None, died=True)
    assert told == [Noticed(Monitored.DEATHS, 2, 1, Reaction.STOP)]
