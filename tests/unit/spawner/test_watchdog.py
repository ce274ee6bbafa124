import os
import signal
import time

import pytest

from casemate.sandbox.confinement import NoGroup
from casemate.spawner import watchdog as module
from casemate.spawner.confined_fork import end_of
from casemate.spawner.guest_process import MIB, OVERHEAD_MIB, GuestProcess
from casemate.spawner.process_memory import Memory, cpu_time_of, memory_of
from casemate.spawner.watchdog import (
    GRACE,
    RESTING_CPU,
    SAMPLE_RESTING,
    SAMPLE_WORKING,
    SETTLING,
    SLACK_MIB,
    Gone,
    Watchdog,
    cause_of_death,
)
from casemate.wire.protocol.faults import Code

BASE = 10 * MIB
LIMIT = BASE + (64 + OVERHEAD_MIB + SLACK_MIB) * MIB


class Measures:
    """What the kernel would say."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.resident = BASE
        self.cpu = 0.0
        monkeypatch.setattr(module, "memory_of", lambda _: Memory(self.resident, 0))
        monkeypatch.setattr(module, "cpu_time_of", lambda _: self.cpu)


@pytest.fixture
def measures(monkeypatch: pytest.MonkeyPatch) -> Measures:
    return Measures(monkeypatch)


def guest() -> GuestProcess:
    return GuestProcess(1, 64, -1, -1, -1, NoGroup("none"), None, 0.0)


def watchdog(*, sleeps: bool = False) -> Watchdog:
    return Watchdog(guest(), 100.0, sleeps=sleeps)


def test_a_resting_guest_is_looked_at_now_and_then(measures: Measures) -> None:
    dog = watchdog()
    assert dog.due == 100 + SETTLING
    assert dog.look(100.05) is None
    measures.cpu = 0.1
    assert dog.look(dog.due) is None
    assert dog.due == pytest.approx(100 + SETTLING + SAMPLE_RESTING)


def test_a_working_guest_is_looked_at_often(measures: Measures) -> None:
    dog = watchdog()
    dog.watch(1000, 100.0)
    assert dog.due == 100 + SAMPLE_WORKING
    measures.cpu = 50.0
    assert dog.look(dog.due) is None
    assert dog.due == pytest.approx(100 + 2 * SAMPLE_WORKING)


def test_a_deadline_is_kept_with_grace(measures: Measures) -> None:  # noqa: ARG001
    dog = watchdog()
    dog.watch(10, 100.0)
    assert dog.look(100.01 + GRACE - 0.001) is None
    gone = dog.look(100.01 + GRACE)
    assert gone is not None
    assert gone.code is Code.TIME_LIMIT


def test_a_guest_that_answered_has_no_deadline(measures: Measures) -> None:  # noqa: ARG001
    dog = watchdog()
    dog.watch(10, 100.0)
    dog.unwatch(100.005)
    assert dog.look(200.0) is None


@pytest.mark.parametrize("working", [True, False])
def test_too_much_memory_ends_a_guest_whatever_it_does(measures: Measures, working: bool) -> None:
    dog = watchdog()
    if working:
        dog.watch(10_000, 100.0)
    measures.resident = LIMIT
    assert dog.look(dog.due) is None
    measures.resident = LIMIT + 1
    assert dog.look(dog.due) == Gone(Code.MEMORY_LIMIT, "the guest used more than its 64 MiB")


def test_computing_between_calls_ends_a_guest(measures: Measures) -> None:
    dog = watchdog()
    measures.cpu = 30.0
    dog.watch(60_000, 100.0)
    dog.unwatch(140.0)
    assert dog.look(dog.due) is None
    measures.cpu = 30.0 + RESTING_CPU
    assert dog.look(dog.due) is None
    measures.cpu += 0.01
    assert dog.look(dog.due) == Gone(Code.GUEST_CRASHED, "the guest kept computing between calls")


def test_each_rest_is_counted_from_its_own_beginning(measures: Measures) -> None:
    dog = watchdog()
    for number in range(5):
        dog.watch(60_000, 100.0 + number)
        dog.unwatch(100.5 + number)
        measures.cpu += RESTING_CPU + 1
        assert dog.look(dog.due) is None
    measures.cpu += RESTING_CPU + 1
    assert dog.look(dog.due) == Gone(Code.GUEST_CRASHED, "the guest kept computing between calls")


def test_a_watchdog_that_is_off_is_never_due(measures: Measures) -> None:
    dog = watchdog(sleeps=True)
    dog.watch(1, 100.0)
    measures.resident = LIMIT * 2
    assert dog.due == float("inf")
    assert dog.look(1e9) is None


def test_without_measures_the_deadline_is_kept_still(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "memory_of", lambda _: None)
    monkeypatch.setattr(module, "cpu_time_of", lambda _: None)
    dog = watchdog()
    assert dog.look(dog.due) is None
    dog.watch(10, 200.0)
    assert dog.look(210.0) == Gone(Code.TIME_LIMIT, "the guest worked for longer than its time limit")


@pytest.mark.parametrize(
    ("status", "words", "peak", "code"),
    [
        (signal.SIGTRAP, b"# Fatal JavaScript out of memory: Reached heap limit", 0, Code.MEMORY_LIMIT),
        (signal.SIGABRT, b"memory allocation of 12 bytes failed", 0, Code.MEMORY_LIMIT),
        (signal.SIGSEGV, b"", (64 + OVERHEAD_MIB) * MIB + 1, Code.MEMORY_LIMIT),
        (signal.SIGTRAP, b"# Fatal error", 0, Code.GUEST_CRASHED),
        (signal.SIGSYS, b"", 1 << 40, Code.GUEST_CRASHED),
        (signal.SIGKILL, b"", 1 << 40, Code.GUEST_CRASHED),
        (1 << 8, b"", 0, Code.GUEST_CRASHED),
        (1 << 8, b"error: Top-level await promise never resolved", 0, Code.GUEST_ERROR),
    ],
)
def test_how_it_died_says_why(status: int, words: bytes, peak: int, code: Code) -> None:
    gone = cause_of_death(guest(), status, words, peak)
    assert gone.code is code
    assert words.decode() not in gone.reason or not words


@pytest.mark.parametrize(
    ("status", "words"),
    [
        (0, "ended with status 0"),
        (3 << 8, "ended with status 3"),
        (signal.SIGKILL, "killed by SIGKILL"),
        (signal.SIGSYS, "killed by SIGSYS (a system call outside its filter)"),
        (40, "killed by 40"),
    ],
)
def test_an_end_is_told_in_words(status: int, words: str) -> None:
    assert end_of(status) == words


def test_measures_of_a_process_that_is_not_there_are_none() -> None:
    assert memory_of(1 << 30) is None
    assert cpu_time_of(1 << 30) is None


@pytest.mark.skipif(memory_of(os.getpid()) is None, reason="there is no /proc")
def test_measures_of_this_process_are_right() -> None:
    before, memory = cpu_time_of(os.getpid()), memory_of(os.getpid())
    held = bytearray(b"x" * 50_000_000)
    until = time.process_time() + 0.1
    while time.process_time() < until:
        pass
    after, more = cpu_time_of(os.getpid()), memory_of(os.getpid())
    assert before is not None
    assert after is not None
    assert after - before >= 0.05
    assert memory is not None
    assert more is not None
    assert more.resident - memory.resident > 40_000_000
    assert more.data > 0
    del held
