"""The host's link: an answer counts for its own question alone, and nothing the host says besides has an effect."""

import socket
import time
from collections.abc import Iterator
from dataclasses import dataclass, field

import pytest
from hypothesis import given
from hypothesis import strategies as st
from tests.rigs.loop_turns import turn_until

from casemate.enclave.io.host_link import HostLink
from casemate.enclave.io.loop import Loop
from casemate.enclave.io.socket_peer import SocketPeer
from casemate.link.channel import Channel
from casemate.link.numbered_frames import NEWS, NUMBER_SIZE, split
from casemate.wire.encodings.message import encode_message, parse_message
from casemate.wire.messages import entry
from casemate.wire.protocol.faults import Code, Fault, fault

LIMIT = 1_000_000
ANSWERS = (entry.OcallAnswer, entry.OcallRefused)


@dataclass
class Linked:
    """A link, and the host's end of it."""

    loop: Loop
    link: HostLink
    host: Channel
    entries: list[tuple[int, bytes]] = field(default_factory=list)
    found: list[object] = field(default_factory=list)

    def question(self, seconds: float = 5.0) -> int:
        """Asks one, as a task that notes what it finds; its number."""

        async def ask() -> None:
            deadline = time.monotonic() + seconds
            self.found.append(await self.link.ask(lambda number: entry.Ocall(number, "now", b"{}"), deadline, *ANSWERS))

        self.loop.start(ask())
        number, message = split(self.host.receive(timeout=5).payload)
        assert number == NEWS
        asked = parse_message(message, entry.Ocall)
        assert isinstance(asked, entry.Ocall)
        return asked.number

    def say(self, message: bytes, number: int = NEWS) -> None:
        """The host says it, and the enclave has heard it."""
        marked = len(self.entries) + 1
        self.host.send(number.to_bytes(NUMBER_SIZE, "little") + message)
        if number == NEWS:  # an entry behind it tells that it has been heard
            self.host.send(MARK.to_bytes(NUMBER_SIZE, "little") + b"mark")
        assert turn_until(self.loop, lambda: len(self.entries) == marked)

    def finds(self) -> object:
        assert turn_until(self.loop, lambda: self.found)
        return self.found.pop()


MARK = 77


@pytest.fixture(scope="module")
def linked() -> Iterator[Linked]:
    ours, theirs = socket.socketpair()
    with ours, theirs:
        loop = Loop()
        link = HostLink(SocketPeer(loop, "host", ours, limit=LIMIT))
        made = Linked(loop, link, Channel(theirs))
        link.open(lambda number, message: made.entries.append((number, bytes(message))))
        yield made


@pytest.mark.parametrize("kind", ["answer", "refusal"])
def test_what_is_said_counts_for_its_own_number_alone(linked: Linked, kind: str) -> None:
    number = linked.question()

    def said(of: int) -> entry.OcallAnswer | entry.OcallRefused:
        return entry.OcallAnswer(of, b"1") if kind == "answer" else entry.OcallRefused(of, NO)

    for wrong in (number - 1, number + 1, 0, 2**64 - 1):
        linked.say(encode_message(said(wrong)))
        assert not linked.found
    linked.say(encode_message(said(number)))
    assert linked.finds() == said(number)


NO = fault(Code.UNAVAILABLE, "no")


@pytest.mark.parametrize(
    "message",
    [
        b"",
        b"\x55",
        b"\x57",
        encode_message(entry.OcallAnswer(7, b"1")) + b"x",
        encode_message(NO),
        encode_message(entry.Ocall(7, "now", b"{}")),
        encode_message(entry.Challenge(bytes(32), bytes(512))),
    ],
)
def test_what_is_no_answer_is_dropped(linked: Linked, message: bytes) -> None:
    number = linked.question()
    linked.say(message)
    assert not linked.found
    linked.say(encode_message(entry.OcallAnswer(number, b"1")))
    assert linked.finds() == entry.OcallAnswer(number, b"1")


@given(st.binary() | st.binary().map(b"\x55".__add__) | st.binary().map(b"\x57".__add__))
def test_any_message_answers_the_question_of_its_number_or_none(linked: Linked, message: bytes) -> None:
    number = linked.question()
    linked.say(message)
    if linked.found:
        answer = linked.finds()
        assert isinstance(answer, ANSWERS)
        assert answer.number == number
        assert encode_message(answer) == message
        return
    linked.say(encode_message(entry.OcallAnswer(number, b"1")))
    assert linked.finds() == entry.OcallAnswer(number, b"1")


def test_answers_come_in_any_order_and_the_first_one_counts(linked: Linked) -> None:
    first, second = linked.question(), linked.question()
    assert second > first
    linked.say(encode_message(entry.OcallAnswer(second, b"2")))
    linked.say(encode_message(entry.OcallAnswer(second, b"22")))
    assert linked.finds() == entry.OcallAnswer(second, b"2")
    assert not linked.found
    linked.say(encode_message(entry.OcallAnswer(first, b"1")))
    assert linked.finds() == entry.OcallAnswer(first, b"1")


def test_a_question_without_an_answer_ends_at_its_deadline_and_is_forgotten(linked: Linked) -> None:
    number = linked.question(0.05)
    assert linked.finds() is None
    linked.say(encode_message(entry.OcallAnswer(number, b"late")))
    assert not linked.found


def test_an_answer_is_no_answer_under_the_number_of_an_entry(linked: Linked) -> None:
    number = linked.question()
    linked.say(encode_message(entry.OcallAnswer(number, b"1")), number=5)
    assert linked.entries[-1] == (5, encode_message(entry.OcallAnswer(number, b"1"))), "it is an entry, and refused"
    assert not linked.found
    linked.say(encode_message(entry.OcallAnswer(number, b"1")))
    linked.finds()


@pytest.mark.parametrize("frame", [b"", b"\x01", bytes(NUMBER_SIZE - 1), bytes(LIMIT + 1)], ids=len)
def test_a_frame_without_a_number_is_refused_as_nobody_s(linked: Linked, frame: bytes) -> None:
    linked.host._sock.sendall(len(frame).to_bytes(4, "little"))
    linked.host._sock.setblocking(False)
    sent = 0

    def all_sent() -> bool:
        nonlocal sent
        try:
            sent += linked.host._sock.send(frame[sent:]) if frame[sent:] else 0
        except BlockingIOError:
            return False
        return sent == len(frame)

    assert turn_until(linked.loop, all_sent)
    linked.host._sock.setblocking(True)
    linked.say(b"")
    number, message = split(linked.host.receive(timeout=5).payload)
    refusal: object = parse_message(message, Fault)
    assert number == NEWS
    assert isinstance(refusal, Fault)
    assert refusal.code is Code.MALFORMED
