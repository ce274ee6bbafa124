import asyncio
import os
import signal
from collections.abc import Iterator

import pytest
from tests.rigs.signals import default_signals

from casemate.supervisor.shutdown import SIGNALS, ShutdownRequests


@pytest.fixture(autouse=True)
def default_handlers() -> Iterator[None]:
    with default_signals(SIGNALS):
        yield


class Machine:
    """ShutdownRequests, and the ends of the pipes that others would hold."""

    def __init__(self, *, while_used: bool) -> None:
        reading, self.lifeline = os.pipe()
        self.kept = 0
        self.shutdown = ShutdownRequests(reading, while_used=while_used, on_kept=self._keep)

    def _keep(self) -> None:
        self.kept += 1

    def user(self) -> int:
        descriptor = self.shutdown.admit_user()
        assert descriptor is not None
        return descriptor

    async def leave(self, *descriptors: int) -> None:
        for descriptor in descriptors:
            os.close(descriptor)
        for _ in range(3):  # the loop looks at its descriptors
            await asyncio.sleep(0)


def test_a_machine_ends_with_its_starter() -> None:
    async def body() -> None:
        for while_used in (True, False):
            machine = Machine(while_used=while_used)
            await machine.leave(machine.lifeline)
            assert (machine.shutdown.at_once.is_set(), machine.kept) == (True, 0)

    asyncio.run(body())


def test_a_machine_for_its_users_ends_with_the_last_of_them() -> None:
    async def body() -> None:
        machine = Machine(while_used=True)
        first, second = machine.user(), machine.user()
        await machine.leave(first, machine.lifeline)
        assert (machine.shutdown.end.is_set(), machine.kept) == (False, 1)
        third = machine.user()
        await machine.leave(second)
        assert not machine.shutdown.end.is_set()
        await machine.leave(third)
        assert machine.shutdown.at_once.is_set()
        assert machine.shutdown.admit_user() is None

    asyncio.run(body())


def test_users_come_and_go_while_the_starter_stays() -> None:
    async def body() -> None:
        machine = Machine(while_used=True)
        await machine.leave(machine.user())
        assert not machine.shutdown.end.is_set()
        await machine.leave(machine.lifeline)
        assert machine.shutdown.at_once.is_set()

    asyncio.run(body())


def test_another_machine_ends_with_its_starter_whoever_uses_it() -> None:
    async def body() -> None:
        machine = Machine(while_used=False)
        user = machine.user()
        await machine.leave(machine.lifeline)
        assert (machine.shutdown.at_once.is_set(), machine.kept) == (True, 0)
        await machine.leave(user)

    asyncio.run(body())


@pytest.mark.parametrize("number", SIGNALS)
def test_a_first_signal_drains_and_a_second_one_does_not_wait(number: signal.Signals) -> None:
    async def body() -> None:
        shutdown = ShutdownRequests(None, on_kept=lambda: None)
        os.kill(os.getpid(), number)
        await shutdown.end.wait()
        assert not shutdown.at_once.is_set()
        os.kill(os.getpid(), number)
        await shutdown.at_once.wait()

    asyncio.run(body())


@pytest.mark.parametrize("number", SIGNALS)
def test_a_signal_that_was_ignored_at_the_start_stays_ignored(number: signal.Signals) -> None:
    async def body() -> None:
        signal.signal(number, signal.SIG_IGN)
        ShutdownRequests(None, on_kept=lambda: None)
        assert signal.getsignal(number) is signal.SIG_IGN

    asyncio.run(body())
