"""The operator's handlers as a host asks them: who asks gets an answer in time, whatever becomes of their process."""

import asyncio
import contextlib
import inspect
import json
import socket
import time
from collections.abc import AsyncIterator, Awaitable, Callable

import pytest

from casemate.host import ocall_handlers
from casemate.host.ocall_handlers import SHARE, OcallHandlers
from casemate.host.ocall_terms import OcallTerms
from casemate.host.ocalls import Ask
from casemate.link.async_channel import AsyncChannel
from casemate.link.calls import Reply, serve
from casemate.wire.encodings.message import encode_message, parse_message
from casemate.wire.messages.host import EnclaveIs
from casemate.wire.messages.ocalls import AT_ONCE, AskHandler, Asking, HandlerAnswer, TakeHandlers
from casemate.wire.protocol.faults import Code, FaultError, refuse
from casemate.wire.protocol.lifecycle import State
from casemate.wire.protocol.tee import Tee

TERMS = OcallTerms(500, {"rates": b'{"type":"object"}', "time": b"{}"})


def enclave(number: int) -> EnclaveIs:
    return EnclaveIs(
        enclave=number,
        name="hello",
        mr_enclave=b"\x11" * 32,
        mr_signer=b"\x22" * 32,
        isv_prod_id=7,
        isv_svn=2,
        debug=False,
        state=State.RUNNING,
        reason="",
        image=bytes(32),
        tee=Tee.SGX,
    )


class FakeSupervisor:
    """Gives a host its handlers, and plays them."""

    def __init__(self) -> None:
        ours, theirs = socket.socketpair()
        self._control = AsyncChannel(ours)
        self.handlers = OcallHandlers(AsyncChannel(theirs))
        self.asked: list[AskHandler] = []
        self.release = asyncio.Event()
        self.release.set()
        self._serving: list[asyncio.Task[None]] = []
        self._channels: list[AsyncChannel] = []

    async def give(self, *names: str) -> None:
        """A new process of handlers."""
        theirs, ours = socket.socketpair()
        with theirs:
            await self._control.send(encode_message(TakeHandlers(names)), (theirs.fileno(),))
        channel = AsyncChannel(ours)
        self._channels.append(channel)
        self._serving.append(asyncio.create_task(serve(channel, self._answer, at_once=AT_ONCE)))

    def kill(self) -> None:
        """Ends the last process of handlers."""
        self._channels[-1].close()

    def close(self) -> None:
        for channel in (self._control, *self._channels):
            channel.close()

    async def _answer(self, message: bytes) -> Reply:
        question = parse_message(message, AskHandler)
        self.asked.append(question)
        await self.release.wait()
        if question.arguments == b'"raise"':
            raise refuse(Code.OCALL_REFUSED, "the handler's fault")
        return Reply(HandlerAnswer(question.arguments))


@contextlib.asynccontextmanager
async def supervised() -> AsyncIterator[FakeSupervisor]:
    supervisor = FakeSupervisor()
    running = asyncio.create_task(supervisor.handlers.run())
    try:
        yield supervisor
    finally:
        running.cancel()
        supervisor.close()
        await asyncio.wait({running})
        await asyncio.sleep(0)


async def said(ask: Ask, name: str, argument: object = None) -> bytes:
    answer = ask(name, json.dumps(argument).encode())
    return await answer if inspect.isawaitable(answer) else answer


def run(play: Callable[[FakeSupervisor, Ask], Awaitable[None]], terms: OcallTerms = TERMS) -> None:
    async def whole() -> None:
        async with supervised() as supervisor:
            await play(supervisor, supervisor.handlers.ask_for(enclave(3), terms))

    asyncio.run(asyncio.wait_for(whole(), 20))


def test_handlers_are_asked_with_what_they_need_to_know() -> None:
    async def play(supervisor: FakeSupervisor, ask: Ask) -> None:
        await supervisor.give("rates")
        assert await said(ask, "rates", {"a": 1}) == b'{"a": 1}'
        (question,) = supervisor.asked
        assert question.asking == Asking(3, "hello", b"\x11" * 32, b"\x22" * 32, 7, 2, debug=False)
        assert question.schema == b'{"type":"object"}'
        assert 0 < question.time_ms <= 500

    run(play)


def test_what_they_do_not_answer_the_host_does() -> None:
    async def play(supervisor: FakeSupervisor, ask: Ask) -> None:
        waiting = asyncio.create_task(said(ask, "time"))
        await asyncio.sleep(0)
        await supervisor.give("rates")
        assert "unix_ms" in json.loads(await waiting)
        assert "unix_ms" in json.loads(await said(ask, "time"))
        with pytest.raises(FaultError, match="no OCALL 'limits'"):
            await said(ask, "limits")
        assert not supervisor.asked

    run(play)


def test_they_answer_what_the_host_would_answer_otherwise() -> None:
    async def play(supervisor: FakeSupervisor, ask: Ask) -> None:
        await supervisor.give("time")
        assert await said(ask, "time", "mine") == b'"mine"'

    run(play)


def test_a_refusal_is_passed_on() -> None:
    async def play(supervisor: FakeSupervisor, ask: Ask) -> None:
        await supervisor.give("rates")
        with pytest.raises(FaultError, match="the handler's fault"):
            await said(ask, "rates", "raise")

    run(play)


def test_a_silent_process_costs_the_calls_time_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(ocall_handlers, "MARGIN", 0.05)

    async def play(supervisor: FakeSupervisor, ask: Ask) -> None:
        await supervisor.give("rates")
        supervisor.release.clear()
        began = time.monotonic()
        with pytest.raises(FaultError, match="no answer within 100 ms") as refusal:
            await said(ask, "rates")
        assert refusal.value.fault.code is Code.OCALL_REFUSED
        assert time.monotonic() - began < 2

    run(play, OcallTerms(100, TERMS.schemas))


def test_calls_wait_for_a_process_that_is_started_anew_and_no_longer_than_their_time() -> None:
    async def play(supervisor: FakeSupervisor, ask: Ask) -> None:
        with pytest.raises(FaultError, match="no answer within 500 ms"):
            await said(ask, "rates")
        waiting = asyncio.create_task(said(ask, "rates", 1))
        await asyncio.sleep(0.05)
        await supervisor.give("rates")
        assert await waiting == b"1"

    run(play)


def test_a_process_that_ends_refuses_its_calls_and_the_next_one_answers() -> None:
    async def play(supervisor: FakeSupervisor, ask: Ask) -> None:
        await supervisor.give("rates")
        supervisor.release.clear()
        waiting = asyncio.create_task(said(ask, "rates", 1))
        while not supervisor.asked:  # noqa: ASYNC110 - a list that another task fills
            await asyncio.sleep(0.01)
        supervisor.kill()
        with pytest.raises(FaultError, match="ended over OCALL 'rates'"):
            await waiting
        supervisor.release.set()
        await supervisor.give("rates")
        assert await said(ask, "rates", 2) == b"2"

    run(play)


def test_no_enclave_keeps_the_handlers_from_the_others() -> None:
    async def play(supervisor: FakeSupervisor, ask: Ask) -> None:
        await supervisor.give("rates")
        supervisor.release.clear()
        greedy = [asyncio.create_task(said(ask, "rates", at)) for at in range(3 * AT_ONCE)]
        other = supervisor.handlers.ask_for(enclave(4), OcallTerms(5000, TERMS.schemas))
        while len(supervisor.asked) < SHARE:  # noqa: ASYNC110 - a list that another task fills
            await asyncio.sleep(0.01)
        modest = asyncio.create_task(said(other, "rates", "modest"))
        while len(supervisor.asked) <= SHARE:  # noqa: ASYNC110
            await asyncio.sleep(0.01)
        await asyncio.sleep(0.05)
        assert [each.asking.enclave for each in supervisor.asked] == [3] * SHARE + [4]
        supervisor.release.set()
        assert await modest == b'"modest"'
        assert await asyncio.gather(*greedy) == [b"%d" % at for at in range(3 * AT_ONCE)]

    run(play, OcallTerms(10_000, TERMS.schemas))
