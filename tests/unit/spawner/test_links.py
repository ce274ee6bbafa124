import os
import socket
from collections.abc import Iterator

import pytest

from casemate.link.channel import Channel
from casemate.link.errors import PeerGoneError
from casemate.spawner.links import FRAME_LIMIT, SpawnerLink
from casemate.spawner.loop import LINK_BUFFER
from casemate.wire.encodings.message import encode_message
from casemate.wire.errors import WireError
from casemate.wire.messages.spawner import MAX_GUESTS, GuestGiven, GuestGone, Spawn, Unwatch
from casemate.wire.protocol.sandbox_layers import Layer, LayerName, LayerState


@pytest.fixture
def ends() -> Iterator[tuple[SpawnerLink, socket.socket]]:
    ours, theirs = socket.socketpair()
    link = SpawnerLink(ours, takes_descriptors=True)
    yield link, theirs
    link.close()
    theirs.close()


def framed(payload: bytes) -> bytes:
    return len(payload).to_bytes(4, "little") + payload


def test_nothing_is_received_where_nothing_came(ends: tuple[SpawnerLink, socket.socket]) -> None:
    assert list(ends[0].receive()) == []


def test_frames_are_given_out_when_they_are_whole(ends: tuple[SpawnerLink, socket.socket]) -> None:
    link, peer = ends
    whole = framed(b"one") + framed(b"two")
    peer.sendall(whole[:9])
    assert list(link.receive()) == [b"one"]
    peer.sendall(whole[9:])
    assert list(link.receive()) == [b"two"]


def test_descriptors_queue_up_in_order(ends: tuple[SpawnerLink, socket.socket]) -> None:
    link, peer = ends
    reading, writing = os.pipe()
    channel = Channel(peer)
    channel.send(encode_message(Unwatch(1)))
    channel.send(encode_message(Spawn(1)), (reading, writing))
    frames = [*link.receive(), *link.receive()]
    assert len(frames) == 2
    os.write(link.descriptors[1], b"x")
    assert os.read(link.descriptors[0], 1) == b"x"
    os.close(reading)
    os.close(writing)


def test_descriptors_of_a_peer_that_may_pass_none_are_dropped() -> None:
    ours, theirs = socket.socketpair()
    link = SpawnerLink(ours, takes_descriptors=False)
    reading, writing = os.pipe()
    Channel(theirs).send(b"x", (writing,))
    os.close(writing)
    assert list(link.receive()) == [b"x"]
    assert not link.descriptors
    assert os.read(reading, 1) == b""
    os.close(reading)
    link.close()
    theirs.close()


def test_an_end_is_told(ends: tuple[SpawnerLink, socket.socket]) -> None:
    link, peer = ends
    peer.close()
    with pytest.raises(PeerGoneError, match="closed"):
        list(link.receive())
    with pytest.raises(PeerGoneError, match="cannot send"):
        link.send(Unwatch(1))


def test_a_frame_that_is_too_long_is_refused(ends: tuple[SpawnerLink, socket.socket]) -> None:
    link, peer = ends
    peer.sendall((FRAME_LIMIT + 1).to_bytes(4, "little"))
    with pytest.raises(WireError, match="frame is a longer one"):
        list(link.receive())


def test_a_peer_that_does_not_read_is_as_good_as_gone(ends: tuple[SpawnerLink, socket.socket]) -> None:
    link, _ = ends

    def flood() -> None:
        for _ in range(100_000):
            link.send(GuestGone(1, "lost", "x" * 200))

    with pytest.raises(PeerGoneError):
        flood()


def test_an_enclave_that_computes_for_long_may_leave_unread_all_that_its_guests_cause() -> None:
    ours, theirs = socket.socketpair()
    ours.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, LINK_BUFFER)
    link = SpawnerLink(ours, takes_descriptors=False)
    layers = tuple(Layer(name, LayerState.APPLIED, "d" * 100) for name in LayerName)
    for number in range(1, MAX_GUESTS + 1):
        link.send(GuestGiven(number, 1, layers), (ours.fileno(), ours.fileno()))
    for number in range(1, MAX_GUESTS + 1):
        link.send(GuestGone(number, "memory-limit", "x" * 256))
    link.close()
    theirs.close()
