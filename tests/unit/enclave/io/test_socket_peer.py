import contextlib
import os
import select
import socket
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from casemate.enclave.io.pump import Pump

from casemate.enclave.io.socket_peer import PIECE_SIZE, SocketPeer
from casemate.link.channel import Channel
from casemate.link.errors import PeerGoneError

LIMIT = 10_000_000


@pytest.fixture
def ends() -> Iterator[tuple[socket.socket, socket.socket]]:
    ours, theirs = socket.socketpair()
    with ours, theirs:
        yield ours, theirs


def peer_of(sock: socket.socket, *, most: int = 4, descriptors: bool = False) -> tuple[SocketPeer, Pump]:
    peer, pump = SocketPeer("tester", sock, limit=LIMIT, most=most, descriptors=descriptors), Pump()
    pump.watch(peer)
    return peer, pump


def open_descriptors() -> set[str]:
    return {path.name for path in Path("/proc/self/fd").iterdir()}


def soon(seconds: float = 5.0) -> float:
    return time.monotonic() + seconds


def test_hears_frames_and_is_heard(ends: tuple[socket.socket, socket.socket]) -> None:
    peer, pump = peer_of(ends[0])
    them = Channel(ends[1])
    them.send(b"question")
    assert pump.until(lambda: bool(peer.incoming), soon())
    assert peer.incoming.popleft() == b"question"
    peer.send(b"answer")
    assert them.receive(timeout=5).payload == b"answer"


def test_half_a_frame_delays_nobody(ends: tuple[socket.socket, socket.socket]) -> None:
    peer, pump = peer_of(ends[0])
    ends[1].sendall(b"\x08\x00\x00\x00half")
    started = time.monotonic()
    assert not pump.until(lambda: bool(peer.incoming), soon(0.05))
    assert time.monotonic() - started < 1
    ends[1].sendall(b"more")
    assert pump.until(lambda: bool(peer.incoming), soon())
    assert peer.incoming.popleft() == b"halfmore"


def test_a_peer_that_does_not_read_delays_nobody_and_is_not_heard_meanwhile(
    ends: tuple[socket.socket, socket.socket],
) -> None:
    peer, pump = peer_of(ends[0])
    large = os.urandom(4 * PIECE_SIZE)
    started = time.monotonic()
    peer.send(large)
    assert time.monotonic() - started < 1
    assert peer.backlog > 0
    assert peer.wants() == select.POLLOUT
    heard: list[bytes] = []
    reader = threading.Thread(target=lambda: heard.append(Channel(ends[1]).receive(timeout=5).payload))
    reader.start()
    assert pump.until(lambda: not peer.backlog, soon())
    reader.join()
    assert heard == [large]


def test_a_flood_is_left_in_the_socket(ends: tuple[socket.socket, socket.socket]) -> None:
    peer, pump = peer_of(ends[0], most=1)
    Channel(ends[1]).send(b"first")
    assert pump.until(lambda: bool(peer.incoming), soon())
    ends[1].settimeout(0)
    with contextlib.suppress(BlockingIOError):
        while True:
            ends[1].send(bytes(65536))
    assert not pump.until(lambda: len(peer.incoming) > 1, soon(0.05))


def test_the_end_of_a_peer_is_an_error_once_all_is_read(ends: tuple[socket.socket, socket.socket]) -> None:
    peer, pump = peer_of(ends[0])
    Channel(ends[1]).send(b"last words")
    ends[1].close()
    assert pump.until(lambda: bool(peer.incoming), soon())
    with pytest.raises(PeerGoneError, match="tester"):
        pump.until(lambda: False, soon())


def test_the_end_of_a_peer_is_noticed_while_nothing_is_read_from_it(ends: tuple[socket.socket, socket.socket]) -> None:
    peer, pump = peer_of(ends[0], most=1)
    Channel(ends[1]).send(b"first")
    assert pump.until(lambda: bool(peer.incoming), soon())
    ends[1].sendall(b"unread")
    ends[1].close()
    with pytest.raises(PeerGoneError):
        pump.until(lambda: False, soon())


def test_sending_to_a_peer_that_is_gone_is_an_error(ends: tuple[socket.socket, socket.socket]) -> None:
    peer, _ = peer_of(ends[0])
    ends[1].close()
    with pytest.raises(PeerGoneError):
        peer.send(b"anybody there")


def test_descriptors_from_a_stranger_are_not_taken(ends: tuple[socket.socket, socket.socket]) -> None:
    before = open_descriptors()
    peer, pump = peer_of(ends[0])
    Channel(ends[1]).send(b"a present", (ends[1].fileno(),) * 4)
    assert pump.until(lambda: bool(peer.incoming), soon())
    assert open_descriptors() == before
    assert not peer.descriptors


def test_descriptors_from_a_friend_are(ends: tuple[socket.socket, socket.socket]) -> None:
    peer, pump = peer_of(ends[0], descriptors=True)
    reading, writing = os.pipe()
    Channel(ends[1]).send(b"a pipe", (reading, writing))
    assert pump.until(lambda: bool(peer.incoming), soon())
    assert len(peer.descriptors) == 2
    for descriptor in (reading, writing, *peer.descriptors):
        os.close(descriptor)


def test_waiting_ends_at_the_deadline(ends: tuple[socket.socket, socket.socket]) -> None:
    _, pump = peer_of(ends[0])
    started = time.monotonic()
    assert not pump.until(lambda: False, soon(0.05))
    assert 0.05 <= time.monotonic() - started < 1


def test_a_forgotten_peer_is_not_served(ends: tuple[socket.socket, socket.socket]) -> None:
    peer, pump = peer_of(ends[0])
    pump.forget(peer.fileno())
    ends[1].close()
    assert not pump.until(lambda: False, soon(0.05))
