import contextlib
import os
import select
import socket
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from tests.rigs.loop_turns import turn_until

from casemate.enclave.io.loop import Loop
from casemate.enclave.io.socket_peer import PIECE_SIZE, SocketPeer
from casemate.link.channel import Channel
from casemate.link.errors import PeerGoneError

LIMIT = 10_000_000


@pytest.fixture
def ends() -> Iterator[tuple[socket.socket, socket.socket]]:
    ours, theirs = socket.socketpair()
    with ours, theirs:
        yield ours, theirs


class Heard:
    """A peer that is heard, and what it has said."""

    def __init__(self, sock: socket.socket, *, descriptors: bool = False) -> None:
        self.loop = Loop()
        self.peer = SocketPeer(self.loop, "tester", sock, limit=LIMIT, descriptors=descriptors)
        self.frames: list[bytes | None] = []
        self.peer.hear(self.frames.append)

    def turn_until(self, condition: Callable[[], object], seconds: float = 5.0) -> bool:
        return turn_until(self.loop, condition, seconds)

    def turn_for(self, seconds: float) -> None:
        assert not self.turn_until(lambda: False, seconds)


def open_descriptors() -> set[str]:
    return {path.name for path in Path("/proc/self/fd").iterdir()}


def test_hears_frames_and_is_heard(ends: tuple[socket.socket, socket.socket]) -> None:
    heard = Heard(ends[0])
    them = Channel(ends[1])
    them.send(b"question")
    assert heard.turn_until(lambda: heard.frames)
    assert heard.frames == [b"question"]
    heard.peer.send(b"answer")
    assert them.receive(timeout=5).payload == b"answer"


def test_half_a_frame_delays_nobody(ends: tuple[socket.socket, socket.socket]) -> None:
    heard = Heard(ends[0])
    ends[1].sendall(b"\x08\x00\x00\x00half")
    started = time.monotonic()
    heard.turn_for(0.05)
    assert time.monotonic() - started < 1
    assert not heard.frames
    ends[1].sendall(b"more")
    assert heard.turn_until(lambda: heard.frames)
    assert heard.frames == [b"halfmore"]


def test_a_frame_that_is_too_long_is_told_of_and_what_follows_is_heard(
    ends: tuple[socket.socket, socket.socket],
) -> None:
    heard = Heard(ends[0])
    them = Channel(ends[1])

    def send() -> None:
        them.send(bytes(LIMIT + 1))
        them.send(b"after it")

    sender = threading.Thread(target=send)
    sender.start()
    assert heard.turn_until(lambda: len(heard.frames) == 2)
    sender.join()
    assert heard.frames == [None, b"after it"]


def test_a_peer_that_does_not_read_delays_nobody_and_is_not_heard_meanwhile(
    ends: tuple[socket.socket, socket.socket],
) -> None:
    heard = Heard(ends[0])
    large = os.urandom(4 * PIECE_SIZE)
    started = time.monotonic()
    heard.peer.send(large)
    assert time.monotonic() - started < 1
    assert heard.peer.backlog > 0
    assert heard.peer.wants() == select.POLLOUT
    them = Channel(ends[1])
    them.send(b"though I do not listen")
    heard.turn_for(0.05)
    assert not heard.frames
    received: list[bytes] = []
    reader = threading.Thread(target=lambda: received.append(them.receive(timeout=5).payload))
    reader.start()
    assert heard.turn_until(lambda: heard.frames)
    reader.join()
    assert received == [large]
    assert heard.frames == [b"though I do not listen"]
    assert not heard.peer.backlog


def test_what_a_peer_that_does_not_read_floods_is_left_in_the_socket(
    ends: tuple[socket.socket, socket.socket],
) -> None:
    heard = Heard(ends[0])
    heard.peer.send(bytes(4 * PIECE_SIZE))
    ends[1].settimeout(0)
    sent = 0
    with contextlib.suppress(BlockingIOError):
        while True:
            sent += ends[1].send(bytes(65536))
            heard.turn_for(0.001)
    heard.turn_for(0.05)
    assert not heard.frames
    assert sent < 2_000_000


def test_a_peer_that_never_stops_does_not_keep_the_others_waiting(ends: tuple[socket.socket, socket.socket]) -> None:
    heard = Heard(ends[0])
    ours, theirs = socket.socketpair()
    with ours, theirs:
        other = SocketPeer(heard.loop, "other", ours, limit=LIMIT)
        quiet: list[bytes | None] = []
        other.hear(quiet.append)
        frame = (0).to_bytes(4, "little") * 10_000
        ends[1].setblocking(False)
        Channel(theirs).send(b"a word")
        turns = 0
        while not quiet:
            with contextlib.suppress(BlockingIOError):
                ends[1].send(frame)
            heard.loop.turn()
            turns += 1
        assert turns == 1


def test_the_end_of_a_peer_is_an_error_once_all_is_read(ends: tuple[socket.socket, socket.socket]) -> None:
    heard = Heard(ends[0])
    Channel(ends[1]).send(b"last words")
    ends[1].close()
    with pytest.raises(PeerGoneError, match="tester"):
        heard.turn_for(5)
    assert heard.frames == [b"last words"]


def test_the_end_of_a_peer_is_noticed_while_nothing_is_read_from_it(ends: tuple[socket.socket, socket.socket]) -> None:
    heard = Heard(ends[0])
    heard.peer.send(bytes(4 * PIECE_SIZE))
    ends[1].sendall(b"unread")
    heard.turn_for(0.02)
    ends[1].close()
    with pytest.raises(PeerGoneError):
        heard.turn_for(5)


def test_sending_to_a_peer_that_is_gone_is_an_error(ends: tuple[socket.socket, socket.socket]) -> None:
    heard = Heard(ends[0])
    ends[1].close()
    with pytest.raises(PeerGoneError):
        heard.peer.send(b"anybody there")


def test_descriptors_from_a_stranger_are_not_taken(ends: tuple[socket.socket, socket.socket]) -> None:
    heard = Heard(ends[0])
    before = open_descriptors()
    Channel(ends[1]).send(b"a present", (ends[1].fileno(),) * 4)
    assert heard.turn_until(lambda: heard.frames)
    assert open_descriptors() == before
    assert not heard.peer.descriptors


def test_descriptors_from_a_friend_are(ends: tuple[socket.socket, socket.socket]) -> None:
    heard = Heard(ends[0], descriptors=True)
    reading, writing = os.pipe()
    Channel(ends[1]).send(b"a pipe", (reading, writing))
    assert heard.turn_until(lambda: heard.frames)
    assert len(heard.peer.descriptors) == 2
    for descriptor in (reading, writing, *heard.peer.descriptors):
        os.close(descriptor)


def test_nothing_is_read_before_somebody_hears(ends: tuple[socket.socket, socket.socket]) -> None:
    loop = Loop()
    peer = SocketPeer(loop, "tester", ends[0], limit=LIMIT)
    Channel(ends[1]).send(b"early")
    assert not turn_until(loop, lambda: False, 0.02)
    frames: list[bytes | None] = []
    peer.hear(frames.append)
    assert turn_until(loop, lambda: frames)
    assert frames == [b"early"]


def test_a_forgotten_peer_is_not_served(ends: tuple[socket.socket, socket.socket]) -> None:
    heard = Heard(ends[0])
    heard.loop.forget(heard.peer.fileno())
    ends[1].close()
    heard.turn_for(0.05)
