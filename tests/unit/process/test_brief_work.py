import asyncio
import threading
from collections.abc import Callable, Coroutine
from typing import Any

import pytest

from casemate.process.brief_work import BRIEF, FEWEST, MOST, BriefWork

WAIT = 5.0


class Bench:
    """Work of a length that the test decides, by a clock of its own, and where it was done."""

    def __init__(self) -> None:
        self.now = 0.0
        self.work = BriefWork("disk", lambda: self.now)

    def takes(self, seconds: float) -> Callable[[], str]:
        def work() -> str:
            self.now += seconds
            return threading.current_thread().name

        return work

    async def places(self, seconds: float, count: int) -> str:
        """``s`` for each piece of work that was done on the spot, ``t`` for each in the thread."""
        names = [await self.work.run(self.takes(seconds)) for _ in range(count)]
        return "".join("s" if name == threading.main_thread().name else "t" for name in names)


def run(play: Callable[[Bench], Coroutine[Any, Any, None]]) -> None:
    async def whole() -> None:
        bench = Bench()
        try:
            await asyncio.wait_for(play(bench), WAIT)
        finally:
            bench.work.close()

    asyncio.run(whole())


def test_the_first_pieces_are_done_in_the_thread_and_then_on_the_spot() -> None:
    async def play(bench: Bench) -> None:
        assert await bench.places(BRIEF / 2, FEWEST + 5) == "t" * FEWEST + "s" * 5

    run(play)


def test_one_long_piece_sends_the_next_few_to_the_thread() -> None:
    async def play(bench: Bench) -> None:
        await bench.places(0, FEWEST)
        assert await bench.places(BRIEF * 2, 1) == "s"
        assert await bench.places(0, FEWEST + 1) == "t" * FEWEST + "s"
        assert await bench.places(BRIEF * 2, 1) == "s"  # a single one, again
        assert await bench.places(0, FEWEST + 1) == "t" * FEWEST + "s"

    run(play)


def test_a_disk_that_stays_slow_is_tried_ever_more_rarely() -> None:
    async def play(bench: Bench) -> None:
        await bench.places(1.0, FEWEST)
        for penalty in (8, 16, 32, 64, 128, 256, 512, MOST, MOST):
            assert await bench.places(1.0, 1 + penalty) == "s" + "t" * penalty

    run(play)


def test_while_the_thread_works_nothing_is_done_on_the_spot() -> None:
    async def play(bench: Bench) -> None:
        await bench.places(0, FEWEST)
        begun, go_on = threading.Event(), threading.Event()
        order: list[int] = []

        def first() -> None:
            begun.set()
            assert go_on.wait(WAIT)
            order.append(1)

        apart = asyncio.create_task(bench.work.run_apart(first))
        await asyncio.to_thread(begun.wait, WAIT)
        second = asyncio.create_task(bench.work.run(lambda: order.append(2)))
        await asyncio.sleep(0)
        go_on.set()
        await asyncio.gather(apart, second)
        assert order == [1, 2]
        assert await bench.places(0, 1) == "s"

    run(play)


def test_work_that_nobody_waits_for_any_more_is_finished_before_the_next() -> None:
    async def play(bench: Bench) -> None:
        await bench.places(0, FEWEST)
        begun, go_on = threading.Event(), threading.Event()

        def first() -> None:
            begun.set()
            assert go_on.wait(WAIT)
            raise OSError("nobody hears this")

        apart = asyncio.create_task(bench.work.run_apart(first))
        await asyncio.to_thread(begun.wait, WAIT)
        apart.cancel()
        with pytest.raises(asyncio.CancelledError):
            await apart
        second = asyncio.create_task(bench.work.run(go_on.is_set))
        await asyncio.sleep(0)
        go_on.set()
        assert await second

    run(play)


@pytest.mark.parametrize("before", [0, FEWEST])
def test_what_work_raises_is_raised(before: int) -> None:
    def fail() -> None:
        raise OSError("the disk is full")

    async def play(bench: Bench) -> None:
        await bench.places(0, before)
        with pytest.raises(OSError, match="the disk is full"):
            await bench.work.run(fail)

    run(play)
