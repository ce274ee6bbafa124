"""A call's transaction: begun at the first touch, kept if the call is answered, and never for less."""

from collections.abc import Callable
from typing import Any

import pytest
from tests.rigs.channel.guests import Called
from tests.rigs.channel.rig import Rig
from tests.rigs.channel.state import STATEFUL, Host, counts, get, gives_up, put, stores
from tests.rigs.channel.steps import Steps

from casemate.client.errors import EnclaveRefusedError
from casemate.engines.frames import FrameKind, head_and_text
from casemate.link.numbered_frames import NEWS, NUMBER_SIZE
from casemate.wire.encodings.json_text import encode_json, parse_json
from casemate.wire.encodings.message import encode_message
from casemate.wire.messages.entry import OcallAnswer, PlainEnter, PlainLeft
from casemate.wire.messages.state import StateRecords, StateRefused, StateStored
from casemate.wire.protocol.call import StateMark
from casemate.wire.protocol.faults import Code, fault

SEALING = STATEFUL[: STATEFUL.index("[state]")].replace("[limits]", 'permissions = ["seal"]\n\n[limits]', 1)


def reads(called: Called) -> None:
    called.returns(encode_json(get(called)))


def test_what_a_call_puts_the_next_one_gets_and_the_receipt_says_where() -> None:
    with Rig(manifest=STATEFUL, script=counts) as rig:
        host, session = Host(rig), rig.attest()
        for number in (1, 2, 3):
            result = host.call(session)
            assert result.value == number
            assert result.receipt.receipt.state == StateMark(number, 0)
        rig.script = reads
        result = host.call(session)
        assert (result.value, result.receipt.receipt.state) == (3, StateMark(3, 0))
        rig.script = lambda called: called.returns(b"7")
        assert host.call(session).receipt.receipt.state is None
        assert len(host.asked) == 3


def test_a_plain_call_keeps_its_changes_too() -> None:
    with Rig(manifest=STATEFUL, script=counts) as rig:
        host = Host(rig)
        assert [host.ask(PlainEnter("any", b"null")) for _ in range(2)] == [PlainLeft(b"1"), PlainLeft(b"2")]


LOSES: dict[str, tuple[Callable[[Called], None], Code]] = {
    "throws": (lambda called: called.throws("Error", "no"), Code.GUEST_ERROR),
    "breaks its schema": (lambda called: called.returns(b"[]"), Code.RESULT_REFUSED),
    "is no json": (lambda called: called.returns(b"{"), Code.RESULT_REFUSED),
    "is too long": (lambda called: called.returns(b'"' + b"x" * 5000 + b'"'), Code.OUTPUT_LIMIT),
    "breaks its protocol": (lambda called: called.line.raw(b"garbage garbage garbage"), Code.GUEST_CRASHED),
    "asks nonsense": (
        lambda called: called.line.say(FrameKind.WANTED, called.number, b"\2\0\0\0{}"),
        Code.GUEST_CRASHED,
    ),
    "asks for a huge key": (
        lambda called: called.line.say(
            FrameKind.WANTED, called.number, head_and_text({"do": "get", "key": "x" * 300}, b"")
        ),
        Code.GUEST_CRASHED,
    ),
}


@pytest.mark.parametrize("how", LOSES)
def test_a_call_that_ends_badly_keeps_nothing(how: str) -> None:
    ends, code = LOSES[how]

    def spoils(called: Called) -> None:
        assert put(called, 1000) == FrameKind.ANSWER
        ends(called)

    with Rig(manifest=STATEFUL, script=counts) as rig:
        host, session = Host(rig), rig.attest()
        host.call(session)
        rig.script = spoils
        assert host.refused(session).code is code
        rig.script = reads
        assert host.call(session).value == 1
        assert len(host.asked) == 1


def test_without_a_state_in_the_manifest_the_guest_is_told_what_to_add() -> None:
    told: list[tuple[int, bytes]] = []

    def touches(called: Called) -> None:
        told.append(called.wants({"do": "get", "key": "k"}))
        called.returns(b"null")

    manifest = STATEFUL[: STATEFUL.index("[state]")]
    with Rig(manifest=manifest, script=touches) as rig:
        host, session = Host(rig), rig.attest()
        assert host.call(session).receipt.receipt.state is None
        kind, body = told[0]
        assert kind == FrameKind.REFUSAL
        assert b"state-refused" in body
        assert b"add [state] with policy, recovery and max_kib" in body


def test_a_limit_is_the_guest_s_to_handle() -> None:
    def fills(called: Called) -> None:
        assert put(called, "x" * 3000, "a") == FrameKind.ANSWER
        assert put(called, "x" * 3000, "b") == FrameKind.REFUSAL
        assert called.wants({"do": "put", "key": "c"}, b"not json")[0] == FrameKind.REFUSAL
        called.returns(b"1")

    with Rig(manifest=STATEFUL, script=fills) as rig:
        host, session = Host(rig), rig.attest()
        assert host.call(session).receipt.receipt.state == StateMark(1, 0)
        rig.script = lambda called: called.returns(
            encode_json(len(get(called, "a")) if get(called, "b") is None else -1)
        )
        assert host.call(session).value == 3000


def test_all_operations_go_through() -> None:
    got: list[Any] = []

    def does(called: Called) -> None:
        def ask(head: dict[str, Any], text: bytes = b"") -> None:
            kind, body = called.wants(head, text)
            assert kind == FrameKind.ANSWER
            got.append(body)

        ask({"do": "put", "key": "a"}, b'{"b": 1, "a": 2.0}')
        ask({"do": "get", "key": "a"})
        ask({"do": "compare-and-set", "key": "a", "expected": 13, "value": 1}, b'{"a":2,"b":1}5')
        ask({"do": "compare-and-set", "key": "a", "expected": None, "value": 1}, b"6")
        ask({"do": "compare-and-set", "key": "b", "expected": None, "value": 1}, b"6")
        ask({"do": "list", "prefix": "", "after": None, "limit": 10})
        ask({"do": "list", "prefix": "", "after": "a", "limit": 10})
        ask({"do": "compare-and-set", "key": "b", "expected": 1, "value": None}, b"6")
        ask({"do": "delete", "key": "a"})
        ask({"do": "delete", "key": "a"})
        ask({"do": "get", "key": "a"})
        called.returns(b"null")

    with Rig(manifest=STATEFUL, script=does) as rig:
        host, session = Host(rig), rig.attest()
        host.call(session)
    first = got.index(b'{"a":2.0,"b":1}') if b'{"a":2.0,"b":1}' in got else 1
    assert first == 1
    assert got[3:] == [b"false", b"true", b'["a","b"]', b'["b"]', b"true", b"true", b"false", b""]


def test_seals_open_again_and_nothing_else_does() -> None:
    seen: list[bytes] = []

    def seals(called: Called) -> None:
        kind, sealed = called.wants({"do": "seal", "policy": "mrenclave"}, b'{"secret":1}')
        assert kind == FrameKind.ANSWER
        text = parse_json("text", sealed, limit=1 << 20)
        assert called.wants({"do": "unseal"}, text.encode()) == (FrameKind.ANSWER, b'{"secret":1}')
        for wrong in (b"", b"AAAA", text.encode()[:-8], b"?" * 100):
            kind, body = called.wants({"do": "unseal"}, wrong)
            assert kind == FrameKind.REFUSAL
            seen.append(body)
        assert called.wants({"do": "seal", "policy": "mrenclave"}, b"no json")[0] == FrameKind.REFUSAL
        called.returns(b"null")

    with Rig(manifest=SEALING, script=seals) as rig:
        host, session = Host(rig), rig.attest()
        assert host.call(session).receipt.receipt.state is None
        assert all(b"state-refused" in body for body in seen)


def test_a_guest_seals_and_unseals_with_the_permission_alone() -> None:
    heard: list[tuple[int, bytes]] = []

    def seals(called: Called) -> None:
        heard.append(called.wants({"do": "seal", "policy": "mrenclave"}, b"1"))
        heard.append(called.wants({"do": "unseal"}, b"AAAA"))
        called.returns(b"null")

    with Rig(manifest=STATEFUL, script=seals) as rig:
        Host(rig).call(rig.attest())
    assert [kind for kind, _ in heard] == [FrameKind.REFUSAL, FrameKind.REFUSAL]
    assert all(b'permissions = [\\"seal\\", ...]' in body for _, body in heard)


def test_a_host_that_does_not_store_it_makes_the_call_fail_and_keeps_nothing() -> None:
    with Rig(manifest=STATEFUL, script=counts) as rig:
        host, session = Host(rig), rig.attest()
        host.call(session)
        host.answer = lambda question: StateRefused(question.number, fault(Code.INTERNAL, "disk full"))
        refused = host.refused(session)
        assert refused.code is Code.UNAVAILABLE
        assert "disk full" in refused.reason
        host.answer = stores
        result = host.call(session)
        assert (result.value, result.receipt.receipt.state) == (2, StateMark(2, 0))


def test_answers_to_other_questions_are_dropped() -> None:
    with Rig(manifest=STATEFUL, script=counts) as rig:
        session = rig.attest()

        def noisy(question: Any) -> Any:
            for wrong in (StateStored(question.number + 1), StateStored(0), OcallAnswer(question.number, b"1")):
                rig.send(encode_message(wrong))
            rig.send_frame(NEWS.to_bytes(NUMBER_SIZE, "little") + b"\xff\xff")
            rig.send(encode_message(StateRecords(question.number, ())))
            return stores(question)

        host = Host(rig, noisy)
        assert [host.call(session).value for _ in range(2)] == [1, 2]


@pytest.mark.parametrize(
    "late",
    [StateStored(1), StateRecords(1, ()), StateRecords(99, (b"x",)), StateRefused(1, fault(Code.UNAVAILABLE, "no"))],
    ids=lambda late: type(late).__name__,
)
def test_answers_that_come_after_their_call_are_no_entries(late: object) -> None:
    with Rig(manifest=STATEFUL, script=counts) as rig:
        host, session = Host(rig), rig.attest()
        assert host.call(session).value == 1
        for number in range(2, 5):
            rig.send(encode_message(late))
            assert host.call(session).value == number, "and not a reply to what was late"


def test_another_instance_that_was_faster_makes_the_call_fail() -> None:
    with Rig(manifest=STATEFUL, script=counts) as rig:
        host, session = Host(rig), rig.attest()
        host.call(session)

        def overtaken(question: Any) -> Any:
            rig.anchor = type(rig.anchor)(9, b"x" * 32, 2, 0, is_forgiven=False)
            return stores(question)

        host.answer = overtaken
        assert host.refused(session).code is Code.STATE_CONFLICT
        host.answer, rig.script = stores, gives_up
        assert host.refused(session).code is Code.STATE_ROLLED_BACK  # the other's records: this host does not show them


def test_a_guest_cannot_go_on_as_if_a_state_that_is_not_there_were_empty() -> None:
    def shrugs(called: Called) -> None:
        for _ in range(3):
            assert called.wants({"do": "get", "key": "k"})[0] == FrameKind.REFUSAL
        called.returns(b"1")

    with Rig(manifest=STATEFUL, script=shrugs) as rig:
        host, session = Host(rig), rig.attest()
        rig.anchor = type(rig.anchor)(9, b"x" * 32, 2, 0, is_forgiven=False)
        assert host.refused(session).code is Code.STATE_ROLLED_BACK
        rig.script = lambda called: called.returns(b"5")
        assert host.call(session).value == 5  # who does not touch it, is not concerned


def test_a_state_question_in_a_loop_ends_with_the_time() -> None:
    def loops(called: Called) -> None:
        while True:
            get(called)

    manifest = STATEFUL.replace("20000", "300")
    with Rig(manifest=manifest, script=loops) as rig:
        host, session = Host(rig), rig.attest()
        assert host.refused(session).code is Code.TIME_LIMIT
        rig.script = counts
        assert host.call(session).value == 1


def test_a_stream_has_one_transaction_that_is_kept_at_its_end() -> None:
    def flows(called: Called) -> None:
        if called.kind == FrameKind.CALL:
            reads(called)
        elif called.kind == FrameKind.END:
            called.ends(encode_json(get(called)))
        else:
            put(called, (get(called) or 0) + 1)
            called.pauses()

    with Rig(manifest=STATEFUL, script=flows) as rig:
        host, session = Host(rig), rig.attest()
        stream = Steps(host.enter, session, "flow")
        stream.open()
        stream.chunk(b"x")
        assert host.call(session).value is None  # not kept yet
        stream.end()
        assert stream.value == 2
        assert stream.last is not None
        assert stream.last.result.receipt.state == StateMark(1, 0)
        assert host.call(session).value == 2


@pytest.mark.parametrize("how", ["cancelled", "overtaken"])
def test_a_stream_that_does_not_end_well_keeps_nothing(how: str) -> None:
    def flows(called: Called) -> None:
        if called.kind == FrameKind.CALL:
            counts(called)
        elif called.kind == FrameKind.END:
            called.ends(b"1")
        elif called.kind in (FrameKind.OPEN, FrameKind.CHUNK):
            put(called, 1000 + (get(called) or 0))
            called.pauses()

    with Rig(manifest=STATEFUL, script=flows) as rig:
        host, session = Host(rig), rig.attest()
        stream = Steps(host.enter, session, "flow")
        stream.open()
        if how == "cancelled":
            stream.cancel()
        else:
            host.call(session)
            with pytest.raises(EnclaveRefusedError) as caught:
                stream.end()
            assert caught.value.fault.code is Code.STATE_CONFLICT
        assert host.call(session).value in (1, 2)
