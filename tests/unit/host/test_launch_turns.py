import asyncio
from collections.abc import Awaitable

import pytest

from casemate.host.entry_queue import CALLER
from casemate.host.launch_turns import EACH, MAX_WAITING, TOGETHER, LaunchTurns
from casemate.wire.protocol.faults import FaultError


class Launches:
    """Launches that end when they are told to."""

    def __init__(self) -> None:
        self.turns = LaunchTurns()
        self.begun: list[str] = []
        self.end = asyncio.Event()

    async def launch(self, caller: str) -> None:
        CALLER.set(caller)
        async with self.turns.turn():
            self.begun.append(caller)
            await self.end.wait()

    def start(self, caller: str, many: int = 1) -> list[asyncio.Task[None]]:
        return [asyncio.create_task(self.launch(caller)) for _ in range(many)]


def run(body: Awaitable[None]) -> None:
    asyncio.run(asyncio.wait_for(body, 10))


async def settled() -> None:
    for _ in range(20):
        await asyncio.sleep(0)


def test_one_callers_slow_launches_leave_a_place_for_the_next_caller() -> None:
    async def body() -> None:
        launches = Launches()
        tasks = launches.start("greedy", EACH + 20)
        await settled()
        assert launches.begun == ["greedy"] * EACH
        tasks += launches.start("modest")
        await settled()
        assert launches.begun[-1] == "modest"
        launches.end.set()
        await asyncio.gather(*tasks)
        assert not launches.turns._asked
        assert not launches.turns._each

    run(body())


def test_all_together_have_a_limit_and_everybody_comes_to_their_turn() -> None:
    async def body() -> None:
        launches = Launches()
        tasks = [task for caller in "abcde" for task in launches.start(caller, EACH)]
        await settled()
        assert len(launches.begun) == TOGETHER
        launches.end.set()
        await asyncio.gather(*tasks)
        assert sorted(launches.begun) == sorted("abcde" * EACH)

    run(body())


def test_more_than_may_wait_are_refused_and_who_leaves_makes_room() -> None:
    async def body() -> None:
        launches = Launches()
        tasks = launches.start("greedy", EACH + MAX_WAITING)
        await settled()
        with pytest.raises(FaultError, match="busy: 35 of your launches"):
            await launches.launch("greedy")
        tasks[-1].cancel()
        await settled()
        tasks += launches.start("greedy")
        await settled()
        launches.end.set()
        done = await asyncio.gather(*tasks, return_exceptions=True)
        assert sum(isinstance(each, BaseException) for each in done) == 1

    run(body())
