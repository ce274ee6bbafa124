import asyncio
import socket
from collections.abc import Awaitable, Callable, Coroutine
from typing import Any

import pytest

from casemate.host import entry, entry_queue
from casemate.host.entry import EntryGate
from casemate.host.entry_queue import CALLER
from casemate.host.ocalls import BUILT_IN
from casemate.host.state_keeper import StateQuestion
from casemate.link.async_channel import AsyncChannel
from casemate.wire.encodings.message import encode_message, parse_message
from casemate.wire.messages.entry import Challenge, Enter, Left, Ocall, OcallAnswer, OcallRefused
from casemate.wire.messages.state import StateForget, StateRead, StateRefused
from casemate.wire.protocol.call import CallBinding, Envelope
from casemate.wire.protocol.faults import Code, FaultError, fault

ENTER = Enter(Envelope(CallBinding(bytes(32), 1, 1, "main"), b"sealed"))


def broken(_arguments: object) -> None:
    raise KeyError("a handler's defect")


async def keeps_nothing(question: StateQuestion) -> StateRefused | None:
    if isinstance(question, StateForget):
        return None
    return StateRefused(question.number, fault(Code.UNAVAILABLE, "a test keeps nothing"))


def with_enclave(
    play: Callable[[AsyncChannel], Coroutine[Any, Any, None]], body: Callable[[EntryGate, list[str]], Awaitable[None]]
) -> None:
    """Runs ``body`` against a gate whose enclave is played by ``play``."""

    async def run() -> None:
        ours, theirs = socket.socketpair()
        deaths: list[str] = []
        gate = EntryGate(ours, {**BUILT_IN, "broken": broken}, keeps_nothing, deaths.append)
        enclave = AsyncChannel(theirs)
        playing = asyncio.create_task(play(enclave))
        try:
            await asyncio.wait_for(body(gate, deaths), 10)
        finally:
            playing.cancel()
            gate.close()
            enclave.close()

    asyncio.run(run())


async def echo(enclave: AsyncChannel) -> None:
    while True:
        entered = parse_message((await enclave.receive()).payload, Enter)
        await asyncio.sleep(0.02)
        await enclave.send(encode_message(Left(entered.envelope.sealed)))


def refusal(code: Code) -> Callable[[EntryGate, list[str]], Awaitable[None]]:
    async def body(gate: EntryGate, deaths: list[str]) -> None:
        with pytest.raises(FaultError) as refused:
            await gate.enter(ENTER, Left)
        assert refused.value.fault.code is code
        assert len(deaths) == 1

    return body


def test_entries_take_turns_and_each_gets_its_reply() -> None:
    async def body(gate: EntryGate, _: list[str]) -> None:
        enters = [Enter(Envelope(CallBinding(bytes(32), 1, n, "main"), bytes((n,)))) for n in range(10)]
        replies = await asyncio.gather(*(gate.enter(enter, Left) for enter in enters))
        assert [reply.sealed for reply in replies] == [bytes((n,)) for n in range(10)]

    with_enclave(echo, body)


def test_an_abandoned_entry_does_not_lend_its_reply_to_the_next() -> None:
    async def body(gate: EntryGate, deaths: list[str]) -> None:
        with pytest.raises(TimeoutError):
            await asyncio.wait_for(gate.enter(ENTER, Left), 0.001)
        later = Enter(Envelope(CallBinding(bytes(32), 1, 2, "main"), b"later"))
        assert (await gate.enter(later, Left)).sealed == b"later"
        assert not deaths

    with_enclave(echo, body)


def test_a_refusal_of_the_enclave_is_passed_on_and_it_lives() -> None:
    async def play(enclave: AsyncChannel) -> None:
        await enclave.receive()
        await enclave.send(encode_message(fault(Code.SEQUENCE_USED, "used")))
        await echo(enclave)

    async def body(gate: EntryGate, deaths: list[str]) -> None:
        with pytest.raises(FaultError, match="sequence-used"):
            await gate.enter(ENTER, Left)
        assert (await gate.enter(ENTER, Left)).sealed == b"sealed"
        assert not deaths

    with_enclave(play, body)


def test_a_dead_enclave_is_reported_once() -> None:
    async def play(enclave: AsyncChannel) -> None:
        await enclave.receive()
        enclave.close()

    with_enclave(play, refusal(Code.LOST))


def test_an_enclave_that_sends_junk_is_given_up() -> None:
    async def play(enclave: AsyncChannel) -> None:
        await enclave.receive()
        await enclave.send(encode_message(Challenge(bytes(32), bytes(512))))

    with_enclave(play, refusal(Code.LOST))


def test_a_silent_enclave_is_given_up_in_time(monkeypatch: pytest.MonkeyPatch) -> None:
    async def play(enclave: AsyncChannel) -> None:
        await enclave.receive()
        await asyncio.sleep(30)

    monkeypatch.setattr(entry, "ENTRY_TIMEOUT", 0.1)
    with_enclave(play, refusal(Code.TIMED_OUT))


def test_more_entries_than_may_wait_are_refused_as_busy(monkeypatch: pytest.MonkeyPatch) -> None:
    async def body(gate: EntryGate, _: list[str]) -> None:
        outcomes = await asyncio.gather(*(gate.enter(ENTER, Left) for _ in range(8)), return_exceptions=True)
        busy = [outcome for outcome in outcomes if isinstance(outcome, FaultError)]
        assert len(busy) == 4
        assert all(outcome.fault.code is Code.BUSY for outcome in busy)

    monkeypatch.setattr(entry_queue, "MAX_WAITING", 4)
    with_enclave(echo, body)


def test_entries_whose_callers_have_left_are_never_made() -> None:
    made: list[bytes] = []

    async def play(enclave: AsyncChannel) -> None:
        while True:
            entered = parse_message((await enclave.receive()).payload, Enter)
            made.append(entered.envelope.sealed)
            await asyncio.sleep(0.01)
            await enclave.send(encode_message(Left(entered.envelope.sealed)))

    async def body(gate: EntryGate, deaths: list[str]) -> None:
        first = asyncio.create_task(gate.enter(numbered(b"first"), Left))
        await asyncio.sleep(0)
        await asyncio.sleep(0)
        leaving = [asyncio.create_task(gate.enter(numbered(b"gone"), Left)) for _ in range(30)]
        last = asyncio.create_task(gate.enter(numbered(b"last"), Left))
        await asyncio.sleep(0)
        for task in leaving:
            task.cancel()
        assert (await last).sealed == b"last"
        assert (await first).sealed == b"first"
        assert made == [b"first", b"last"]
        assert not deaths

    with_enclave(play, body)


def test_a_caller_with_many_calls_delays_another_by_one() -> None:
    order: list[bytes] = []

    async def body(gate: EntryGate, _: list[str]) -> None:
        async def call(caller: str, text: bytes) -> None:
            CALLER.set(caller)
            order.append((await gate.enter(numbered(text), Left)).sealed)

        greedy = [asyncio.create_task(call("token greedy", b"greedy")) for _ in range(10)]
        await asyncio.sleep(0)
        await asyncio.gather(asyncio.create_task(call("token modest", b"modest")), *greedy)
        assert order.index(b"modest") <= 2

    with_enclave(echo, body)


def numbered(text: bytes) -> Enter:
    return Enter(Envelope(CallBinding(bytes(32), 1, 1, "main"), text))


@pytest.mark.parametrize(
    ("name", "arguments", "wanted"),
    [
        ("echo", b'{"a":[1]}', OcallAnswer),
        ("time", b"{}", OcallAnswer),
        ("unknown", b"{}", OcallRefused),
        ("echo", b"{", OcallRefused),
        ("echo", b"[" * 100_000, OcallRefused),
        ("echo", '"{}"'.format("é" * 400_000).encode(), OcallRefused),  # the answer, in ASCII, is beyond the limit
        ("broken", b"{}", OcallRefused),
    ],
)
def test_ocalls_are_answered_or_refused_in_between(name: str, arguments: bytes, wanted: type) -> None:
    async def play(enclave: AsyncChannel) -> None:
        await enclave.receive()
        await enclave.send(encode_message(Ocall(41, name, arguments)))
        said: object = parse_message((await enclave.receive()).payload, OcallAnswer, OcallRefused)
        assert isinstance(said, wanted)
        assert said.number == 41  # type: ignore[attr-defined] # as both have
        await enclave.send(encode_message(Left(type(said).__name__.encode())))

    async def body(gate: EntryGate, deaths: list[str]) -> None:
        assert (await gate.enter(ENTER, Left)).sealed == wanted.__name__.encode()
        assert not deaths

    with_enclave(play, body)


def test_an_ocall_that_is_answered_after_its_call_costs_the_next_entry_nothing() -> None:
    """The call's time ends between question and answer, so the enclave says nothing to the answer."""

    async def play(enclave: AsyncChannel) -> None:
        await enclave.receive()
        await enclave.send(encode_message(Ocall(1, "time", b"{}")))
        await enclave.send(encode_message(Left(b"time is up")))
        assert parse_message((await enclave.receive()).payload, OcallAnswer).number == 1
        await echo(enclave)

    async def body(gate: EntryGate, deaths: list[str]) -> None:
        assert (await gate.enter(ENTER, Left)).sealed == b"time is up"
        assert (await gate.enter(ENTER, Left)).sealed == b"sealed"
        assert not deaths

    with_enclave(play, body)


def test_a_question_about_the_state_gets_the_keepers_answer_and_the_entry_goes_on() -> None:
    async def asks(enclave: AsyncChannel) -> None:
        await enclave.receive()
        await enclave.send(encode_message(StateRead(7, bytes(32), None)))
        said = parse_message((await enclave.receive()).payload, StateRefused)
        await enclave.send(encode_message(Left(str(said.number).encode())))

    async def body(gate: EntryGate, _: list[str]) -> None:
        assert (await gate.enter(ENTER, Left)).sealed == b"7"

    with_enclave(asks, body)


def test_forgetting_gets_no_answer() -> None:
    async def tells(enclave: AsyncChannel) -> None:
        await enclave.receive()
        await enclave.send(encode_message(StateForget(bytes(32), bytes(32))))
        await enclave.send(encode_message(Left(b"left")))

    async def body(gate: EntryGate, _: list[str]) -> None:
        assert (await gate.enter(ENTER, Left)).sealed == b"left"

    with_enclave(tells, body)
