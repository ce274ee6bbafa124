"""The enclave's event loop: tasks wait without holding each other up, and everything that waits is woken once."""

import os
import select
import time
from collections.abc import Iterator

import pytest

from casemate.enclave.io.loop import Loop, Pending, Signal, at_once


def soon(seconds: float = 5.0) -> float:
    return time.monotonic() + seconds


class Pipe:
    """A peer that notes what comes."""

    def __init__(self) -> None:
        self.reading, self.writing = os.pipe()
        self.heard: list[bytes] = []
        self.is_wanted = True

    def fileno(self) -> int:
        return self.reading

    def wants(self) -> int:
        return select.POLLIN if self.is_wanted else 0

    def ready(self, _events: int) -> None:
        self.heard.append(os.read(self.reading, 100))


@pytest.fixture
def pipe() -> Iterator[Pipe]:
    made = Pipe()
    yield made
    os.close(made.reading)
    os.close(made.writing)


class TestTasks:
    def test_a_task_that_waits_for_nothing_ends_at_once(self) -> None:
        loop, done = Loop(), []

        async def work() -> None:
            done.append(1)

        loop.start(work())
        assert done == [1]

    def test_a_signal_wakes_all_that_wait_and_nobody_later(self) -> None:
        loop, signal, woken = Loop(), Signal(), []

        async def wait(name: str) -> None:
            woken.append((name, await signal.wait(soon(0.05))))

        loop.start(wait("a"))
        loop.start(wait("b"))
        signal.set()
        loop.start(wait("late"))
        while len(woken) < 3:
            loop.turn()
        assert woken == [("a", True), ("b", True), ("late", False)]

    def test_one_that_waits_long_holds_up_no_other(self) -> None:
        loop, never = Loop(), Signal()
        loop.start(never.wait())

        async def quick() -> str:
            await Signal().wait(soon(0.01))
            return "done"

        began = time.monotonic()
        assert loop.finish(quick()) == "done"
        assert time.monotonic() - began < 1

    def test_until_looks_again_each_time(self) -> None:
        loop, signal, numbers = Loop(), Signal(), [0]

        async def count() -> bool:
            return await signal.until(lambda: numbers[0] >= 3, soon())

        async def feed() -> None:
            while numbers[0] < 3:
                numbers[0] += 1
                signal.set()
                await Signal().wait(soon(0.001))

        loop.start(feed())
        assert loop.finish(count())

    def test_until_at_its_deadline_believes_the_condition(self) -> None:
        assert not Loop().finish(Signal().until(lambda: False, soon(0.01)))
        assert Loop().finish(Signal().until(lambda: True, soon(-1)))

    def test_a_task_that_raises_ends_the_loop(self) -> None:
        async def fail() -> None:
            await Signal().wait(soon(0.001))
            raise ValueError("a defect")

        loop = Loop()
        loop.start(fail())
        with pytest.raises(ValueError, match="a defect"):
            loop.run()

    def test_a_late_timer_wakes_no_later_wait(self) -> None:
        loop, first, second = Loop(), Signal(), Signal()

        async def work() -> list[bool]:
            return [await first.wait(soon(0.02)), await second.wait(soon(0.2))]

        loop.at(time.monotonic() + 0.01, first.set)
        began = time.monotonic()
        assert loop.finish(work()) == [True, False]
        assert time.monotonic() - began > 0.19


class TestPending:
    def test_the_first_outcome_counts(self) -> None:
        pending: Pending[int] = Pending()
        pending.set(1)
        pending.set(2)
        pending.fail(ValueError())
        assert pending.result() == 1

    def test_an_error_is_raised_to_who_takes_the_result(self) -> None:
        pending: Pending[int] = Pending()
        pending.fail(ValueError("no"))
        with pytest.raises(ValueError, match="no"):
            pending.result()

    def test_who_waits_is_told_whether_it_came_in_time(self) -> None:
        loop = Loop()
        late: Pending[int] = Pending()
        came: Pending[int] = Pending()
        loop.at(soon(0.01), lambda: came.set(3))
        assert not loop.finish(late.done_by(soon(0.02)))
        assert loop.finish(came.done_by(soon()))
        assert came.result() == 3


class TestTimers:
    def test_they_come_in_order_and_not_after_they_are_cancelled(self) -> None:
        loop, called = Loop(), []
        now = time.monotonic()
        for name, moment in (("b", 0.02), ("a", 0.01), ("c", 0.03)):
            timer = loop.at(now + moment, lambda name=name: called.append(name))  # type: ignore[misc]
            if name == "b":
                timer.cancel()
                timer.cancel()
        loop.finish(Signal().wait(now + 0.05))
        assert called == ["a", "c"]

    def test_waits_that_end_early_leave_nothing_behind(self) -> None:
        loop, signal = Loop(), Signal()

        async def work() -> None:
            for _ in range(10_000):
                await signal.wait(soon(60))

        async def wake() -> None:
            while True:
                signal.set()
                await Signal().wait(time.monotonic())

        loop.start(wake())
        loop.finish(work())
        assert len(loop._timers._heap) < 500


class TestPeers:
    def test_peers_are_served_while_all_tasks_wait(self, pipe: Pipe) -> None:
        loop = Loop()
        loop.watch(pipe)
        os.write(pipe.writing, b"hello")
        loop.finish(Signal().wait(soon(0.02)))
        assert pipe.heard == [b"hello"]

    def test_peers_are_served_while_tasks_never_rest(self, pipe: Pipe) -> None:
        loop = Loop()
        loop.watch(pipe)
        os.write(pipe.writing, b"hello")

        async def spin() -> None:
            while not pipe.heard:
                await Signal().wait(time.monotonic())

        loop.finish(spin())

    def test_what_a_peer_does_not_want_is_not_given(self, pipe: Pipe) -> None:
        loop = Loop()
        loop.watch(pipe)
        pipe.is_wanted = False
        loop.update(pipe)
        os.write(pipe.writing, b"hello")
        loop.finish(Signal().wait(soon(0.02)))
        assert pipe.heard == []
        loop.forget(pipe.fileno())
        loop.update(pipe)  # a peer that is not watched may say what it likes
        loop.forget(pipe.fileno())


def test_a_coroutine_that_must_not_wait_is_run_without_a_loop() -> None:
    async def seven() -> int:
        return 7

    assert at_once(seven()) == 7
    with pytest.raises(RuntimeError, match="waits"):
        at_once(Signal().wait())


class TestTheEnd:
    def test_all_tasks_are_given_up_and_tidy_up_though_a_peer_is_gone(self) -> None:
        loop, signal, tidied = Loop(), Signal(), []

        async def wait(name: str) -> None:
            try:
                await signal.wait()
            finally:
                tidied.append(name)
                signal.set()  # as a call does that gives back its turn
                raise OSError("nobody can be told")

        for name in "abc":
            loop.start(wait(name))
        loop.close()
        assert sorted(tidied) == ["a", "b", "c"]
        assert not loop.ready

    def test_tasks_that_have_ended_are_not_kept(self) -> None:
        loop = Loop()

        async def end() -> None:
            return

        async def fail() -> None:
            raise ValueError

        loop.start(end())
        with pytest.raises(ValueError):  # noqa: PT011 # which one is not the point
            loop.start(fail())
        assert not loop._tasks
