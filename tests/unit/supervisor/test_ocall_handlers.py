"""The process of the operator's handlers, as the supervisor keeps it: loaded, linked with the host, started anew."""

import asyncio
import contextlib
import os
import signal
import socket
from collections.abc import AsyncIterator, Awaitable, Callable
from pathlib import Path

import pytest

from casemate.link.async_channel import AsyncChannel
from casemate.link.calls import Caller
from casemate.supervisor import ocall_handlers
from casemate.supervisor.errors import MachineError
from casemate.supervisor.machine_log import MachineLog
from casemate.supervisor.ocall_handlers import OcallHandlers
from casemate.wire.encodings.message import parse_message
from casemate.wire.messages.ocalls import AskHandler, Asking, HandlerAnswer, TakeHandlers
from casemate.wire.protocol.faults import FaultError

ASKING = Asking(1, "hello", bytes(32), bytes(32), 1, 1, debug=False)
PATIENCE = 30.0
SOURCE = """
import os, re, sys, time
def rates(argument): return {"usd": 1.08}
def variable(argument): return os.environ.get(argument)
def prints(argument):
    print("printed", flush=True)
    os.write(1, b"written\\n")
def dies(argument): os._exit(7)
def holds(argument): re.match(r"(a+)+$", "a" * 40 + "b")  # keeps the interpreter's lock
async def blocks(argument): time.sleep(60)
"""


class FakeHost:
    """A host's end: takes each link to the handlers, and asks over the last one."""

    def __init__(self) -> None:
        ours, self.supervisors_end = socket.socketpair()
        self._control = AsyncChannel(ours)
        self._channels = [self._control]
        self._running: list[asyncio.Task[None]] = []
        self._caller: Caller | None = None
        self.names: tuple[str, ...] = ()

    async def linked(self) -> None:
        """Waits for the next link."""
        frame = await self._control.receive()
        self.names = parse_message(frame.payload, TakeHandlers).names
        (descriptor,) = frame.descriptors
        self._channels.append(AsyncChannel(socket.socket(fileno=descriptor)))
        self._caller = Caller(self._channels[-1])
        self._running.append(asyncio.create_task(self._caller.run()))

    def close(self) -> None:
        for channel in self._channels:
            channel.close()
        self.supervisors_end.close()

    async def ask(self, name: str, argument: bytes = b"null") -> bytes:
        assert self._caller is not None
        question = AskHandler(name, argument, ASKING, b"{}", 2000)
        return (await self._caller.call(question, HandlerAnswer, timeout=PATIENCE))[0].answer


class Trial:
    """Handlers of a machine, and a host that asks them."""

    def __init__(self, folder: Path) -> None:
        self.module = folder / "operators_answers.py"
        self.module.write_text(SOURCE)
        self.machine_log = folder / "machine.log"
        self.log = folder / "ocalls.log"
        self._machine_log = MachineLog(self.machine_log)
        self.handlers = OcallHandlers(self.module, folder, self._machine_log)
        self.host = FakeHost()

    async def close(self) -> None:
        await self.handlers.end()
        self.host.close()
        self._machine_log.close()
        assert not self.handlers.shown.pid

    async def start(self) -> None:
        await self.handlers.start()
        await self.handlers.serve_host(self.host.supervisors_end)
        await self.host.linked()

    @contextlib.asynccontextmanager
    async def kept_running(self) -> AsyncIterator[None]:
        await self.start()
        keeping = asyncio.create_task(self.handlers.keep_running())
        try:
            yield
        finally:
            keeping.cancel()
            await asyncio.wait({keeping})


@pytest.fixture
def trial(tmp_path: Path) -> Trial:
    tmp_path.chmod(0o700)
    return Trial(tmp_path)


def run(trial: Trial, play: Callable[[], Awaitable[None]]) -> None:
    async def whole() -> None:
        try:
            await asyncio.wait_for(play(), PATIENCE)
        finally:
            await trial.close()

    asyncio.run(whole())


async def until(condition: Callable[[], bool]) -> None:
    while not condition():  # noqa: ASYNC110 - files that other processes write
        await asyncio.sleep(0.02)


def test_a_host_is_told_the_names_and_gets_answers(trial: Trial, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("RATES_URL", "https://rates.example")  # the operator's code may need what its shell has

    async def play() -> None:
        await trial.start()
        assert trial.host.names == trial.handlers.names
        assert trial.host.names == ("blocks", "dies", "holds", "prints", "rates", "variable")
        assert await trial.host.ask("rates") == b'{"usd":1.08}'
        assert await trial.host.ask("variable", b'"RATES_URL"') == b'"https://rates.example"'
        with pytest.raises(FaultError, match="there is none"):
            await trial.host.ask("other")

    run(trial, play)


def test_what_handlers_print_is_in_their_own_log(trial: Trial) -> None:
    async def play() -> None:
        await trial.start()
        await trial.host.ask("prints")
        await until(lambda: "handlers| written" in trial.machine_log.read_text())
        assert "handlers.stdout INFO printed\n" in trial.log.read_text()
        assert "printed" not in trial.machine_log.read_text()

    run(trial, play)


@pytest.mark.parametrize(
    ("source", "words"),
    [
        ("1 / 0", "line 1, in <module>\n    1 / 0\n    ~~^~~\nZeroDivisionError"),
        ("import os; os._exit(4)", "the handlers ended with 4"),
        ("", "defines no handler"),
    ],
)
def test_a_module_that_does_not_load_is_refused_with_its_trace(trial: Trial, source: str, words: str) -> None:
    trial.module.write_text(source)

    async def play() -> None:
        with pytest.raises(MachineError) as refusal:
            await trial.handlers.start()
        assert words in str(refusal.value)
        assert str(trial.module) in str(refusal.value)

    run(trial, play)


def test_a_module_that_hangs_is_given_up_and_the_log_shows_where(trial: Trial, monkeypatch: pytest.MonkeyPatch) -> None:
    trial.module.write_text("import time\ntime.sleep(60)\ndef rates(argument): pass\n")
    monkeypatch.setattr(ocall_handlers, "LOAD_TIMEOUT", 3.0)

    async def play() -> None:
        with pytest.raises(MachineError, match="was not loaded within 3 s"):
            await trial.handlers.start()
        await until(lambda: f'"{trial.module}", line 2' in trial.machine_log.read_text())

    run(trial, play)


@pytest.mark.parametrize("killed", [False, True])
def test_handlers_that_die_are_started_anew_and_linked_again(trial: Trial, *, killed: bool) -> None:
    async def play() -> None:
        async with trial.kept_running():
            for restarts in (1, 2):
                if killed:
                    os.kill(trial.handlers.shown.pid, signal.SIGKILL)
                else:
                    with pytest.raises(Exception, match=r"closed|receive"):
                        await trial.host.ask("dies")
                await trial.host.linked()
                assert await trial.host.ask("rates") == b'{"usd":1.08}'
                assert trial.handlers.shown.restarts == restarts
        assert (
            "the handlers " + ("was killed by SIGKILL" if killed else "ended with 7") in trial.machine_log.read_text()
        )

    run(trial, play)


@pytest.mark.parametrize("name", ["holds", "blocks"])
def test_handlers_that_block_their_process_are_started_anew_and_the_log_shows_where(
    trial: Trial, monkeypatch: pytest.MonkeyPatch, name: str
) -> None:
    monkeypatch.setattr(ocall_handlers, "CHECK_PERIOD", 0.2)
    monkeypatch.setattr(ocall_handlers, "CHECK_TIMEOUT", 3.0)

    async def play() -> None:
        async with trial.kept_running():
            asking = asyncio.create_task(trial.host.ask(name))
            await trial.host.linked()
            with pytest.raises(Exception, match=r"no answer within|closed|receive"):
                await asking
            assert await trial.host.ask("rates") == b'{"usd":1.08}'
            line = 1 + SOURCE.splitlines().index(next(each for each in SOURCE.splitlines() if f"def {name}" in each))
            assert f'"{trial.module}", line {line} in {name}' in trial.machine_log.read_text()
            assert "were silent for 3 s" in trial.machine_log.read_text()

    run(trial, play)


def test_a_module_that_was_broken_meanwhile_is_tried_until_it_loads(trial: Trial) -> None:
    async def play() -> None:
        async with trial.kept_running():
            trial.module.write_text("1 / 0")
            os.kill(trial.handlers.shown.pid, signal.SIGKILL)
            await until(lambda: "were not started anew" in trial.machine_log.read_text())
            trial.module.write_text("def limits(argument): return 3\n")
            await trial.host.linked()
            assert trial.host.names == trial.handlers.names == ("limits",)
            assert await trial.host.ask("limits") == b"3"

    run(trial, play)


def test_a_new_host_is_linked_to_the_same_process(trial: Trial) -> None:
    async def play() -> None:
        await trial.start()
        before = trial.handlers.shown.pid
        other = FakeHost()
        await trial.handlers.serve_host(other.supervisors_end)
        await other.linked()
        assert await other.ask("rates") == b'{"usd":1.08}'
        assert trial.handlers.shown.pid == before
        other.close()

    run(trial, play)
