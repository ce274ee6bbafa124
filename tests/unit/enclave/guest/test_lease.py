import itertools

import pytest
from hypothesis import given
from hypothesis import strategies as st

from casemate.enclave.guest.lease import LEASE, REST, SPARE, Lease
from casemate.wire.messages.spawner import Unwatch, Watch

TICK = 0.001
"""What rounding to milliseconds may take from a lease (seconds)."""


def test_the_first_call_asks_for_its_time_and_the_lease() -> None:
    lease = Lease(7)
    assert lease.work(1002.0, 1000.0) == Watch(7, 2000 + round(LEASE * 1000))
    assert lease.due is None


def test_calls_close_upon_each_other_need_no_message() -> None:
    lease = Lease(1)
    assert lease.work(102.0, 100.0) is not None
    now = 100.0
    while now < 100.0 + LEASE - SPARE - 0.01:
        lease.rest(now)
        now += 0.005
        assert lease.attend(now) is None
        assert lease.work(now + 2.0, now) is None


def test_a_lease_is_renewed_before_less_than_the_spare_time_is_left() -> None:
    lease = Lease(1)
    lease.work(102.0, 100.0)
    lease.rest(100.05)
    later = 100.0 + LEASE - SPARE + 0.01
    assert lease.work(later + 2.0, later) == Watch(1, 2000 + round(LEASE * 1000))


def test_a_lease_of_a_longer_call_is_cut_for_a_shorter_one() -> None:
    lease = Lease(1)
    assert lease.work(110.0, 100.0) is not None
    lease.rest(100.01)
    assert lease.work(100.52, 100.02) == Watch(1, 500 + round(LEASE * 1000))


def test_a_guest_that_has_rested_for_a_while_is_unwatched_once() -> None:
    lease = Lease(3)
    lease.work(102.0, 100.0)
    lease.rest(100.01)
    assert lease.due == 100.01 + REST
    answers = [lease.attend(when) for when in (100.01 + REST - TICK, 100.01 + REST, 200.0)]
    assert answers == [None, Unwatch(3), None]
    assert lease.work(202.0, 200.0) is not None, "the spawner's deadline is lifted, so the next call asks again"


def test_a_working_guest_is_not_unwatched() -> None:
    lease = Lease(1)
    lease.work(102.0, 100.0)
    lease.rest(100.01)
    lease.work(102.05, 100.05)
    assert lease.attend(101.0) is None


@pytest.mark.parametrize("late", [0.0, 0.6, 1e6])
def test_a_deadline_that_is_over_never_becomes_an_order_to_kill(late: float) -> None:
    watch = Lease(1).work(100.0, 100.0 + late)
    assert watch is not None
    assert watch.deadline_ms >= 1


@given(
    st.lists(
        st.tuples(
            st.floats(0.0, 0.5),  # the pause before a call
            st.floats(0.001, 20.0),  # its time limit
            st.floats(0.0, 1.0),  # the part of it that the guest takes
        ),
        max_size=30,
    )
)
def test_the_spawner_never_ends_a_guest_too_soon_nor_later_than_the_lease_after_the_enclave(
    calls: list[tuple[float, float, float]],
) -> None:
    """The spawner's deadline is kept beside the lease, from its messages alone."""
    lease, now, ends = Lease(1), 100.0, float("inf")
    for (pause, limit, part), number in zip(calls, itertools.count(), strict=False):
        if number and lease.due is not None and now + pause >= lease.due:
            assert ends > lease.due + SPARE - REST - TICK, "a guest at rest is not ended before it is unwatched"
            assert lease.attend(lease.due) == Unwatch(1)
            ends = float("inf")
        now += pause
        deadline = now + limit
        watch = lease.work(deadline, now)
        if watch is not None:
            ends = now + watch.deadline_ms / 1000
        assert deadline + SPARE - TICK <= ends <= deadline + LEASE + TICK
        now += limit * part
        lease.rest(now)
