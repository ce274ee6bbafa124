"""The rate at which callers are given guests that have met nobody."""

from casemate.enclave.guest.newcomers import BURST, LONGEST_WAIT, Newcomers

RATE = 12.0


def test_a_few_need_not_wait_and_then_it_is_the_rate() -> None:
    newcomers = Newcomers(100.0, RATE)
    waits = [newcomers.take(100.0) for _ in range(BURST + 3)]
    assert waits[: BURST + 1] == [0.0] * (BURST + 1)
    assert waits[BURST + 1] == 1 / RATE or abs((waits[BURST + 1] or 0) - 1 / RATE) < 1e-9


def test_in_the_long_run_no_more_than_the_rate_come_in() -> None:
    newcomers, now, admitted = Newcomers(0.0, RATE), 0.0, 0
    for _ in range(2000):  # 200 a second for ten seconds
        admitted += newcomers.take(now) is not None
        now += 0.005
    assert admitted <= BURST + 1 + 10 * RATE + RATE * LONGEST_WAIT + 1
    assert admitted >= 10 * RATE


def test_who_is_told_to_come_again_is_welcome_then() -> None:
    newcomers = Newcomers(0.0, RATE)
    while newcomers.take(1.0) is not None:
        pass
    later = 1.0 + newcomers.seconds_until_welcome(1.0)
    assert later > 1.0
    assert newcomers.take(later + 0.001) is not None


def test_who_does_not_want_to_wait_takes_no_turn() -> None:
    newcomers = Newcomers(0.0, RATE)
    while newcomers.take(1.0, patience=0.0) is not None:
        pass
    before = newcomers.seconds_until_welcome(1.0)
    assert newcomers.take(1.0, patience=0.0) is None
    assert newcomers.seconds_until_welcome(1.0) == before
