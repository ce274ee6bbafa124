import asyncio
import contextlib
import logging
import socket
import threading
import time
from collections.abc import Awaitable, Callable, Coroutine
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from tests.rigs.host.fake_enclave import FakeEnclave

from casemate.host import entry, entry_queue
from casemate.host.entry import EntryGate
from casemate.host.entry_queue import CALLER
from casemate.host.ocalls import answer_built_in
from casemate.host.state_keeper import StateQuestion
from casemate.link.errors import PeerGoneError
from casemate.link.frames import header
from casemate.link.numbered_frames import MAX_NUMBER, NEWS, numbered
from casemate.wire.encodings.message import encode_message
from casemate.wire.errors import WireError
from casemate.wire.messages.entry import (
    MAX_CALLS,
    MAX_OTHERS,
    Challenge,
    ChallengeAnswer,
    Enter,
    EntryUsage,
    Left,
    Log,
    Noticed,
    PlainEnter,
    PlainLeft,
    Ready,
    Used,
)
from casemate.wire.messages.state import StateRefused
from casemate.wire.messages.tls import TlsBytes, TlsReply
from casemate.wire.protocol.call import CallBinding, Envelope
from casemate.wire.protocol.faults import Code, FaultError, fault
from casemate.wire.protocol.manifest import Monitored, Reaction
from casemate.wire.protocol.sandbox_layers import SandboxLayers

Play = Callable[[FakeEnclave], Coroutine[Any, Any, None]]
Body = Callable[[EntryGate, list[str]], Awaitable[None]]


def sealed(text: bytes = b"sealed", session: int = 1) -> Enter:
    return Enter(Envelope(CallBinding(bytes(32), session, 1, "main"), text))


ENTER = sealed()
CHALLENGE = Challenge(bytes(32), bytes(512))
CHALLENGED = ChallengeAnswer(b"report", bytes(32), bytes(32), SandboxLayers((), ()), 7)


async def keeps_nothing(question: StateQuestion) -> StateRefused | None:
    raise AssertionError(question)


def with_enclave(play: Play, body: Body) -> None:
    """Runs ``body`` against a gate whose enclave is played by ``play``."""

    async def run() -> None:
        ours, theirs = socket.socketpair()
        deaths: list[str] = []
        gate = EntryGate(ours, answer_built_in, keeps_nothing, deaths.append, logging.getLogger("console").info)
        enclave = FakeEnclave(theirs)
        playing = asyncio.create_task(play(enclave))
        try:
            await asyncio.wait_for(body(gate, deaths), 10)
        finally:
            playing.cancel()
            gate.close()
            enclave.channel.close()
            (said,) = await asyncio.gather(playing, return_exceptions=True)
        if isinstance(said, AssertionError):
            raise said

    asyncio.run(run())


def answers_after(seconds: float, concurrent: int = 1) -> Play:
    """An enclave that works on each call for that long, one after the other."""

    async def play(enclave: FakeEnclave) -> None:
        await enclave.ready(concurrent)
        while True:
            number, entered = await enclave.entered(Enter)
            await asyncio.sleep(seconds)
            await enclave.reply(number, Left(entered.envelope.sealed))

    return play


def refusal(code: Code, match: str = "", message: object = ENTER) -> Body:
    async def body(gate: EntryGate, deaths: list[str]) -> None:
        with pytest.raises(FaultError, match=match) as refused:
            await gate.enter(message, Left)
        assert refused.value.fault.code is code
        assert len(deaths) == 1
        with pytest.raises(FaultError) as again:
            await gate.enter(message, Left)
        assert again.value.fault.code is Code.LOST
        assert len(deaths) == 1

    return body


async def begun(*entries: Coroutine[Any, Any, Any]) -> list[asyncio.Task[Any]]:
    """Tasks that have entered the gate, in this order."""
    tasks = []
    for coroutine in entries:
        tasks.append(asyncio.create_task(coroutine))
        await asyncio.sleep(0)
    return tasks


# The window, and replies in any order


def test_entries_are_answered_in_any_order_and_each_gets_its_own_reply() -> None:
    async def play(enclave: FakeEnclave) -> None:
        await enclave.ready(10)
        entered = [await enclave.entered(Enter) for _ in range(10)]
        for number, each in reversed(entered):
            await enclave.reply(number, Left(each.envelope.sealed))

    async def body(gate: EntryGate, deaths: list[str]) -> None:
        replies = await asyncio.gather(*(gate.enter(sealed(bytes((n,))), Left) for n in range(10)))
        assert [reply.sealed for reply in replies] == [bytes((n,)) for n in range(10)]
        assert not deaths

    with_enclave(play, body)


@pytest.mark.parametrize("concurrent", [1, 3, MAX_CALLS])
def test_as_many_calls_are_under_way_as_the_enclave_is_ready_for(concurrent: int) -> None:
    most = 0

    async def play(enclave: FakeEnclave) -> None:
        nonlocal most
        await enclave.ready(concurrent)
        held: list[int] = []
        while True:
            try:
                held.append((await asyncio.wait_for(enclave.entered(Enter, PlainEnter), 0.1))[0])
                most = max(most, len(held))
            except TimeoutError:  # that is all that it is given
                for number in held:
                    await enclave.reply(number, Left(b""))
                held.clear()

    async def body(gate: EntryGate, deaths: list[str]) -> None:
        calls = [gate.enter(sealed(session=n), Left) for n in range(concurrent)]
        tasks = await begun(*calls)
        CALLER.set("another, with a share of its own")
        plain = [gate.enter(PlainEnter("main", b"{}"), Left) for _ in range(2)]  # this enclave answers all alike
        await asyncio.gather(*tasks, *plain)
        assert most == concurrent
        assert not deaths

    with_enclave(play, body)


def test_nothing_is_entered_before_the_enclave_is_ready() -> None:
    async def play(enclave: FakeEnclave) -> None:
        with pytest.raises(TimeoutError):
            await asyncio.wait_for(enclave.entered(Enter, Challenge), 0.1)
        await enclave.ready(2)
        for _ in range(2):
            number, entered = await enclave.entered(Enter, Challenge)
            await enclave.reply(number, Left(b"") if isinstance(entered, Enter) else CHALLENGED)

    async def body(gate: EntryGate, deaths: list[str]) -> None:
        await asyncio.gather(gate.enter(ENTER, Left), gate.enter(CHALLENGE, ChallengeAnswer))
        assert not deaths

    with_enclave(play, body)


def test_challenges_and_tls_do_not_wait_behind_calls() -> None:
    async def play(enclave: FakeEnclave) -> None:
        await enclave.ready(1)
        call, _ = await enclave.entered(Enter)
        for _ in range(2):
            number, entered = await enclave.entered(Challenge, TlsBytes)
            is_tls = isinstance(entered, TlsBytes)
            await enclave.reply(number, TlsReply(b"", False, False) if is_tls else CHALLENGED)
        await enclave.reply(call, Left(b"at last"))
        await enclave.echo()

    async def body(gate: EntryGate, deaths: list[str]) -> None:
        calls = await begun(gate.enter(ENTER, Left), gate.enter(ENTER, Left))
        assert await gate.enter(CHALLENGE, ChallengeAnswer) == CHALLENGED
        await gate.enter(TlsBytes(1, b"", False), TlsReply)
        assert [left.sealed for left in await asyncio.gather(*calls)] == [b"at last", b"sealed"]
        assert not deaths

    with_enclave(play, body)


def test_other_entries_have_a_window_of_their_own_in_which_callers_take_turns() -> None:
    order: list[bytes] = []

    async def play(enclave: FakeEnclave) -> None:
        await enclave.ready(1)
        held = [(await enclave.entered(TlsBytes))[0] for _ in range(MAX_OTHERS)]
        with pytest.raises(TimeoutError):
            await asyncio.wait_for(enclave.entered(TlsBytes, Challenge), 0.1)
        for number in held:
            await enclave.reply(number, TlsReply(b"", False, False))
            order.append((await enclave.entered(TlsBytes))[1].data)

    async def body(gate: EntryGate, _: list[str]) -> None:
        async def enter(caller: str, text: bytes) -> None:
            CALLER.set(caller)
            await gate.enter(TlsBytes(1, text, False), TlsReply)

        tasks = await begun(
            *(gate.enter(TlsBytes(n, b"", False), TlsReply) for n in range(MAX_OTHERS)),
            *(enter("greedy", b"greedy") for _ in range(8)),
            enter("modest", b"modest"),
        )
        await asyncio.wait(tasks[:10])
        assert order.index(b"modest") <= 1
        for task in tasks:
            task.cancel()

    with_enclave(play, body)


def test_a_message_that_cannot_be_encoded_takes_no_place_of_the_window() -> None:

    async def body(gate: EntryGate, deaths: list[str]) -> None:
        for _ in range(3):
            with pytest.raises(WireError):
                await gate.enter(Challenge(b"short", bytes(512)), ChallengeAnswer)
            with pytest.raises(WireError):
                await gate.enter(PlainEnter("n" * 1000, b""), PlainLeft)
        assert (await gate.enter(ENTER, Left)).sealed == b"sealed"
        assert not deaths

    with_enclave(answers_after(0), body)


def test_numbers_begin_again_behind_the_highest_and_pass_over_those_under_way() -> None:
    async def play(enclave: FakeEnclave) -> None:
        await enclave.ready(4)
        entered = [await enclave.entered(Enter) for _ in range(3)]
        assert [number for number, _ in entered] == [1, MAX_NUMBER, 2]
        for number, each in entered:
            await enclave.reply(number, Left(each.envelope.sealed))

    async def body(gate: EntryGate, deaths: list[str]) -> None:
        (first,) = await begun(gate.enter(sealed(b"first"), Left))
        await asyncio.sleep(0.05)  # the enclave is ready
        gate._last = MAX_NUMBER - 1
        others = await asyncio.gather(gate.enter(sealed(b"second"), Left), gate.enter(sealed(b"third"), Left))
        assert [left.sealed for left in (await first, *others)] == [b"first", b"second", b"third"]
        assert not deaths

    with_enclave(play, body)


# Turns


def test_a_caller_with_many_calls_delays_another_by_one() -> None:
    order: list[bytes] = []

    async def body(gate: EntryGate, _: list[str]) -> None:
        async def call(caller: str, text: bytes) -> None:
            CALLER.set(caller)
            order.append((await gate.enter(sealed(text), Left)).sealed)

        greedy = await begun(*(call("token greedy", b"greedy") for _ in range(10)))
        await asyncio.gather(asyncio.create_task(call("token modest", b"modest")), *greedy)
        assert order.index(b"modest") <= 2

    with_enclave(answers_after(0.02), body)


def test_a_session_with_many_calls_delays_another_of_the_same_caller_by_one() -> None:
    order: list[bytes] = []

    async def body(gate: EntryGate, _: list[str]) -> None:
        async def call(session: int, text: bytes) -> None:
            order.append((await gate.enter(sealed(text, session), Left)).sealed)

        busy = await begun(*(call(1, b"busy %d" % n) for n in range(10)))
        await asyncio.gather(asyncio.create_task(call(2, b"quiet")), *busy)
        assert order.index(b"quiet") <= 2
        order.remove(b"quiet")
        assert order == [b"busy %d" % n for n in range(10)]  # a session's calls in their order

    with_enclave(answers_after(0.02), body)


def test_more_entries_than_may_wait_are_refused_as_busy(monkeypatch: pytest.MonkeyPatch) -> None:
    async def body(gate: EntryGate, _: list[str]) -> None:
        outcomes = await asyncio.gather(*(gate.enter(ENTER, Left) for _ in range(8)), return_exceptions=True)
        busy = [outcome for outcome in outcomes if isinstance(outcome, FaultError)]
        assert len(busy) == 4
        assert all(outcome.fault.code is Code.BUSY for outcome in busy)

    monkeypatch.setattr(entry_queue, "MAX_WAITING", 4)
    with_enclave(answers_after(0.02), body)


@pytest.mark.parametrize("are_one_session", [False, True], ids=["of many connections", "challenges"])
def test_each_tls_connection_is_a_session_of_its_own_and_challenges_are_one(are_one_session: bool) -> None:
    async def play(_enclave: FakeEnclave) -> None:
        await asyncio.sleep(30)  # never ready: all of them wait

    async def body(gate: EntryGate, _: list[str]) -> None:
        most = entry_queue.MAX_OF_SESSION
        if are_one_session:
            tasks = await begun(*(gate.enter(CHALLENGE, ChallengeAnswer) for _ in range(most + 1)))
        else:
            tasks = await begun(*(gate.enter(TlsBytes(n, b"", False), TlsReply) for n in range(most + 1)))
        assert [task.done() for task in tasks] == [False] * most + [are_one_session]
        gate.close()
        await asyncio.gather(*tasks, return_exceptions=True)

    with_enclave(play, body)


# Callers that leave


def test_an_abandoned_entry_does_not_lend_its_reply_to_the_next_and_keeps_its_place_until_then() -> None:
    async def play(enclave: FakeEnclave) -> None:
        await enclave.ready(1)
        number, _ = await enclave.entered(Enter)
        with pytest.raises(TimeoutError):
            await asyncio.wait_for(enclave.entered(Enter), 0.1)
        await enclave.reply(number, Left(b"for nobody"))
        await enclave.echo()

    async def body(gate: EntryGate, deaths: list[str]) -> None:
        with pytest.raises(TimeoutError):
            await asyncio.wait_for(gate.enter(ENTER, Left), 0.02)
        assert (await gate.enter(sealed(b"later"), Left)).sealed == b"later"
        assert not deaths

    with_enclave(play, body)


@pytest.mark.parametrize("is_answered", [False, True], ids=["before", "in the moment in which there is room"])
def test_entries_whose_callers_have_left_are_never_made(is_answered: bool) -> None:
    made: list[bytes] = []

    async def play(enclave: FakeEnclave) -> None:
        await enclave.ready(1)
        number, _ = await enclave.entered(Enter)
        await asyncio.sleep(0.1)  # meanwhile, the others come and leave
        if not is_answered:
            await enclave.reply(number, Left(b"first"))
        while True:
            number, entered = await enclave.entered(Enter)
            made.append(entered.envelope.sealed)
            await enclave.reply(number, Left(entered.envelope.sealed))

    async def body(gate: EntryGate, deaths: list[str]) -> None:
        (first,) = await begun(gate.enter(sealed(b"first"), Left))
        leaving = await begun(*(gate.enter(sealed(b"gone"), Left) for _ in range(30)))
        (last,) = await begun(gate.enter(sealed(b"last"), Left))
        await asyncio.sleep(0.01)
        for task in leaving:
            task.cancel()
        if is_answered:  # a reply is read before those tasks have had their turn
            gate._hear_reply(1, encode_message(Left(b"first")))
            assert not any(task.done() for task in leaving)
        assert (await first).sealed == b"first"
        assert (await last).sealed == b"last"
        assert made == [b"last"]
        assert not deaths

    with_enclave(play, body)


# Enclaves that die, hang or misbehave


def test_a_refusal_of_the_enclave_is_passed_on_and_it_lives() -> None:
    async def play(enclave: FakeEnclave) -> None:
        await enclave.ready()
        number, _ = await enclave.entered(Enter)
        await enclave.reply(number, fault(Code.SEQUENCE_USED, "used"))
        await enclave.echo()

    async def body(gate: EntryGate, deaths: list[str]) -> None:
        with pytest.raises(FaultError, match="sequence-used"):
            await gate.enter(ENTER, Left)
        assert (await gate.enter(ENTER, Left)).sealed == b"sealed"
        assert not deaths

    with_enclave(play, body)


def test_a_dead_enclave_is_reported_once() -> None:
    async def play(enclave: FakeEnclave) -> None:
        await enclave.ready()
        await enclave.entered(Enter)
        enclave.channel.close()

    with_enclave(play, refusal(Code.LOST, "gone"))


def test_a_death_while_nothing_is_under_way_is_the_chips_to_report_and_else_the_next_callers() -> None:
    async def play(enclave: FakeEnclave) -> None:
        await enclave.ready()
        number, _ = await enclave.entered(Enter)
        await enclave.reply(number, Left(b""))
        enclave.channel.close()

    async def body(gate: EntryGate, deaths: list[str]) -> None:
        await gate.enter(ENTER, Left)
        await asyncio.sleep(0.05)
        assert not deaths
        for _ in range(2):
            with pytest.raises(FaultError, match="lost: the enclave is gone"):
                await gate.enter(ENTER, Left)
        await asyncio.sleep(0)
        assert len(deaths) == 1

    with_enclave(play, body)


def test_an_enclave_that_dies_before_it_is_ready_fails_who_waits() -> None:
    async def play(enclave: FakeEnclave) -> None:
        await asyncio.sleep(0.05)
        enclave.channel.close()

    with_enclave(play, refusal(Code.LOST, "gone"))


async def given_up(deaths: list[str]) -> str:
    """The reason, once the enclave is given up."""
    while not deaths:  # noqa: ASYNC110 - a list has no event
        await asyncio.sleep(0.001)
    return deaths[0]


FIRST_FRAMES = {
    "an entry's number": (1, encode_message(Ready(1))),
    "too few": (0, encode_message(Ready(0))),
    "too many": (0, encode_message(Ready(MAX_CALLS + 1))),
    "something else": (0, encode_message(Left(b"hello"))),
    "a line under an entry's number": (1, encode_message(Log("hello"))),
    "bytes behind": (0, encode_message(Ready(1)) + b"\0"),
    "nothing": (0, b""),
}


@pytest.mark.parametrize(("number", "frame"), FIRST_FRAMES.values(), ids=FIRST_FRAMES)
def test_an_enclave_whose_first_frame_is_not_a_proper_ready_is_given_up(number: int, frame: bytes) -> None:
    async def play(enclave: FakeEnclave) -> None:
        await enclave.channel.send(number.to_bytes(4, "little") + frame)

    with_enclave(play, refusal(Code.LOST, "malformed"))


LATER_FRAMES: dict[str, Callable[[int], bytes]] = {
    "a second ready": lambda _: bytes(4) + encode_message(Ready(1)),
    "another reply": lambda number: number.to_bytes(4, "little") + encode_message(CHALLENGE),
    "a reply that is cut": lambda number: number.to_bytes(4, "little") + encode_message(Left(b"long"))[:-1],
    "a reply without a number": lambda _: bytes(4) + encode_message(Left(b"")),
    "an unknown number": lambda number: (number + 1).to_bytes(4, "little") + encode_message(Left(b"")),
    "a refusal under an unknown number": lambda _: b"\xff" * 4 + encode_message(fault(Code.INTERNAL, "")),
    "a line under an entry's number": lambda number: number.to_bytes(4, "little") + encode_message(Log("")),
    "no number": lambda _: b"\1\0",
    "only a number": lambda _: bytes(4),
}


@pytest.mark.parametrize("frame", LATER_FRAMES.values(), ids=LATER_FRAMES)
def test_an_enclave_that_sends_junk_is_given_up(frame: Callable[[int], bytes]) -> None:
    async def play(enclave: FakeEnclave) -> None:
        await enclave.ready()
        number, _ = await enclave.entered(Enter)
        await enclave.channel.send(frame(number))

    with_enclave(play, refusal(Code.LOST, "malformed"))


def test_a_second_reply_to_one_entry_is_junk() -> None:
    async def play(enclave: FakeEnclave) -> None:
        await enclave.ready()
        number, _ = await enclave.entered(Enter)
        await enclave.reply(number, Left(b"one"))
        await enclave.reply(number, Left(b"two"))

    async def body(gate: EntryGate, deaths: list[str]) -> None:
        assert (await gate.enter(ENTER, Left)).sealed == b"one"
        assert "malformed" in await given_up(deaths)

    with_enclave(play, body)


def test_an_enclave_that_is_silent_about_one_entry_is_given_up_in_time(monkeypatch: pytest.MonkeyPatch) -> None:
    """Also if it answers all others, and each entry has its own time from when it was sent."""

    async def play(enclave: FakeEnclave) -> None:
        await enclave.ready(2)
        silent = None
        while True:
            number, entered = await enclave.entered(Enter)
            if entered.envelope.sealed == b"silent":
                silent = number
            else:
                assert silent is None or number != silent
                await enclave.reply(number, Left(b""))

    async def body(gate: EntryGate, deaths: list[str]) -> None:
        await asyncio.sleep(0.2)  # time in which nothing is under way does not count
        (silent,) = await begun(gate.enter(sealed(b"silent"), Left))
        began = time.monotonic()
        while not deaths:
            await asyncio.sleep(0.01)
            with contextlib.suppress(FaultError):  # the last one may meet its end
                await gate.enter(ENTER, Left)
        assert 0.25 < time.monotonic() - began < 2
        with pytest.raises(FaultError, match="silent for") as refused:
            await silent
        assert refused.value.fault.code is Code.TIMED_OUT
        assert len(deaths) == 1

    monkeypatch.setattr(entry, "ENTRY_TIMEOUT", 0.3)
    with_enclave(play, body)


def test_an_enclave_that_does_not_get_ready_is_given_up_in_time(monkeypatch: pytest.MonkeyPatch) -> None:
    async def play(_enclave: FakeEnclave) -> None:
        await asyncio.sleep(30)

    monkeypatch.setattr(entry, "ENTRY_TIMEOUT", 0.1)
    with_enclave(play, refusal(Code.LOST, "not ready within"))


@pytest.mark.parametrize("end", ["closed", "died", "silent"])
def test_an_end_refuses_all_entries_that_are_under_way_and_that_wait(end: str, monkeypatch: pytest.MonkeyPatch) -> None:
    async def play(enclave: FakeEnclave) -> None:
        await enclave.ready(2)
        for _ in range(3):
            await enclave.entered(Enter, Challenge)
        if end == "died":
            enclave.channel.close()
        await asyncio.sleep(30)

    async def body(gate: EntryGate, deaths: list[str]) -> None:
        tasks = await begun(
            gate.enter(sealed(b"oldest"), Left),
            gate.enter(CHALLENGE, ChallengeAnswer),
            *(gate.enter(sealed(session=session), Left) for session in range(5)),
        )
        left = asyncio.create_task(gate.enter(ENTER, Left))
        await asyncio.sleep(0.02)
        left.cancel()
        if end == "closed":
            gate.close()
        outcomes = await asyncio.gather(*tasks, return_exceptions=True)
        codes = [outcome.fault.code for outcome in outcomes if isinstance(outcome, FaultError)]
        assert len(codes) == len(tasks)
        assert set(codes[3:]) == {Code.LOST}
        assert codes[0] is (Code.TIMED_OUT if end == "silent" else Code.LOST)
        assert len(deaths) == (end != "closed")

    if end == "silent":
        monkeypatch.setattr(entry, "ENTRY_TIMEOUT", 0.3)
    with_enclave(play, body)


def test_what_a_monitor_finds_is_passed_on_once_in_a_while_and_what_calls_used_is_added_up() -> None:
    found = [Noticed(subject, 5, 1, Reaction.WARN) for subject in (Monitored.OCALLS, Monitored.DEATHS)]
    used = Used((EntryUsage("main", 1, 1, 2, 1, 40, 0),))

    async def play(enclave: FakeEnclave) -> None:
        await enclave.ready()
        number, _ = await enclave.entered(Enter)
        for _ in range(100):
            for notice in found:
                await enclave.tell(notice)
        await enclave.tell(used)
        await enclave.tell(used)
        await enclave.reply(number, Left(b""))

    async def body(gate: EntryGate, deaths: list[str]) -> None:
        told: list[Noticed] = []
        gate.on_notice = told.append
        await gate.enter(ENTER, Left)
        assert told == found
        assert gate.usage.entries() == (EntryUsage("main", 2, 2, 4, 2, 40, 0),)
        assert deaths == []

    with_enclave(play, body)


def test_lines_that_are_printed_while_the_code_is_loaded_come_before_it_is_ready(
    caplog: pytest.LogCaptureFixture,
) -> None:
    async def play(enclave: FakeEnclave) -> None:
        await enclave.tell(Log("loading"))
        await enclave.tell(Log("loaded"))
        await enclave.ready()
        await enclave.echo()

    async def body(gate: EntryGate, deaths: list[str]) -> None:
        assert (await gate.enter(ENTER, Left)).sealed == b"sealed"
        assert not deaths
        said = [record.getMessage() for record in caplog.records if record.name == "console"]
        assert said == ["loading", "loaded"]

    caplog.set_level(logging.INFO)
    with_enclave(play, body)


def test_lines_of_an_enclave_and_its_refusals_of_unknown_frames_are_logged(caplog: pytest.LogCaptureFixture) -> None:
    async def play(enclave: FakeEnclave) -> None:
        await enclave.ready()
        await enclave.tell(Log("a line"))
        await enclave.tell(fault(Code.MALFORMED, "which entry?"))
        await enclave.echo()

    async def body(gate: EntryGate, deaths: list[str]) -> None:
        assert (await gate.enter(ENTER, Left)).sealed == b"sealed"
        assert not deaths
        said = [(record.name, record.getMessage()) for record in caplog.records]
        assert ("console", "a line") in said
        assert any("which entry?" in text for name, text in said if name == "casemate.host.entry")

    caplog.set_level(logging.INFO)
    with_enclave(play, body)


FRAMES = st.tuples(
    st.integers(0, 5),
    st.sampled_from(
        [Ready(1), Ready(3), Left(b"l"), PlainLeft(b"p"), CHALLENGED, fault(Code.INTERNAL, ""), Log("")]
    ).map(encode_message)
    | st.binary(max_size=3),
)
"""A number, and a message that fits somewhere, or bytes that fit nowhere."""


@given(st.booleans(), st.lists(FRAMES, max_size=12))
def test_whatever_an_enclave_sends_each_caller_gets_its_reply_or_a_refusal(
    begins_well: bool, frames: list[tuple[int, bytes]]
) -> None:
    replies = {(number, frame) for number, frame in frames if number}

    async def play(enclave: FakeEnclave) -> None:
        if begins_well:
            await enclave.ready(3)
        with contextlib.suppress(PeerGoneError):
            for number, frame in frames:
                await enclave.channel.send(number.to_bytes(4, "little") + frame)
            await asyncio.sleep(0.005)
        enclave.channel.close()

    async def body(gate: EntryGate, deaths: list[str]) -> None:
        wanted = [Left, PlainLeft, ChallengeAnswer, Left]
        entries = [ENTER, PlainEnter("main", b"{}"), CHALLENGE, sealed(session=2)]
        tasks = await begun(*(gate.enter(*pair) for pair in zip(entries, wanted, strict=True)))
        outcomes = await asyncio.gather(*tasks, return_exceptions=True)
        for outcome, cls in zip(outcomes, wanted, strict=True):
            assert isinstance(outcome, FaultError | cls)
            if isinstance(outcome, cls):
                assert any(frame == encode_message(outcome) for _, frame in replies)
        with pytest.raises(FaultError):
            await gate.enter(ENTER, Left)
        await asyncio.sleep(0)
        assert len(deaths) == 1

    with_enclave(play, body)


def test_an_enclave_that_never_stops_sending_holds_up_nobody_else() -> None:
    """It sends from a thread, so that there is always more to read. It stops in the end, so that this test can fail."""
    lines = 200 * frame_of(Log("again"))

    async def run() -> None:
        ours, theirs = socket.socketpair()
        gate = EntryGate(ours, answer_built_in, keeps_nothing, lambda _: None, lambda _: None)
        began = time.monotonic()

        def flood() -> None:
            theirs.sendall(frame_of(Ready(1)))
            with contextlib.suppress(OSError):
                while time.monotonic() - began < 4:
                    theirs.sendall(lines)

        flooding = threading.Thread(target=flood)
        flooding.start()
        for _ in range(50):
            await asyncio.sleep(0.001)
        took = time.monotonic() - began
        gate.close()
        flooding.join()
        theirs.close()
        assert took < 3

    asyncio.run(run())


def frame_of(message: object) -> bytes:
    payload = numbered(NEWS, message)
    return header(payload, len(payload)) + payload


LATE = FaultError(fault(Code.SESSION_UNKNOWN, "replaced", retry_after=1.0))


async def is_late(gate: EntryGate) -> None:
    with pytest.raises(FaultError, match="replaced") as refused:
        await gate.enter(ENTER, Left)
    assert refused.value.fault.retry_ms == 1000


def test_a_drain_ends_when_nothing_enters_any_more_and_refuses_what_is_late() -> None:
    async def body(gate: EntryGate, deaths: list[str]) -> None:
        await gate.enter(ENTER, Left)
        draining = asyncio.create_task(gate.drain(LATE, quiet=1.0, most=600, last=600))
        await asyncio.sleep(0)
        assert await gate.enter(ENTER, Left) == Left(b"sealed")
        used = asyncio.get_running_loop().time()
        await draining
        assert asyncio.get_running_loop().time() - used > 0.9
        await is_late(gate)
        gate.close()
        await is_late(gate)  # it was let end: nobody is told that it was lost
        assert deaths == []

    async def play(enclave: FakeEnclave) -> None:
        await enclave.ready()
        await enclave.echo()

    with_enclave(play, body)


def test_a_drain_ends_after_its_time_and_waits_for_what_is_under_way() -> None:
    answer = asyncio.Event()

    async def play(enclave: FakeEnclave) -> None:
        await enclave.ready()
        number, _ = await enclave.entered(Enter)
        await answer.wait()
        await enclave.reply(number, Left(b"late"))
        number, _ = await enclave.entered(Enter)
        await enclave.reply(number, Left(b"queued"))

    async def body(gate: EntryGate, _deaths: list[str]) -> None:
        calls = [asyncio.create_task(gate.enter(ENTER, Left)) for _ in range(2)]  # the second waits for its turn
        await asyncio.sleep(0)
        draining = asyncio.create_task(gate.drain(LATE, quiet=600, most=0.1, last=600))
        while gate._closed_with is None:  # noqa: ASYNC110 - what it looks at tells nobody
            await asyncio.sleep(0.01)
        await is_late(gate)
        assert not draining.done()
        answer.set()
        assert await asyncio.gather(*calls) == [Left(b"late"), Left(b"queued")]
        await draining

    with_enclave(play, body)


def test_a_drain_waits_no_longer_than_its_last_time_and_lets_in_again_where_it_is_called_off() -> None:
    async def play(enclave: FakeEnclave) -> None:
        await enclave.ready(2)
        await enclave.entered(Enter)  # and never answers that
        number, _ = await enclave.entered(Enter)
        await enclave.reply(number, Left(b"again"))

    async def body(gate: EntryGate, _deaths: list[str]) -> None:
        hung = asyncio.create_task(gate.enter(ENTER, Left))
        await asyncio.sleep(0)
        await gate.drain(LATE, quiet=0.01, most=0.01, last=0.05)
        await is_late(gate)
        draining = asyncio.create_task(gate.drain(LATE, quiet=600, most=0.0, last=600))
        await asyncio.sleep(0.02)
        draining.cancel()
        await asyncio.gather(draining, return_exceptions=True)
        assert await gate.enter(ENTER, Left) == Left(b"again")
        hung.cancel()

    with_enclave(play, body)


def test_a_caller_who_leaves_the_queue_is_not_waited_for() -> None:
    async def play(enclave: FakeEnclave) -> None:
        await enclave.ready()
        number, _ = await enclave.entered(Enter)
        await asyncio.sleep(0.1)
        await enclave.reply(number, Left(b"one"))

    async def body(gate: EntryGate, _deaths: list[str]) -> None:
        first, second = (asyncio.create_task(gate.enter(ENTER, Left)) for _ in range(2))
        await asyncio.sleep(0.02)
        draining = asyncio.create_task(gate.drain(LATE, quiet=600, most=0.0, last=600))
        second.cancel()
        assert await first == Left(b"one")
        await draining

    with_enclave(play, body)
