import asyncio
import socket
import time
from collections.abc import Awaitable, Callable, Coroutine
from typing import Any

import pytest
from tests.rigs.host.fake_enclave import FakeEnclave

from casemate.host import questions
from casemate.host.entry import EntryGate
from casemate.host.ocalls import Ask, answer_built_in
from casemate.host.questions import KeepState
from casemate.host.state_keeper import StateAnswer, StateQuestion
from casemate.wire.encodings.message import encode_message
from casemate.wire.messages.entry import MAX_OCALL, Enter, Left, Ocall, OcallAnswer, OcallRefused
from casemate.wire.messages.state import (
    STATE_ANSWERS,
    StateAppend,
    StateForget,
    StateRead,
    StateRecords,
    StateRefused,
    StateStored,
)
from casemate.wire.protocol.call import CallBinding, Envelope
from casemate.wire.protocol.faults import Code, fault
from casemate.wire.protocol.sealed_record import MAX_RECORD

ENTER = Enter(Envelope(CallBinding(bytes(32), 1, 1, "main"), b"sealed"))


async def slow(seconds: float) -> bytes:
    await asyncio.sleep(seconds)
    return b'"at last"'


async def slow_and_broken() -> bytes:
    await asyncio.sleep(0)
    raise KeyError("a handler's defect")


def ask(name: str, arguments: bytes) -> bytes | Awaitable[bytes]:
    """This host's own answers, and those of handlers with every defect."""
    match name:
        case "broken":
            raise KeyError("a handler's defect")
        case "slow":
            return slow(float(arguments))
        case "slow_and_broken":
            return slow_and_broken()
    return answer_built_in(name, arguments)


async def keeps_nothing(question: StateQuestion) -> StateAnswer | None:
    if isinstance(question, StateForget):
        return None
    return StateRefused(question.number, fault(Code.UNAVAILABLE, "a test keeps nothing"))


def in_a_call(
    play: Callable[[FakeEnclave], Coroutine[Any, Any, None]],
    keep: KeepState = keeps_nothing,
    ask: Ask = ask,
) -> None:
    """Has ``play`` ask as an enclave that is in the middle of a call; that call must end well."""

    async def run() -> None:
        ours, theirs = socket.socketpair()
        deaths: list[str] = []
        gate = EntryGate(ours, ask, keep, deaths.append, lambda _: None)
        enclave = FakeEnclave(theirs)

        async def whole() -> None:
            await enclave.ready(2)
            number, _ = await enclave.entered(Enter)
            await play(enclave)
            await enclave.reply(number, Left(b"done"))
            await enclave.echo()

        playing = asyncio.create_task(whole())
        try:
            entering = asyncio.create_task(gate.enter(ENTER, Left))
            await asyncio.wait({playing, entering}, timeout=20, return_when=asyncio.FIRST_COMPLETED)
            if playing.done():
                playing.result()
            assert (await entering).sealed == b"done"
            assert (await gate.enter(ENTER, Left)).sealed == b"sealed"
            assert not deaths
        finally:
            playing.cancel()
            gate.close()
            enclave.channel.close()

    asyncio.run(run())


@pytest.mark.parametrize(
    ("name", "arguments", "wanted"),
    [
        ("echo", b'{"a":[1]}', OcallAnswer),
        ("time", b"{}", OcallAnswer),
        ("slow", b"0.01", OcallAnswer),
        ("unknown", b"{}", OcallRefused),
        ("echo", b"{", OcallRefused),
        ("echo", b"[" * 100_000, OcallRefused),
        ("echo", '"{}"'.format("é" * 400_000).encode(), OcallRefused),  # the answer, in ASCII, is beyond the limit
        ("broken", b"{}", OcallRefused),
        ("slow_and_broken", b"{}", OcallRefused),
    ],
)
def test_ocalls_are_answered_or_refused_in_between(name: str, arguments: bytes, wanted: type) -> None:
    async def play(enclave: FakeEnclave) -> None:
        await enclave.tell(Ocall(41, name, arguments))
        said: object = await enclave.answered(OcallAnswer, OcallRefused)
        assert isinstance(said, wanted)
        assert said.number == 41  # type: ignore[attr-defined] # as both have

    in_a_call(play)


def test_a_slow_ocall_delays_neither_other_questions_nor_replies() -> None:
    async def play(enclave: FakeEnclave) -> None:
        began = time.monotonic()
        await enclave.tell(Ocall(1, "slow", b"2"))
        for number in range(2, 12):
            await enclave.tell(Ocall(number, "echo", b"1"))
            assert (await enclave.answered(OcallAnswer)).number == number
            await enclave.tell(StateRead(number, bytes(32), None))
            assert (await enclave.answered(StateRefused)).number == number
        assert time.monotonic() - began < 1

    in_a_call(play)


def test_an_ocall_that_is_answered_after_its_call_costs_the_next_entry_nothing() -> None:
    async def play(enclave: FakeEnclave) -> None:
        await enclave.tell(Ocall(1, "slow", b"0.05"))
        await enclave.tell(Ocall(2, "slow", b"0.1"))
        assert (await enclave.answered(OcallAnswer)).number == 1  # the other's answer comes behind the reply

    async def run() -> None:
        ours, theirs = socket.socketpair()
        deaths: list[str] = []
        gate, enclave = EntryGate(ours, ask, keeps_nothing, deaths.append, lambda _: None), FakeEnclave(theirs)
        await enclave.ready()
        entering = asyncio.create_task(gate.enter(ENTER, Left))
        number, _ = await enclave.entered(Enter)
        await play(enclave)
        await enclave.reply(number, Left(b"time is up"))
        assert (await entering).sealed == b"time is up"
        assert (await enclave.answered(OcallAnswer)).number == 2
        echoing = asyncio.create_task(enclave.echo())
        assert (await gate.enter(ENTER, Left)).sealed == b"sealed"
        assert not deaths
        echoing.cancel()
        gate.close()
        enclave.channel.close()

    asyncio.run(asyncio.wait_for(run(), 10))


def test_questions_about_the_state_are_answered_in_their_order_and_forgetting_gets_no_answer() -> None:
    begun: list[StateQuestion] = []

    async def keep(question: StateQuestion) -> StateAnswer | None:
        begun.append(question)
        await asyncio.sleep(0.05 if len(begun) % 2 else 0)  # the first ones take longer
        assert begun[-1] is question  # one at a time
        match question:
            case StateAppend(number):
                return StateStored(number)
            case StateRead(number):
                return StateRecords(number, ())
            case StateForget():
                return None

    asked = [
        StateAppend(1, b"record"),
        StateForget(bytes(32), b"a" * 32),
        StateRead(2, bytes(32), None),
        StateForget(bytes(32), b"b" * 32),
        StateAppend(3, b"record"),
        StateRead(4, bytes(32), None),
    ]

    async def play(enclave: FakeEnclave) -> None:
        for question in asked:
            await enclave.tell(question)
        said: list[Any] = [await enclave.answered(*STATE_ANSWERS) for _ in range(4)]
        assert [answer.number for answer in said] == [1, 2, 3, 4]
        assert begun == asked

    in_a_call(play, keep)


def test_a_defect_of_the_keeper_is_a_refusal_and_the_next_question_is_answered() -> None:
    async def keep(question: StateQuestion) -> StateAnswer | None:
        if isinstance(question, StateAppend):
            return StateStored(question.number)
        raise KeyError("a defect")

    async def play(enclave: FakeEnclave) -> None:
        await enclave.tell(StateForget(bytes(32), bytes(32)))
        await enclave.tell(StateRead(1, bytes(32), None))
        refused = await enclave.answered(StateRefused)
        assert (refused.number, refused.fault.code) == (1, Code.INTERNAL)
        await enclave.tell(StateAppend(2, b"record"))
        assert (await enclave.answered(StateStored)).number == 2

    in_a_call(play, keep)


def test_an_answer_about_the_state_that_is_too_long_is_a_refusal() -> None:
    async def keep(question: StateQuestion) -> StateAnswer | None:
        assert isinstance(question, StateRead)
        return StateRecords(question.number, (bytes(MAX_RECORD + 1),))

    async def play(enclave: FakeEnclave) -> None:
        await enclave.tell(StateRead(1, bytes(32), None))
        assert (await enclave.answered(StateRefused)).number == 1

    in_a_call(play, keep)


@pytest.mark.parametrize("most", ["MAX_QUESTIONS", "MAX_HELD"])
def test_beyond_a_number_or_so_many_bytes_of_questions_nothing_more_is_read(
    most: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    under_way = highest = 0

    async def counted() -> bytes:
        nonlocal under_way, highest
        under_way += 1
        highest = max(highest, under_way)
        await asyncio.sleep(0.02)
        under_way -= 1
        return b"null"

    async def play(enclave: FakeEnclave) -> None:
        nonlocal highest
        for _ in range(2):  # what is answered makes room again
            highest = 0
            for number in range(1, 21):
                await enclave.tell(Ocall(number, "counted", b"[1]"))
            for _ in range(20):
                await enclave.answered(OcallAnswer)
            assert highest == 4

    size = len(encode_message(Ocall(1, "counted", b"[1]")))
    monkeypatch.setattr(questions, most, 4 if most == "MAX_QUESTIONS" else 4 * size + 1)
    in_a_call(play, ask=lambda _name, _arguments: counted())


def test_one_question_may_be_longer_than_all_together(monkeypatch: pytest.MonkeyPatch) -> None:
    async def play(enclave: FakeEnclave) -> None:
        for number in (1, 2):
            await enclave.tell(Ocall(number, "echo", b'"' + b"1" * (MAX_OCALL // 2) + b'"'))
            assert (await enclave.answered(OcallAnswer)).number == number

    monkeypatch.setattr(questions, "MAX_HELD", 10)
    in_a_call(play)


def test_answers_that_are_under_way_end_with_their_enclave() -> None:
    ended: list[str] = []

    async def endless() -> bytes:
        try:
            await asyncio.sleep(30)
        finally:
            ended.append("it")
        return b"null"

    async def run() -> None:
        ours, theirs = socket.socketpair()
        gate = EntryGate(ours, lambda _name, _arguments: endless(), keeps_nothing, lambda _: None, lambda _: None)
        enclave = FakeEnclave(theirs)
        await enclave.ready()
        await enclave.tell(Ocall(1, "endless", b"{}"))
        await asyncio.sleep(0.02)
        gate.close()
        await asyncio.sleep(0.02)
        assert ended == ["it"]
        enclave.channel.close()

    asyncio.run(asyncio.wait_for(run(), 10))
