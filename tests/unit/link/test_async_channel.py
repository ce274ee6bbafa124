import asyncio
import os
import random
import socket
import tracemalloc
from collections.abc import Callable, Coroutine
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from casemate.link.async_channel import READ_AHEAD, AsyncChannel
from casemate.link.errors import PeerGoneError
from casemate.link.frames import CHUNK_SIZE, header
from casemate.wire.errors import WireError

LIMIT = 1 << 22


def with_peer(play: Callable[[AsyncChannel, socket.socket], Coroutine[Any, Any, None]], *, descriptors: bool) -> None:
    async def whole() -> None:
        ours, peer = socket.socketpair()
        channel = AsyncChannel(ours, limit=LIMIT, descriptors=descriptors)
        try:
            await asyncio.wait_for(play(channel, peer), 10)
        finally:
            channel.close()
            peer.close()

    asyncio.run(whole())


class _Dribbling(socket.socket):
    """Gives what comes byte by byte."""

    def recvmsg(self, _size: int, *rest: int) -> tuple[bytes, list[tuple[int, int, bytes]], int, Any]:
        return super().recvmsg(1, *rest)


def test_a_frame_that_comes_byte_by_byte_takes_no_more_memory_than_its_own() -> None:
    size = 50_000

    async def play() -> int:
        left, right = socket.socketpair()
        sender, receiver = AsyncChannel(left), AsyncChannel(_Dribbling(fileno=right.detach()))
        sending = asyncio.create_task(sender.send(bytes(size)))
        tracemalloc.start()
        try:
            assert (await asyncio.wait_for(receiver.receive(), 30)).payload == bytes(size)
            return tracemalloc.get_traced_memory()[1]
        finally:
            tracemalloc.stop()
            await sending
            sender.close()
            receiver.close()

    assert asyncio.run(play()) < 4 * size


@given(
    st.lists(st.binary(max_size=40) | st.integers(READ_AHEAD - 9, 2 * READ_AHEAD).map(bytes), max_size=8),
    st.integers(1, 3 * READ_AHEAD),
    st.booleans(),
)
def test_frames_come_as_they_were_sent_however_they_are_cut(
    payloads: list[bytes],
    cut: int,
    descriptors: bool,
) -> None:
    whole = b"".join(header(payload, LIMIT) + payload for payload in payloads)

    async def play(channel: AsyncChannel, peer: socket.socket) -> None:
        async def send() -> None:
            loop = asyncio.get_running_loop()
            for at in range(0, len(whole), cut):
                await loop.sock_sendall(peer, whole[at : at + cut])
            peer.close()

        peer.settimeout(0)
        sending = asyncio.create_task(send())
        assert [(await channel.receive()).payload for _ in payloads] == payloads
        await sending
        with pytest.raises(PeerGoneError):
            await channel.receive()

    with_peer(play, descriptors=descriptors)


def test_a_frame_that_is_too_long_is_refused_behind_others_that_came_along() -> None:
    async def play(channel: AsyncChannel, peer: socket.socket) -> None:
        peer.sendall(header(b"short", LIMIT) + b"short" + (LIMIT + 1).to_bytes(4, "little"))
        assert (await channel.receive()).payload == b"short"
        with pytest.raises(WireError):
            await channel.receive()

    with_peer(play, descriptors=False)


@pytest.mark.parametrize("taken", [True, False])
def test_descriptors_come_only_where_they_may(taken: bool) -> None:
    def open_here() -> set[str]:
        return set(os.listdir("/dev/fd"))  # noqa: PTH208 - names alone

    async def play(channel: AsyncChannel, peer: socket.socket) -> None:
        reading, writing = os.pipe()
        socket.send_fds(peer, [header(b"take it", LIMIT) + b"take it"], [writing])
        os.close(writing)
        before = len(open_here())
        frame = await channel.receive()
        assert frame.payload == b"take it"
        assert len(frame.descriptors) == taken
        assert len(open_here()) == before + taken
        for descriptor in (reading, *frame.descriptors):
            os.close(descriptor)

    with_peer(play, descriptors=taken)


@pytest.mark.parametrize("prefix", [0, 4])
@pytest.mark.parametrize("size", [0, 3, READ_AHEAD, CHUNK_SIZE - 4, CHUNK_SIZE, CHUNK_SIZE + 1, 3 * CHUNK_SIZE + 5])
@pytest.mark.parametrize("descriptors", [True, False])
def test_frames_of_all_sizes_arrive_whole_with_their_prefix_apart(size: int, prefix: int, descriptors: bool) -> None:
    payload = random.Random(size).randbytes(size)

    async def play(channel: AsyncChannel, peer: socket.socket) -> None:
        sender = AsyncChannel(peer, limit=LIMIT)
        sending = [asyncio.create_task(sender.send(each)) for each in (payload, b"next", payload)]
        for wanted in (payload, b"next", payload):
            frame = await channel.receive(prefix=prefix)
            assert (frame.prefix, frame.payload) == (wanted[:prefix], wanted[prefix:])
        await asyncio.gather(*sending)

    with_peer(play, descriptors=descriptors)


def test_descriptors_come_with_a_large_frame() -> None:
    async def play(channel: AsyncChannel, peer: socket.socket) -> None:
        sender = AsyncChannel(peer, limit=LIMIT)
        reading, writing = os.pipe()
        sending = asyncio.create_task(sender.send(bytes(2 * CHUNK_SIZE), [writing]))
        frame = await channel.receive(prefix=4)
        await sending
        os.write(frame.descriptors[0], b"through")
        assert os.read(reading, 99) == b"through"
        for descriptor in (reading, writing, *frame.descriptors):
            os.close(descriptor)

    with_peer(play, descriptors=True)


def test_a_peer_that_dies_in_a_large_frame_is_noticed() -> None:
    async def play(channel: AsyncChannel, peer: socket.socket) -> None:
        peer.sendall((2 * CHUNK_SIZE).to_bytes(4, "little") + bytes(1000))
        peer.close()
        with pytest.raises(PeerGoneError):
            await channel.receive()

    with_peer(play, descriptors=True)


def test_a_large_frame_takes_no_more_memory_than_its_own() -> None:
    size = 32 * CHUNK_SIZE

    async def play() -> int:
        left, right = socket.socketpair()
        sender, receiver = AsyncChannel(left), AsyncChannel(right)
        payload = bytes(size)
        tracemalloc.start()
        try:
            sending = asyncio.create_task(sender.send(payload))
            assert len((await asyncio.wait_for(receiver.receive(prefix=4), 30)).payload) == size - 4
            await sending
            return tracemalloc.get_traced_memory()[1]
        finally:
            tracemalloc.stop()
            sender.close()
            receiver.close()

    assert asyncio.run(play()) < 1.2 * size


@given(
    st.lists(
        st.tuples(
            st.integers(0, 40) | st.integers(0, 400_000),
            st.sampled_from(["send", "send and leave", "post"]),
            st.booleans(),
        ),
        max_size=24,
    )
)
def test_frames_of_many_senders_never_mix_and_keep_the_order_in_which_they_were_begun(
    frames: list[tuple[int, str, bool]],
) -> None:
    """Also where a sender leaves in the middle of its frame, and the peer reads slowly."""
    payloads = [bytes((number,)) * size for number, (size, _, _) in enumerate(frames)]

    async def play(channel: AsyncChannel, peer: socket.socket) -> None:
        receiver = AsyncChannel(peer)
        tasks = []
        for payload, (_, how, pause) in zip(payloads, frames, strict=True):
            if how == "post":
                channel.post(payload)
            else:
                tasks.append(asyncio.create_task(channel.send(payload)))
                await asyncio.sleep(0)  # it has begun
                if how == "send and leave":
                    tasks[-1].cancel()
            if pause:
                await asyncio.sleep(0.001)
        assert [(await receiver.receive()).payload for _ in payloads] == payloads
        await asyncio.gather(*tasks, return_exceptions=True)
        receiver.close()

    with_peer(play, descriptors=False)


def test_who_receives_is_told_of_a_peer_that_goes_before_it_has_taken_what_was_posted() -> None:
    async def play(channel: AsyncChannel, peer: socket.socket) -> None:
        channel.post(bytes(LIMIT))
        receiving = asyncio.create_task(channel.receive())
        await asyncio.sleep(0.01)
        peer.close()
        with pytest.raises(PeerGoneError):
            await receiving
        await asyncio.sleep(0.01)  # the frame that was under way is given up
        with pytest.raises(PeerGoneError):
            channel.post(b"too late")

    with_peer(play, descriptors=False)
