import asyncio
import os
import socket
from collections.abc import Awaitable, Callable
from typing import Any

import pytest

from casemate.link.async_channel import AsyncChannel
from casemate.link.calls import Caller, Reply, serve, serve_frames
from casemate.link.channel import Frame
from casemate.link.errors import PeerGoneError, TimedOutError
from casemate.link.numbered_frames import numbered
from casemate.wire.encodings.message import encode_message, parse_message, tag_of
from casemate.wire.errors import WireError
from casemate.wire.messages.control import Done, MachineStatus, RecoverTcb
from casemate.wire.messages.host import Launch
from casemate.wire.protocol.faults import Code, FaultError, refuse


async def with_server(
    answer: Callable[[bytes], Awaitable[Reply]], body: Callable[[Caller, socket.socket], Awaitable[None]]
) -> None:
    ours, theirs = socket.socketpair()
    server = asyncio.create_task(serve(AsyncChannel(theirs), answer, at_once=4))
    channel = AsyncChannel(ours)
    caller = Caller(channel)
    running = asyncio.create_task(caller.run())
    try:
        await asyncio.wait_for(body(caller, ours), 20)
    finally:
        channel.close()
        await asyncio.wait({running, server}, timeout=5)
    assert server.exception() is None


async def echo(message: bytes) -> Reply:
    asked = parse_message(message, RecoverTcb)
    if asked.advisory == "slow":
        await asyncio.sleep(0.2)
    return Reply(Done(asked.advisory))


def test_answers_find_their_questions_in_any_order() -> None:
    async def body(caller: Caller, _: socket.socket) -> None:
        slow = asyncio.create_task(caller.call(RecoverTcb("slow"), Done, timeout=5))
        await asyncio.sleep(0.02)
        quick, _fds = await caller.call(RecoverTcb("quick"), Done, timeout=5)
        assert quick.said == "quick"
        assert not slow.done()
        assert (await slow)[0].said == "slow"

    asyncio.run(with_server(echo, body))


def test_a_refusal_arrives_as_a_fault() -> None:
    async def answer(_: bytes) -> Reply:
        raise refuse(Code.BUSY, "later")

    async def body(caller: Caller, _: socket.socket) -> None:
        with pytest.raises(FaultError, match="busy: later"):
            await caller.call(MachineStatus(), Done, timeout=5)

    asyncio.run(with_server(answer, body))


def test_a_defect_becomes_a_fault_and_the_server_lives(caplog: pytest.LogCaptureFixture) -> None:
    async def answer(message: bytes) -> Reply:
        if parse_message(message, MachineStatus, RecoverTcb) == MachineStatus():
            raise ZeroDivisionError
        return await echo(message)

    async def body(caller: Caller, _: socket.socket) -> None:
        with pytest.raises(FaultError, match="internal"):
            await caller.call(MachineStatus(), Done, timeout=5)
        assert (await caller.call(RecoverTcb("on"), Done, timeout=5))[0].said == "on"

    asyncio.run(with_server(answer, body))
    assert "ZeroDivisionError" in caplog.text


def test_malformed_questions_get_a_typed_answer() -> None:
    async def body(caller: Caller, ours: socket.socket) -> None:
        ours.send(len(b"\x01\0\0\0junk").to_bytes(4, "little") + b"\x01\0\0\0junk")
        with pytest.raises(FaultError, match="malformed"):
            await caller.call(MachineStatus(), Done, timeout=5)  # number 1 too: the junk's answer

    asyncio.run(with_server(echo, body))


def test_an_unnumbered_frame_ends_the_link() -> None:
    async def body(caller: Caller, ours: socket.socket) -> None:
        ours.send((1).to_bytes(4, "little") + b"x")
        with pytest.raises(PeerGoneError):
            await caller.call(MachineStatus(), Done, timeout=5)

    asyncio.run(with_server(echo, body))


def test_open_questions_fail_at_once_when_the_peer_dies() -> None:
    async def body() -> None:
        ours, theirs = socket.socketpair()
        caller = Caller(AsyncChannel(ours))
        running = asyncio.create_task(caller.run())
        asking = asyncio.create_task(caller.call(MachineStatus(), Done, timeout=60))
        await asyncio.sleep(0.01)
        theirs.close()
        with pytest.raises(PeerGoneError):
            await asyncio.wait_for(asking, 2)
        with pytest.raises(PeerGoneError):
            await caller.call(MachineStatus(), Done, timeout=60)
        await running
        ours.close()

    asyncio.run(body())


def test_a_silent_peer_times_out() -> None:
    async def body() -> None:
        ours, theirs = socket.socketpair()
        with pytest.raises(TimedOutError):
            await Caller(AsyncChannel(ours)).call(MachineStatus(), Done, timeout=0.1)
        theirs.close()
        ours.close()

    asyncio.run(body())


def test_an_answer_of_another_type_is_malformed() -> None:
    async def answer(_: bytes) -> Reply:
        return Reply(MachineStatus())

    async def body(caller: Caller, _: socket.socket) -> None:
        with pytest.raises(WireError, match="tag"):
            await caller.call(MachineStatus(), Done, timeout=5)

    asyncio.run(with_server(answer, body))


def test_descriptors_of_a_question_are_closed() -> None:
    async def body(caller: Caller, ours: socket.socket) -> None:
        reading, writing = os.pipe()
        payload = numbered(9, MachineStatus())
        socket.send_fds(ours, [len(payload).to_bytes(4, "little") + payload], [writing])
        os.close(writing)
        await asyncio.sleep(0.1)
        assert os.read(reading, 1) == b""  # its end: nobody holds the other
        os.close(reading)
        assert (await caller.call(RecoverTcb("on"), Done, timeout=5))[0].said == "on"

    async def answer(message: bytes) -> Reply:
        asked: Any = parse_message(message, MachineStatus, RecoverTcb)
        return Reply(Done("status")) if asked == MachineStatus() else await echo(encode_message(asked))

    asyncio.run(with_server(answer, body))


def test_descriptors_of_a_question_that_takes_them_are_open_until_it_is_answered() -> None:
    async def body() -> None:
        ours, theirs = socket.socketpair()
        channel = AsyncChannel(ours)
        caller = Caller(channel)
        held: list[int] = []

        async def answer(frame: Frame) -> Reply:
            held.append(len(frame.descriptors))
            for descriptor in frame.descriptors:
                os.write(descriptor, b"x")
            asked: object = parse_message(frame.payload, MachineStatus, RecoverTcb)
            return Reply(Done(type(asked).__name__))

        serving = asyncio.create_task(
            serve_frames(
                AsyncChannel(theirs), answer, at_once=1, takes=lambda each: each == encode_message(MachineStatus())
            )
        )
        running = asyncio.create_task(caller.run())
        reading, writing = os.pipe()
        for question in (MachineStatus(), RecoverTcb("on")):
            await caller.call(question, Done, timeout=5, descriptors=(writing, writing))
        os.close(writing)
        assert held == [2, 0]
        assert os.read(reading, 10) == b"xx"
        assert os.read(reading, 10) == b""  # its end: nobody holds the other
        os.close(reading)
        channel.close()
        await asyncio.wait({running, serving}, timeout=5)

    asyncio.run(body())


def test_a_question_given_up_in_the_middle_does_not_ruin_the_link() -> None:
    async def body() -> None:
        ours, theirs = socket.socketpair()
        channel = AsyncChannel(ours)
        caller = Caller(channel)
        running = asyncio.create_task(caller.run())
        with pytest.raises(TimedOutError):  # nobody reads yet, so the frame is stuck half way
            await caller.call(Launch("x", bytes(3_000_000), bytes(1808)), Done, timeout=0.1)

        async def answer(message: bytes) -> Reply:
            asked: object = parse_message(message, Launch, RecoverTcb)
            return Reply(Done(type(asked).__name__))

        serving = asyncio.create_task(serve(AsyncChannel(theirs), answer, at_once=1))
        assert (await caller.call(RecoverTcb("on"), Done, timeout=5))[0].said == "RecoverTcb"
        channel.close()
        await asyncio.wait({running, serving}, timeout=5)

    asyncio.run(body())


def test_an_answer_that_has_begun_is_finished_and_undone_when_the_peer_has_gone() -> None:
    async def body() -> None:
        ours, theirs = socket.socketpair()
        undone = asyncio.Event()
        began = asyncio.Event()

        async def undo() -> None:
            undone.set()

        async def answer(_: bytes) -> Reply:
            began.set()
            await asyncio.sleep(0.1)
            return Reply(Done("launched"), undelivered=undo)

        serving = asyncio.create_task(serve(AsyncChannel(theirs), answer, at_once=1))
        await AsyncChannel(ours).send(numbered(1, MachineStatus()))
        await began.wait()
        ours.close()
        await asyncio.wait_for(serving, 5)
        assert undone.is_set()

    asyncio.run(body())


def test_an_answer_that_may_be_abandoned_is_cancelled_when_the_peer_has_gone() -> None:
    async def body() -> None:
        ours, theirs = socket.socketpair()
        began, cancelled = asyncio.Event(), asyncio.Event()

        async def answer(_: bytes) -> Reply:
            began.set()
            try:
                await asyncio.sleep(60)
            except asyncio.CancelledError:
                cancelled.set()
                raise
            return Reply(Done("never"))

        abandoned = tag_of(MachineStatus)
        serving = asyncio.create_task(
            serve(AsyncChannel(theirs), answer, at_once=4, abandons=lambda message: message[:1] == abandoned)
        )
        channel = AsyncChannel(ours)
        await channel.send(numbered(1, MachineStatus()))
        await began.wait()
        await channel.send(numbered(2, MachineStatus()))  # this one may be cancelled before it has begun
        ours.close()
        await asyncio.wait_for(serving, 5)
        assert cancelled.is_set()

    asyncio.run(body())


@pytest.mark.parametrize("said", ["bad\udcff", "x" * 2000])
def test_an_answer_that_cannot_be_encoded_becomes_a_fault_of_its_own(said: str) -> None:
    async def answer(_: bytes) -> Reply:
        return Reply(Done(said))

    async def ask(caller: Caller, _: socket.socket) -> None:
        for _again in range(2):  # the link is as good as before
            with pytest.raises(FaultError, match=r"internal: the answer cannot be encoded: Done\.said"):
                await caller.call(MachineStatus(), Done, timeout=10)

    asyncio.run(with_server(answer, ask))


def test_an_answer_that_is_longer_than_a_frame_becomes_a_fault_of_its_own() -> None:
    async def answer(_: bytes) -> Reply:
        return Reply(Done("x" * 1000))

    async def body() -> None:
        ours, theirs = socket.socketpair()
        server = asyncio.create_task(serve(AsyncChannel(theirs, limit=200), answer, at_once=1))
        channel = AsyncChannel(ours)
        caller = Caller(channel)
        running = asyncio.create_task(caller.run())
        with pytest.raises(FaultError, match=r"internal: the answer cannot be sent: frame is \d+ bytes"):
            await caller.call(MachineStatus(), Done, timeout=10)
        channel.close()
        await asyncio.wait({running, server}, timeout=5)

    asyncio.run(body())


def test_large_questions_are_answered_one_at_a_time() -> None:
    under_way: list[int] = []
    most = 0

    async def answer(frame: Frame) -> Reply:
        nonlocal most
        size = len(frame.payload)
        under_way.append(size)
        most = max(most, sum(each > 1000 for each in under_way))
        await asyncio.sleep(0.01 if size > 1000 else 0)
        under_way.remove(size)
        return Reply(Done(str(size)))

    async def whole() -> None:
        ours, theirs = socket.socketpair()
        serving = asyncio.create_task(
            serve_frames(AsyncChannel(theirs), answer, at_once=8, takes=lambda _: False, large=1000)
        )
        caller = Caller(channel := AsyncChannel(ours))
        running = asyncio.create_task(caller.run())
        large = [caller.call(Launch("x", bytes(3000), bytes(1808)), Done, timeout=10) for _ in range(6)]
        small = [caller.call(RecoverTcb("x"), Done, timeout=10) for _ in range(6)]
        answers = await asyncio.gather(*large, *small)
        assert len({answered.said for answered, _ in answers}) == 2
        channel.close()
        await asyncio.wait({running, serving}, timeout=5)

    asyncio.run(whole())
    assert most == 1
