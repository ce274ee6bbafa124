import os
import resource

import pytest

from casemate.engines.frames import NO_CALL, FrameKind, frame
from casemate.sandbox.confinement import NoGroup
from casemate.sandbox.rlimits import low_limits
from casemate.spawner.guest_pool import REFILL_DELAY, RETRY_DELAY, GuestPool
from casemate.spawner.guest_process import MAX_WORDS, GuestProcess, GuestProcessState, StartError, first_words

NOW = 100.0
WARM = frame(FrameKind.WARM, NO_CALL)
WARM_FRAME = len(WARM).to_bytes(4, "little") + WARM


def guest(memory_mib: int = 64, state: GuestProcessState = GuestProcessState.WARM) -> GuestProcess:
    return GuestProcess(0, memory_mib, -1, -1, -1, NoGroup("none"), None, 0.0, state=state)


def opened(usual_mib: int, count: int) -> GuestPool:
    pool = GuestPool(usual_mib, count)
    pool.open()
    return pool


def test_an_empty_pool_wants_the_usual_size_once_it_is_open() -> None:
    pool = GuestPool(64, 1)
    assert pool.missing() is None
    pool.open()
    assert pool.missing() == 64


def test_a_full_pool_wants_nothing_starting_ones_included() -> None:
    pool = opened(64, 2)
    pool.guests += [guest(), guest(state=GuestProcessState.STARTING)]
    assert pool.missing() is None
    assert pool.starting() == pool.guests[1:]


def test_a_pool_of_none_wants_nothing_ever() -> None:
    pool = opened(64, 0)
    pool.note(1, 128)
    assert pool.missing() is None


def test_a_warm_guest_is_taken_once_and_a_starting_one_never() -> None:
    pool = opened(64, 2)
    pool.guests += [guest(state=GuestProcessState.STARTING), warm := guest()]
    assert pool.take(128, NOW) is None
    assert pool.take(64, NOW) is warm
    assert pool.take(64, NOW) is None


def test_the_successor_of_a_guest_is_put_off_so_that_its_enclave_starts_first() -> None:
    pool = opened(64, 1)
    pool.guests += [guest()]
    pool.take(64, NOW)
    assert pool.missing() == 64
    assert pool.refill_at == NOW + REFILL_DELAY


def test_a_run_of_takers_does_not_put_off_filling_for_ever() -> None:
    pool = opened(64, 3)
    pool.guests += [guest() for _ in range(3)]
    for number in range(3):
        pool.take(64, NOW + number * REFILL_DELAY / 2)
    assert pool.refill_at == NOW + REFILL_DELAY


def test_a_guest_that_does_not_start_puts_off_the_next_one_for_longer() -> None:
    pool = opened(64, 1)
    pool.guests += [guest()]
    pool.note_failure(NOW)
    assert pool.refill_at == NOW + RETRY_DELAY
    pool.take(64, NOW)
    assert pool.refill_at == NOW + RETRY_DELAY


def test_one_of_each_other_size_asked_for_is_wanted() -> None:
    pool = opened(64, 1)
    pool.guests += [guest()]
    pool.note(1, 128)
    pool.note(1, 128)
    assert pool.missing() == 128
    pool.guests += [guest(128)]
    assert pool.missing() is None


def test_the_size_asked_for_longest_ago_gives_way() -> None:
    pool = opened(64, 1)
    pool.guests += [old := guest(1), guest(64)]
    for size in (1, 2, 3, 4, 5):
        pool.note(size, size)
    assert pool.surplus() == [old]


def test_sizes_of_one_enclave_keep_no_other_size_from_being_warm() -> None:
    pool = opened(64, 1)
    pool.guests += [mine := guest(128), guest(64)]
    pool.note(1, 128)
    for size in range(1, 60):
        pool.note(2, size)
    assert mine not in pool.surplus()
    assert pool.missing() == 59


def test_many_enclaves_of_one_size_leave_the_other_sizes_warm() -> None:
    pool = opened(64, 1)
    pool.guests += [small := guest(16), guest(64)]
    pool.note(1, 16)
    for enclave in range(2, 250):
        pool.note(enclave, 128)
    assert small not in pool.surplus()
    assert pool.missing() == 128
    for enclave in range(250, 1000):
        pool.note(enclave, 128)
    assert pool.surplus() == [small]


def test_more_warm_ones_than_are_wanted_are_surplus() -> None:
    pool = opened(64, 1)
    pool.note(1, 128)
    more, other = guest(64), guest(128)
    pool.guests += [guest(64), guest(128), more, other, guest(64, GuestProcessState.STARTING)]
    assert pool.surplus() == [more, other]


def starting(text: bytes) -> GuestProcess:
    reading, writing = os.pipe()
    os.write(writing, text)
    os.close(writing)
    return GuestProcess(1 << 30, 64, -1, reading, -1, NoGroup("none"), None, 0.0)


def test_a_guest_is_warm_when_it_says_so_in_pieces_too() -> None:
    one = starting(WARM_FRAME)
    assert one.hear_warm()
    assert one.state is GuestProcessState.WARM
    one.close_pipes()
    reading, writing = os.pipe()
    two = GuestProcess(1 << 30, 64, -1, reading, -1, NoGroup("none"), None, 0.0)
    os.write(writing, WARM_FRAME[:5])
    assert not two.hear_warm()
    os.write(writing, WARM_FRAME[5:])
    assert two.hear_warm()
    two.close_pipes()
    os.close(writing)


@pytest.mark.parametrize("text", [b"", b"hello", WARM_FRAME[:-1] + b"x"])
def test_a_guest_that_says_something_else_does_not_start(text: bytes) -> None:
    one = starting(text)
    with pytest.raises(StartError, match="the engine did not start"):
        one.hear_warm()
    one.close_pipes()


@pytest.mark.parametrize(
    ("complaint", "words"),
    [
        (b"", ""),
        (
            b"\n\n#\n# Fatal process out of memory: Oilpan.\n#\n==== C stack trace",
            "Fatal process out of memory: Oilpan.",
        ),
        (b"\nthread 'main' has overflowed its stack\nfatal", "thread 'main' has overflowed its stack"),
        (b"\x1b[31m\xff" + b"x" * 1000, "?[31m\ufffd" + "x" * (MAX_WORDS - 6)),
    ],
)
def test_an_engines_complaint_is_told_in_one_short_line(complaint: bytes, words: str) -> None:
    assert first_words(complaint) == words


def test_a_guest_that_does_not_start_tells_why() -> None:
    one = starting(b"")
    one.last_words, writing = os.pipe()
    os.write(writing, b"#\n# Fatal: no room\n")
    with pytest.raises(StartError, match="the engine did not start; Fatal: no room"):
        one.hear_warm()
    one.close_pipes()
    os.close(one.last_words)
    os.close(writing)


def test_limits_that_are_too_low_are_named(monkeypatch: pytest.MonkeyPatch) -> None:
    soft = {resource.RLIMIT_AS: 4096, resource.RLIMIT_STACK: resource.RLIM_INFINITY}
    monkeypatch.setattr(resource, "getrlimit", lambda number: (soft.get(number, 1 << 50), resource.RLIM_INFINITY))
    assert low_limits() == "RLIMIT_AS is 4096, want 42949672960 or more (`ulimit -v`)"
