import mmap
import os
import signal
import sys
import time

import pytest

from casemate.enclave.guest.lease import LEASE, Lease
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
    SLACK_MIB,
    Gone,
    Watchdog,
    cause_of_death,
)
from casemate.wire.messages.spawner import Unwatch, Watch
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
    assert dog.due == 100
    measures.cpu = 0.1
    assert dog.look(dog.due) is None
    assert dog.due == pytest.approx(100 + SAMPLE_RESTING)


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


ANSWERED = 100.0
"""When a guest answers a call that was watched from 99.9 on."""


def ended_at(measures: Measures, calls: list[float], until: float, share: float = 1.0) -> float | None:
    """When a guest is ended that computes all the time, by an enclave's lease and the watchdog; None if it is not.

    Args:
        measures: its CPU time.
        calls: when it is called; it answers each call at once.
        until: the end of the test.
        share: how much of a processor it uses.
    """
    dog, lease = watchdog(), Lease(1)
    for millisecond in range(99_900, round(until * 1000)):
        now = millisecond / 1000
        measures.cpu = share * (now - 99.9)
        message: Watch | Unwatch | None = lease.attend(now)
        if now in calls:
            message = lease.work(now + 10, now)
            lease.rest(now)
        match message:
            case Watch(_, deadline_ms):
                dog.watch(deadline_ms, now)
            case Unwatch():
                dog.unwatch(now)
        if dog.look(now) is not None:
            return now
    return None


def test_a_guest_that_computes_after_its_answer_is_counted_from_a_tenth_of_a_second_on(measures: Measures) -> None:
    """So it would be, too, if the enclave told of a rest at once, and the first look came that much later."""
    assert ended_at(measures, [ANSWERED], 110.0) == pytest.approx(ANSWERED + 0.1 + 3 * SAMPLE_RESTING, abs=0.002)


def test_a_guest_that_computes_less_than_it_may_between_two_calls_goes_on(measures: Measures) -> None:
    assert ended_at(measures, [ANSWERED, 103.0, 106.0, 109.0], 112.0, share=0.6) is None


def test_a_call_within_a_tenth_of_a_second_counts_anew(measures: Measures) -> None:
    calls = [round(ANSWERED + 0.09 * number, 3) for number in range(100)]
    assert ended_at(measures, calls, calls[-1]) is None
    assert ended_at(measures, calls, 120.0) == pytest.approx(calls[-1] + 0.1 + 3 * SAMPLE_RESTING, abs=0.002)


def test_the_memory_of_a_guest_that_rests_on_its_lease_is_looked_at_as_often_as_of_one_that_works(
    measures: Measures,
) -> None:
    dog, lease = watchdog(), Lease(1)
    watch = lease.work(110.0, 100.0)
    assert watch is not None
    dog.watch(watch.deadline_ms, 100.0)
    lease.rest(100.001)
    assert dog.due == 100.0 + SAMPLE_WORKING
    assert dog.look(dog.due) is None
    assert dog.due == pytest.approx(100.0 + 2 * SAMPLE_WORKING)
    measures.resident = LIMIT + 1
    assert dog.look(dog.due) == Gone(Code.MEMORY_LIMIT, "the guest used more than its 64 MiB")


def test_a_guest_whose_enclave_hangs_is_ended_at_most_a_lease_and_the_grace_after_its_deadline(
    measures: Measures,  # noqa: ARG001
) -> None:
    dog, lease = watchdog(), Lease(1)
    watch = lease.work(101.0, 100.0)
    assert watch is not None
    dog.watch(watch.deadline_ms, 100.0)
    ends = 101.0 + LEASE + GRACE
    assert dog.look(ends - 0.001) is None
    assert dog.look(ends) == Gone(Code.TIME_LIMIT, "the guest worked for longer than its time limit")


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


@pytest.mark.skipif(sys.platform != "linux", reason="only Linux counts so")
def test_page_tables_count_as_memory() -> None:
    """Pages that are only read are the one page of zeros; 4 GiB of them, looked at each 2 MiB, take 8 MiB of tables."""
    with mmap.mmap(-1, 4096 * MIB, flags=mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS, prot=mmap.PROT_READ) as large:
        before = memory_of(os.getpid())
        read = sum(large[place] for place in range(0, len(large), 2 * MIB))
        after = memory_of(os.getpid())
    assert read == 0
    assert before is not None
    assert after is not None
    assert after.resident - before.resident >= 7 * MIB
