"""Enclaves with several guests each: a spawner process, stub enclaves, real engines."""

import contextlib
import os
import signal
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from casemate.link.errors import PeerGoneError
from casemate.spawner import guest_supply
from casemate.testing.lone_spawner import LoneEnclave, LoneSpawner, lone_spawner, shared_engine
from casemate.wire.messages.spawner import (
    MAX_GUESTS,
    Exited,
    GuestGiven,
    GuestGone,
    GuestRefused,
    NeedGuest,
    Unwatch,
    Watch,
)
from casemate.wire.protocol.faults import Code

pytestmark = pytest.mark.machine
linux_only = pytest.mark.skipif(sys.platform != "linux", reason="needs /proc and the Linux layers")

ECHO = "export function main(x) { return x; }"
SPIN = "export function main() { for (;;); }"


@pytest.fixture
def spawner() -> Iterator[LoneSpawner]:
    with lone_spawner(shared_engine()) as spawner:
        yield spawner


def need(guest: int, memory_mib: int = 64) -> NeedGuest:
    return NeedGuest(guest, "javascript", memory_mib)


def given(enclave: LoneEnclave, *guests: int) -> dict[int, int]:
    """Asks for guests, and gives their pids by number."""
    enclave.tell(*map(need, guests))
    heard = enclave.hear(len(guests))
    assert all(isinstance(message, GuestGiven) for message in heard), heard
    return {message.guest: message.pid for message in heard if isinstance(message, GuestGiven)}


def alive(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    return True


def descriptors_of(pid: int) -> int:
    return len(list(Path(f"/proc/{pid}/fd").iterdir()))


def soon_at_most(pid: int, count: int) -> bool:
    """Whether a process soon has no more than so many descriptors: it sends them before it closes its own."""
    deadline = time.monotonic() + 10
    while descriptors_of(pid) > count:
        if time.monotonic() > deadline:
            return False
        time.sleep(0.05)
    return True


def test_an_enclave_has_several_guests_that_compute_each_on_their_own(spawner: LoneSpawner) -> None:
    enclave = spawner.spawn()
    numbers = [enclave.need_guest(beside=True)["guest"] for _ in range(3)]
    assert numbers == [1, 2, 3]
    for number in numbers:
        assert enclave.load(ECHO, guest=number).code == "ok"
    for number in reversed(numbers):
        assert enclave.call(arguments=number, guest=number).text == str(number)


def test_the_time_limit_of_one_guest_ends_that_one_alone(spawner: LoneSpawner) -> None:
    enclave = spawner.spawn()
    idle, busy = (enclave.need_guest(beside=True)["guest"] for _ in range(2))
    enclave.load(ECHO, guest=idle)
    enclave.load(SPIN, guest=busy)
    assert enclave.call(time_ms=200, guest=busy).code == Code.TIME_LIMIT
    assert enclave.call(arguments=1, guest=idle).text == "1"


def test_the_death_of_one_guest_is_told_by_its_number(spawner: LoneSpawner) -> None:
    enclave = spawner.spawn()
    pids = given(enclave, 1, 2, 5)
    os.kill(pids[2], signal.SIGKILL)
    assert enclave.hear(1) == [GuestGone(2, Code.GUEST_CRASHED, "the guest killed by SIGKILL")]
    enclave.tell(Watch(5, 0))
    assert enclave.hear(1) == [GuestGone(5, Code.GUEST_CRASHED, "the guest killed by SIGKILL")]
    assert enclave.hear(1, seconds=0.1) == []
    assert alive(pids[1])


def test_a_guest_is_watched_under_its_own_number(spawner: LoneSpawner) -> None:
    enclave = spawner.spawn()
    given(enclave, 1, 2, 3)
    enclave.tell(Watch(1, 60_000), Watch(2, 1), Watch(3, 1), Unwatch(3))
    gone = enclave.hear(2, seconds=1.5)
    assert gone == [GuestGone(2, Code.TIME_LIMIT, "the guest worked for longer than its time limit")]


@pytest.mark.parametrize("number", [0, 1, 3, 4])
def test_a_number_that_does_not_rise_is_refused(spawner: LoneSpawner, number: int) -> None:
    enclave = spawner.spawn()
    given(enclave, 1, 4)
    enclave.tell(need(number))
    (refused,) = enclave.hear(1)
    assert isinstance(refused, GuestRefused)
    assert (refused.guest, refused.fault.code) == (number, Code.WRONG_STATE)
    assert refused.fault.reason == f"the guest's number is {number}, this enclave's next must be above 4"
    assert given(enclave, 5)


def test_a_refused_number_is_used_up(spawner: LoneSpawner) -> None:
    enclave = spawner.spawn()
    enclave.tell(need(7, memory_mib=0), need(7))
    codes = [message.fault.code for message in enclave.hear(2) if isinstance(message, GuestRefused)]
    assert codes == [Code.UNAVAILABLE, Code.WRONG_STATE]


def test_an_engine_that_is_not_known_is_refused_by_number(spawner: LoneSpawner) -> None:
    enclave = spawner.spawn()
    enclave.tell(NeedGuest(3, "basic", 64))
    (refused,) = enclave.hear(1)
    assert isinstance(refused, GuestRefused)
    assert (refused.guest, refused.fault.code) == (3, Code.UNAVAILABLE)


def test_numbers_of_guests_are_each_enclaves_own(spawner: LoneSpawner) -> None:
    one, two = spawner.spawn(), spawner.spawn()
    pids = {given(one, 1)[1], given(two, 1)[1]}
    assert len(pids) == 2
    two.tell(Watch(1, 0))
    assert [message.guest for message in two.hear(1)] == [1]
    assert one.hear(1, seconds=0.1) == []


@linux_only
def test_more_guests_than_an_enclave_may_have_are_refused_and_starve_nobody() -> None:
    with lone_spawner(shared_engine(), pool=0) as spawner:
        greedy, modest = spawner.spawn(), spawner.spawn()
        greedy.tell(*(need(guest, memory_mib=16) for guest in range(1, MAX_GUESTS + 3)))
        modest.tell(need(1))
        assert isinstance(modest.hear(1)[0], GuestGiven)
        heard = greedy.hear(MAX_GUESTS + 2, seconds=50)
        refused = [message for message in heard if isinstance(message, GuestRefused)]
        assert [(message.guest, message.fault.code) for message in refused] == [
            (MAX_GUESTS + 1, Code.BUSY),
            (MAX_GUESTS + 2, Code.BUSY),
        ]
        assert heard.index(refused[-1]) <= 1, "they are refused before the first is given"
        pids = [message.pid for message in heard if isinstance(message, GuestGiven)]
        assert len(set(pids)) == MAX_GUESTS
        greedy.tell(Watch(1, 0), need(MAX_GUESTS + 3))
        # The killed one counts until its end has been told.
        assert [type(message) for message in greedy.hear(2)] == [GuestRefused, GuestGone]
        assert given(greedy, MAX_GUESTS + 4)
        assert spawner.kill(greedy) == Exited(greedy.number, "its process killed by SIGKILL")
        assert not [pid for pid in pids if alive(pid)], "all of them are reaped before the enclave counts as gone"
        assert modest.hear(1, seconds=0.1) == []


def test_one_guest_is_started_for_an_enclave_before_the_second_of_another() -> None:
    with lone_spawner(shared_engine(), pool=0) as spawner:
        greedy, modest = spawner.spawn(), spawner.spawn()
        greedy.tell(*(need(guest, memory_mib=16) for guest in range(1, 41)))
        time.sleep(0.05)
        modest.tell(need(1, memory_mib=32))
        assert isinstance(modest.hear(1, seconds=30)[0], GuestGiven)
        there = len(greedy.hear(40, seconds=0.0))
        assert there < 40 - guest_supply.MOST_STARTING
        greedy.hear(40 - there, seconds=30)


def test_a_guest_that_is_given_up_before_it_came_is_refused() -> None:
    with lone_spawner(shared_engine(), pool=0) as spawner:
        enclave = spawner.spawn()
        enclave.tell(need(1), need(2, memory_mib=32), Watch(1, 0))
        refused, came = enclave.hear(2)
        assert isinstance(refused, GuestRefused)
        assert (refused.guest, refused.fault.code) == (1, Code.UNAVAILABLE)
        assert isinstance(came, GuestGiven)
        assert came.guest == 2


@linux_only
def test_guests_that_nobody_waits_for_any_more_are_not_kept() -> None:
    with lone_spawner(shared_engine(), pool=1) as spawner:
        enclave = spawner.spawn()
        for guest in range(1, 30):
            enclave.tell(need(guest), Watch(guest, 0))
        enclave.hear(60, seconds=1.0)
        deadline = time.monotonic() + 10
        while len(children(spawner.process.pid)) != 2 and time.monotonic() < deadline:  # the enclave and a warm one
            time.sleep(0.05)
        assert len(children(spawner.process.pid)) == 2


def children(pid: int) -> list[str]:
    return Path(f"/proc/{pid}/task/{pid}/children").read_text().split()


@linux_only
def test_messages_about_guests_that_are_not_there_change_nothing(spawner: LoneSpawner) -> None:
    enclave = spawner.spawn()
    pid = given(enclave, 1)[1]
    for number in (0, 2, 2**32 - 1):
        enclave.tell(Watch(number, 0), Watch(number, 1), Unwatch(number))
    assert enclave.hear(1, seconds=0.5) == []
    assert alive(pid)


@linux_only
def test_an_enclave_that_asks_and_never_reads_costs_itself_alone() -> None:
    """It is ended once it has left more unread than an honest one can; descriptors in flight go with it."""
    with lone_spawner(shared_engine(), pool=0) as spawner:
        deaf, other = spawner.spawn(), spawner.spawn()
        before = descriptors_of(spawner.process.pid)
        with contextlib.suppress(PeerGoneError):  # it is ended before it can say that it did
            deaf.tell(*(need(guest, memory_mib=0) for guest in range(1, 5000)))
        assert spawner.exited() == Exited(deaf.number, "its process killed by SIGKILL")
        assert given(other, 1)
        assert soon_at_most(spawner.process.pid, before)


@linux_only
def test_no_descriptor_of_a_guest_stays_behind(spawner: LoneSpawner) -> None:
    enclave = spawner.spawn()
    given(enclave, 1)
    enclave.tell(Watch(1, 0))
    enclave.hear(1)
    time.sleep(1.0)  # the pool is full again
    before = descriptors_of(spawner.process.pid)
    for number in range(2, 12):
        given(enclave, number)
        enclave.tell(Watch(number, 0))
        enclave.hear(1)
    assert soon_at_most(spawner.process.pid, before)
