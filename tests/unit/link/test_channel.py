import os
import socket
import sys
import threading
import time
import tracemalloc
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from casemate.link.channel import Channel
from casemate.link.errors import PeerGoneError, TimedOutError
from casemate.wire.errors import WireError


def pair(limit: int = 1 << 24) -> tuple[Channel, Channel]:
    left, right = socket.socketpair()
    return Channel(left, limit=limit), Channel(right, limit=limit)


class _Dribbling(socket.socket):
    """Gives what comes byte by byte."""

    def recvmsg(self, _size: int, *rest: int) -> tuple[bytes, list[tuple[int, int, bytes]], int, Any]:
        return super().recvmsg(1, *rest)


def test_a_frame_that_comes_byte_by_byte_takes_no_more_memory_than_its_own() -> None:
    size = 50_000
    left, right = socket.socketpair()
    channel = Channel(_Dribbling(fileno=right.detach()))
    sending = threading.Thread(target=Channel(left).send, args=(bytes(size),))
    sending.start()
    tracemalloc.start()
    try:
        assert channel.receive(timeout=30).payload == bytes(size)
        _, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
        sending.join()
        channel.close()
        left.close()
    assert peak < 4 * size


@given(st.binary(max_size=5000))
def test_gives_back_the_payload(payload: bytes) -> None:
    left, right = pair()
    left.send(payload)
    assert right.receive(timeout=5).payload == payload
    left.close()
    right.close()


def test_carries_a_frame_larger_than_the_socket_buffer() -> None:
    left, right = pair()
    payload = os.urandom(8 << 20)
    sender = threading.Thread(target=left.send, args=(payload,))
    sender.start()
    assert right.receive(timeout=20).payload == payload
    sender.join()
    left.close()
    right.close()


def test_passes_descriptors() -> None:
    left, right = pair()
    reading, writing = os.pipe()
    left.send(b"take it", (writing,))
    os.close(writing)
    frame = right.receive(timeout=5)
    if sys.platform == "linux":
        assert not any(map(os.get_inheritable, frame.descriptors))
    os.write(frame.descriptors[0], b"x")
    assert os.read(reading, 1) == b"x"
    for descriptor in (reading, *frame.descriptors):
        os.close(descriptor)
    left.close()
    right.close()


def test_refuses_an_announced_length_over_the_limit_without_reading_it() -> None:
    left, right = socket.socketpair()
    left.send((1 << 30).to_bytes(4, "little"))
    channel = Channel(right, limit=1000)
    with pytest.raises(WireError, match="1073741824 bytes announced"):
        channel.receive(timeout=5)
    left.close()
    channel.close()


def test_refuses_to_send_over_the_limit() -> None:
    left, right = pair(limit=10)
    with pytest.raises(WireError, match="11 bytes"):
        left.send(bytes(11))
    left.close()
    right.close()


def test_notices_a_peer_that_dies_in_the_middle_of_a_frame() -> None:
    left, right = socket.socketpair()
    left.send((100).to_bytes(4, "little") + b"half")
    left.close()
    channel = Channel(right)
    with pytest.raises(PeerGoneError):
        channel.receive(timeout=5)
    channel.close()


def test_a_peer_that_trickles_cannot_outlast_the_deadline() -> None:
    left, right = socket.socketpair()
    channel = Channel(right)
    stop = threading.Event()

    def trickle() -> None:
        left.send((10_000).to_bytes(4, "little"))
        while not stop.wait(0.02):
            left.send(b".")

    thread = threading.Thread(target=trickle)
    thread.start()
    began = time.monotonic()
    with pytest.raises(TimedOutError):
        channel.receive(timeout=0.3)
    assert time.monotonic() - began < 2
    stop.set()
    thread.join()
    left.close()
    channel.close()


def test_a_peer_that_does_not_read_cannot_hold_the_sender() -> None:
    left, right = pair()
    with pytest.raises(TimedOutError):
        left.send(bytes(8 << 20), timeout=0.2)
    left.close()
    right.close()
