"""A host that floods, truncates, lies, and hangs up: refused or harmless, and the enclave lives as long as it may."""

import contextlib
import os
import threading
import time
from collections.abc import Iterator
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from tests.rigs.channel.guests import Called, echo
from tests.rigs.channel.rig import HURRIED, Rig, seal

from casemate.client.core import AttestedEnclave
from casemate.client.errors import EnclaveRefusedError
from casemate.enclave.main import MAX_HOST_FRAME
from casemate.link.numbered_frames import NEWS, NUMBER_SIZE
from casemate.wire.encodings.message import encode_message, tag_of
from casemate.wire.messages.chip import Load
from casemate.wire.messages.entry import Challenge, ChallengeAnswer, Enter, Left, Log, Ocall, OcallAnswer, OcallRefused
from casemate.wire.protocol.call import ENCAPSULATION_SIZE, CallBinding, Envelope
from casemate.wire.protocol.faults import Code, Fault, fault

LIMIT = 0.5
SLACK = 0.5


def works(rig: Rig, session: AttestedEnclave) -> bool:
    return bool(rig.call(session, "echo", None).value["entry"] == "echo")


@pytest.mark.parametrize(
    "frame",
    [
        b"",
        b"\x00",
        tag_of(Enter),
        b"\xff" * 1000,
        encode_message(OcallAnswer(1, b"1")) + b"x",
        encode_message(Left(b"")),
        encode_message(Log("x")),
        encode_message(Ocall(1, "now", b"{}")),
        encode_message(fault(Code.LOST, "I am lost")),
        encode_message(Load(b"")),
        encode_message(Challenge(bytes(32), bytes(512)))[:-1],
        encode_message(Challenge(bytes(32), bytes(512))) + b"\x00",
    ],
)
def test_frames_that_are_no_entry_are_refused(frame: bytes) -> None:
    with Rig() as rig:
        session = rig.attest()
        number = rig.send_entry(frame)
        reply = rig.receive()
        assert isinstance(reply, Fault)
        assert reply.code is Code.MALFORMED
        assert rig.answered == number
        assert works(rig, session)


@pytest.mark.parametrize("tag", [0x10, 0x52], ids=["an envelope", "an entry with an envelope in it"])
def test_protocol_1_is_refused_in_clear_words(tag: int) -> None:
    with Rig() as rig:
        session = rig.attest()
        rig.send(bytes((tag,)) + encode_message(seal(session, "echo", None).envelope)[1:])
        reply = rig.receive()
        assert reply == fault(Code.MALFORMED, "protocol is 1, the format wants 2: update the client")
        assert works(rig, session)


def test_a_frame_beyond_the_limit_is_refused_and_skipped() -> None:
    with Rig() as rig:
        session = rig.attest()
        rig._host.sendall((MAX_HOST_FRAME + 1).to_bytes(4, "little"))
        reply = rig.receive()
        assert isinstance(reply, Fault)
        assert reply.code is Code.MALFORMED
        rig._host.sendall(bytes(MAX_HOST_FRAME + 1))
        assert works(rig, session)


def test_a_flood_of_entries_is_answered_in_turn() -> None:
    with Rig() as rig:
        session = rig.attest()
        calls = [seal(session, "echo", {"n": number}) for number in range(50)]

        def flood() -> None:
            for call in calls:
                rig.send(encode_message(Enter(call.envelope)))

        sender = threading.Thread(target=flood)
        sender.start()
        for number, call in enumerate(calls):
            assert call.open(rig.receive().sealed).value["arguments"] == {"n": number}
        sender.join()


def test_a_host_that_floods_and_reads_nothing_is_not_served_on_credit() -> None:
    with Rig() as rig:
        frame = (1).to_bytes(NUMBER_SIZE, "little") + encode_message(Challenge(bytes(32), bytes(512)))
        rig._host.settimeout(0.2)
        sent = 0
        with contextlib.suppress(TimeoutError):
            while True:
                sent += rig._host.send(len(frame).to_bytes(4, "little") + frame)
        assert sent < 2_000_000, "what is not read waits in the sockets, and not in the enclave's memory"


def test_half_an_entry_delays_only_the_host() -> None:
    with Rig() as rig:
        session = rig.attest()
        frame = (1).to_bytes(NUMBER_SIZE, "little") + encode_message(Enter(seal(session, "echo", None).envelope))
        whole = len(frame).to_bytes(4, "little") + frame
        rig._host.sendall(whole[:100])
        time.sleep(0.1)
        rig._host.sendall(whole[100:])
        assert isinstance(rig.receive(), Left)


@pytest.mark.parametrize("part", ["idle", "in the middle of a frame", "during a call", "during an OCALL"])
def test_the_enclave_ends_when_the_host_hangs_up(part: str) -> None:
    def slow(called: Called) -> None:
        time.sleep(0.2)
        called.returns(b"{}")

    def asking(called: Called) -> None:
        called.asks("now", b"{}")

    with Rig(script=asking if part == "during an OCALL" else slow) as rig:
        session = rig.attest()
        if part == "in the middle of a frame":
            rig._host.sendall(b"\xff\x00\x00\x00half")
        if part.startswith("during"):
            rig.send(encode_message(Enter(seal(session, "echo", None).envelope)))
            time.sleep(0.05)
        rig.hang_up()
        assert rig.ended(2)


@pytest.mark.parametrize("who", ["chip", "spawner"])
@pytest.mark.parametrize("when", ["idle", "during a call"])
def test_the_enclave_ends_with_its_chip_and_with_its_spawner(who: str, when: str) -> None:
    with Rig(script=lambda _: time.sleep(0.3)) as rig:
        session = rig.attest()
        if when == "during a call":
            rig.send(encode_message(Enter(seal(session, "echo", None).envelope)))
            time.sleep(0.05)
        (rig.chip_dies if who == "chip" else rig.spawner_dies)()
        assert rig.ended(2)


def test_a_target_that_the_chip_refuses_is_refused() -> None:
    with Rig() as rig:
        session = rig.attest()
        rig.chip_refuses = fault(Code.REPORT_REFUSED, "reserved bits")
        assert rig.ask(Challenge(bytes(32), b"\xff" * 512)) == rig.chip_refuses
        rig.chip_refuses = None
        assert works(rig, session)


# OCALLs


def asks_the_time(called: Called) -> None:
    answer = called.asks("now", b'{"zone":"UTC","secret":"plaintext"}')
    called.returns(b"-1" if answer is None else answer)


@contextlib.contextmanager
def asked(rig: Rig) -> Iterator[Any]:
    """A call, as far as the OCALL in it."""
    pending = seal(rig.attest(), "number", {"n": 1})
    reply = rig.enter(pending.envelope)
    assert reply == Ocall(1, "now", b'{"zone":"UTC"}'), "declared members alone reach the host"
    yield pending


def test_an_honest_answer_reaches_the_guest() -> None:
    with Rig(script=asks_the_time) as rig, asked(rig) as pending:
        assert pending.open(rig.ask(OcallAnswer(1, b"1793000000")).sealed).value == 1793000000


@pytest.mark.parametrize("answer", [b"", b"-5", b'"soon"', b"1e999", b'{"a":1,"a":2}', b"[" * 100_000, bytes(1 << 20)])
def test_lies_about_an_ocall_reach_the_guest_as_a_refusal(answer: bytes) -> None:
    with Rig(script=asks_the_time) as rig, asked(rig) as pending:
        assert pending.open(rig.ask(OcallAnswer(1, answer)).sealed).value == -1


def test_a_hosts_refusal_reaches_the_guest() -> None:
    with Rig(script=asks_the_time) as rig, asked(rig) as pending:
        assert pending.open(rig.ask(OcallRefused(1, fault(Code.UNAVAILABLE, "no clock"))).sealed).value == -1


def news(message: bytes) -> bytes:
    """The frame of a message that is no entry."""
    return NEWS.to_bytes(NUMBER_SIZE, "little") + message


NO_ANSWERS = [
    b"",
    b"\xff" * 100,
    b"\x55",
    encode_message(OcallAnswer(0, b"5")),
    encode_message(OcallAnswer(2, b"5")),
    encode_message(OcallAnswer(2**64 - 1, b"5")),
    encode_message(OcallAnswer(1, b"5")) + b"x",
    encode_message(OcallRefused(2, fault(Code.UNAVAILABLE, "no clock"))),
    encode_message(fault(Code.UNAVAILABLE, "no clock")),
    encode_message(Challenge(bytes(32), bytes(512))),
    encode_message(Enter(Envelope(CallBinding(bytes(32), 1, 1, "number"), b"x"))),
    bytes((0x55,)) + (1 << 24).to_bytes(4, "little") + bytes(1 << 24),
]


@pytest.mark.parametrize("frame", NO_ANSWERS)
def test_what_is_no_answer_to_an_ocall_is_dropped_without_a_reply(frame: bytes) -> None:
    with Rig(script=asks_the_time) as rig, asked(rig) as pending:
        rig.send_frame(news(frame))
        assert pending.open(rig.ask(OcallAnswer(1, b"6")).sealed).value == 6
        rig.script = echo
        assert works(rig, rig.attest()), "and whoever comes next gets the reply to what was asked"


@pytest.mark.parametrize("frame", [b"", b"\x01", b"\x01\x00\x00", bytes(MAX_HOST_FRAME + 1)], ids=len)
def test_a_frame_without_a_number_is_named_and_does_not_disturb_the_call(frame: bytes) -> None:
    with Rig(script=asks_the_time) as rig, asked(rig) as pending:
        rig.send_frame(frame)
        assert rig.receive().code is Code.MALFORMED
        assert rig.answered == NEWS
        assert pending.open(rig.ask(OcallAnswer(1, b"6")).sealed).value == 6


def test_a_call_that_enters_in_the_middle_of_an_ocall_has_its_turn_after_it() -> None:
    with Rig(script=asks_the_time) as rig:
        other = rig.attest()
        early = seal(other, "number", {"n": 2})
        with asked(rig) as pending:
            number = rig.send(encode_message(Enter(early.envelope)))
            assert pending.open(rig.ask(OcallAnswer(1, b"6")).sealed).value == 6
            assert rig.answered == number - 1
        assert isinstance(rig.receive(), Ocall)
        assert early.open(rig.ask(OcallAnswer(2, b"7")).sealed).value == 7
        assert rig.answered == number


def test_a_flood_of_wrong_answers_costs_the_call_and_no_more_than_its_time() -> None:
    stop = threading.Event()
    with Rig(script=asks_the_time, manifest=HURRIED) as rig, asked(rig) as pending:

        def flood() -> None:
            while not stop.is_set():
                rig.host.send(news(encode_message(OcallAnswer(2, b"5"))), timeout=5)

        started = time.monotonic()
        sender = threading.Thread(target=flood)
        sender.start()
        try:
            reply = rig.receive()
        finally:
            stop.set()
            sender.join()
        assert time.monotonic() - started < LIMIT + SLACK
        with pytest.raises(EnclaveRefusedError) as caught:
            pending.open(reply.sealed)
        assert caught.value.fault.code is Code.TIME_LIMIT
        rig.script = echo
        assert works(rig, rig.attest())


def test_a_guest_that_fails_over_a_refused_ocall_fails_as_ocall_refused() -> None:
    def script(called: Called) -> None:
        called.asks("now", b"{}")
        called.throws("ocall-refused", "whatever")

    with Rig(script=script) as rig:
        pending = seal(rig.attest(), "number", {"n": 1})
        rig.enter(pending.envelope)
        reply = rig.ask(OcallAnswer(1, b"[]"))
        with pytest.raises(EnclaveRefusedError) as caught:
            pending.open(reply.sealed)
        assert caught.value.fault.code is Code.OCALL_REFUSED


@pytest.mark.parametrize("name", ["log", "echo", "", "__proto__", "now\x00"])
def test_undeclared_ocalls_do_not_reach_the_host(name: str) -> None:
    def script(called: Called) -> None:
        called.returns(b"-1" if called.asks(name, b'{"secret":1}') is None else b"1")

    with Rig(script=script) as rig:
        assert rig.call(rig.attest(), "number", {"n": 1}).value == -1


@pytest.mark.parametrize("arguments", [b"", b"[]", b'{"zone":7}', b"NaN", b"[" * 5000])
def test_questions_that_break_their_schema_do_not_reach_the_host(arguments: bytes) -> None:
    def script(called: Called) -> None:
        called.returns(b"-1" if called.asks("now", arguments) is None else b"1")

    with Rig(script=script) as rig:
        assert rig.call(rig.attest(), "number", {"n": 1}).value == -1


@pytest.mark.parametrize("partial", [b"", b"\xff\x00\x00\x00half an ans"], ids=["nothing", "half a frame"])
def test_a_host_that_does_not_answer_costs_the_call_and_no_more_than_its_time(partial: bytes) -> None:
    with Rig(script=asks_the_time, manifest=HURRIED) as rig, asked(rig) as pending:
        started = time.monotonic()
        rig._host.sendall(partial)
        reply = rig.receive()
        assert time.monotonic() - started < LIMIT + SLACK
        with pytest.raises(EnclaveRefusedError) as caught:
            pending.open(reply.sealed)
        assert caught.value.fault.code is Code.TIME_LIMIT


@pytest.mark.parametrize(
    "late", [OcallAnswer(1, b"5"), OcallRefused(1, fault(Code.UNAVAILABLE, "no clock"))], ids=["answer", "refusal"]
)
def test_what_comes_after_its_call_is_no_entry_and_no_answer_to_the_next_ocall(
    late: OcallAnswer | OcallRefused,
) -> None:
    with Rig(script=asks_the_time, manifest=HURRIED) as rig:
        with asked(rig) as pending, pytest.raises(EnclaveRefusedError, match="time-limit"):
            pending.open(rig.receive().sealed)
        session = rig.attest()
        for _ in range(3):
            rig.send(encode_message(late))
        pending = seal(session, "number", {"n": 1})
        assert rig.enter(pending.envelope) == Ocall(2, "now", b'{"zone":"UTC"}'), "and not a reply to what was late"
        rig.send(encode_message(late))
        assert pending.open(rig.ask(OcallAnswer(2, b"6")).sealed).value == 6


@given(st.builds(OcallAnswer, st.integers(0, 2**64 - 1), st.binary(max_size=100)))
def test_an_answer_that_nobody_asked_for_gets_no_reply(
    shared: tuple[Rig, AttestedEnclave], unasked: OcallAnswer
) -> None:
    rig, session = shared
    rig.send(encode_message(unasked))
    assert works(rig, session)


def test_an_entry_in_the_middle_of_a_call_waits_its_turn() -> None:
    def slow(called: Called) -> None:
        time.sleep(0.1)
        called.returns(called.arguments if called.entry == "number" else b"{}")

    with Rig(script=slow) as rig:
        session = rig.attest()
        first, second = seal(session, "echo", None), seal(session, "echo", None)
        rig.send(encode_message(Enter(first.envelope)))
        time.sleep(0.03)
        rig.send(encode_message(Enter(second.envelope)))
        first.open(rig.receive().sealed)
        second.open(rig.receive().sealed)


# Anything at all


@pytest.fixture(scope="module")
def shared() -> Iterator[tuple[Rig, AttestedEnclave]]:
    with Rig() as rig:
        yield rig, rig.attest()


ENTRY = encode_message(Challenge(bytes(32), bytes(512)))


@given(
    st.binary(max_size=3000)
    | st.binary(max_size=1000).map(tag_of(Enter).__add__)
    | st.binary(max_size=600).map(b"\x50".__add__)
)
def test_any_message_under_a_number_gets_one_reply(shared: tuple[Rig, AttestedEnclave], frame: bytes) -> None:
    rig, _ = shared
    number = rig.send_entry(frame)
    reply = rig.receive()
    assert rig.answered == number
    if isinstance(reply, ChallengeAnswer):
        assert len(frame) == len(ENTRY)
    else:
        assert reply.code in (Code.MALFORMED, Code.SESSION_UNKNOWN, Code.CANNOT_OPEN, Code.SEQUENCE_USED)


@given(
    st.builds(
        CallBinding,
        st.binary(min_size=32, max_size=32),
        st.integers(0, 2**64 - 1) | st.integers(0, 3),
        st.integers(0, 2**64 - 1),
        st.text(max_size=50),
    ),
    st.binary(max_size=2000),
    st.binary(min_size=ENCAPSULATION_SIZE, max_size=ENCAPSULATION_SIZE) | st.none(),
)
def test_any_envelope_is_refused(
    shared: tuple[Rig, AttestedEnclave], binding: CallBinding, sealed: bytes, encapsulation: bytes | None
) -> None:
    reply = shared[0].enter(Envelope(binding, sealed, encapsulation))
    assert reply.code in (Code.SESSION_UNKNOWN, Code.CANNOT_OPEN, Code.SEQUENCE_USED)


@given(st.data())
def test_any_cut_of_an_honest_entry_is_refused(shared: tuple[Rig, AttestedEnclave], data: st.DataObject) -> None:
    rig, session = shared
    frame = encode_message(Enter(seal(session, "echo", None).envelope))
    altered = bytearray(frame[: data.draw(st.integers(0, len(frame)))])
    if altered:
        altered[data.draw(st.integers(0, len(altered) - 1))] ^= data.draw(st.integers(1, 255))
    rig.send_entry(bytes(altered))
    assert rig.receive().code in (Code.MALFORMED, Code.SESSION_UNKNOWN, Code.CANNOT_OPEN, Code.SEQUENCE_USED)


def test_the_enclave_has_survived_all_that(shared: tuple[Rig, AttestedEnclave]) -> None:
    rig, session = shared
    assert works(rig, session)


@pytest.mark.nightly("20,000 frames of noise")
def test_an_endless_stream_of_noise_ends_nothing() -> None:
    with Rig() as rig:
        session = rig.attest()
        for _ in range(20_000):
            rig.send(b"\xff" + os.urandom(os.urandom(1)[0]))
            assert isinstance(rig.receive(), Fault)
        assert works(rig, session)


def test_defects_are_told_to_nobody(monkeypatch: pytest.MonkeyPatch) -> None:
    def broken(*_: object, **__: object) -> None:
        raise KeyError("a secret")

    with Rig() as rig:
        session = rig.attest()
        with monkeypatch.context() as patch:
            patch.setattr("casemate.enclave.entry.calls.check_arguments", broken)
            pending = seal(session, "echo", None)
            with pytest.raises(EnclaveRefusedError) as caught:
                pending.open(rig.enter(pending.envelope).sealed)
            assert caught.value.fault.code is Code.INTERNAL
            assert "secret" not in caught.value.fault.reason
        with monkeypatch.context() as patch:
            patch.setattr("casemate.enclave.entry.dispatch.open_request", broken)
            reply = rig.enter(seal(session, "echo", None).envelope)
            assert reply.code is Code.INTERNAL
            assert "secret" not in reply.reason
        with monkeypatch.context() as patch:
            patch.setattr("casemate.enclave.guest.ocall._leaving", broken)
            rig.script = asks_the_time
            pending = seal(session, "number", {"n": 1})
            with pytest.raises(EnclaveRefusedError) as caught:
                pending.open(rig.enter(pending.envelope).sealed)
            assert caught.value.fault.code is Code.INTERNAL
        rig.script = echo
        assert works(rig, session)
