import asyncio
import os
import signal
import subprocess
import sys
from collections.abc import Iterator

import pytest

from casemate.process import stopped_children
from casemate.process.stopped_children import NEVER, STOPPED_TIME, StoppedChildren, end_stopped_children

pytestmark = pytest.mark.skipif(not hasattr(os, "waitid"), reason="macOS does not tell who is stopped")


@pytest.fixture
def child() -> Iterator[int]:
    with subprocess.Popen([sys.executable, "-I", "-S", "-c", "import signal; signal.pause()"]) as process:
        yield process.pid
        process.kill()


def stop(pid: int) -> None:
    os.kill(pid, signal.SIGSTOP)
    os.waitid(os.P_PID, pid, os.WSTOPPED | os.WNOWAIT)  # until it is


def test_a_child_that_stays_stopped_is_killed(child: int) -> None:
    children = StoppedChildren()
    assert (children.look(0), children.due) == (0, NEVER)
    stop(child)
    assert children.look(100) == 0
    assert children.due == 100 + STOPPED_TIME
    assert children.look(100 + STOPPED_TIME - 0.1) == 0
    assert children.look(100 + STOPPED_TIME) == child
    found = os.waitid(os.P_PID, child, os.WEXITED | os.WNOWAIT)
    assert found is not None
    assert found.si_status == signal.SIGKILL


def test_a_child_that_goes_on_in_time_lives(child: int) -> None:
    children = StoppedChildren()
    stop(child)
    children.look(0)
    os.kill(child, signal.SIGCONT)
    os.waitid(os.P_PID, child, os.WCONTINUED | os.WNOWAIT)
    assert children.look(2 * STOPPED_TIME) == 0
    stop(child)
    assert children.look(3 * STOPPED_TIME) == 0  # counted anew


def test_a_loop_is_woken_by_the_kernel_alone(child: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(stopped_children, "STOPPED_TIME", 0.05)

    async def body() -> None:
        killed: asyncio.Future[int] = asyncio.get_running_loop().create_future()
        watching = asyncio.create_task(end_stopped_children(killed.set_result))
        await asyncio.sleep(0)
        stop(child)
        assert await asyncio.wait_for(killed, 20) == child
        watching.cancel()
        await asyncio.wait([watching])
        assert not asyncio.get_running_loop().remove_signal_handler(signal.SIGCHLD)  # the task has

    before = signal.getsignal(signal.SIGCHLD)
    try:
        asyncio.run(body())
    finally:
        signal.signal(signal.SIGCHLD, before)
