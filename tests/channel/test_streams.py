"""Streams inside the enclave: who may step, what is refused and changes nothing, and what is given up when."""

import hashlib
import itertools
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import pytest
from tests.rigs.channel.guests import Called
from tests.rigs.channel.rig import ALICE, BOB, MANIFEST, Rig, seal
from tests.rigs.channel.steps import Steps

from casemate.client.core import AttestedEnclave
from casemate.client.errors import EnclaveRefusedError
from casemate.enclave.entry import open_streams as registry
from casemate.enclave.entry.stream_calls import MAX_STREAM_ARGUMENTS
from casemate.enclave.guest.lease import REST
from casemate.engines.frames import FrameKind
from casemate.wire.encodings.json_text import encode_json
from casemate.wire.messages.entry import Left, OcallAnswer
from casemate.wire.protocol.call import MAX_CHUNK, Envelope, StepKind, StepTaken, StreamEnded
from casemate.wire.protocol.faults import Code

STREAMING = f"""{MANIFEST}
[entry.flow]
stream = true
input = {{ type = ["object", "null", "string"] }}
output = {{ type = "integer" }}
callers = "anyone"

[entry.other]
stream = true
input = {{}}
output = {{ type = "integer" }}
callers = "anyone"

[entry.mine]
stream = true
input = {{}}
output = {{ type = "integer" }}
callers = ["alice", "bob"]
"""
HURRIED = STREAMING.replace("20000", "300")


def echoes(called: Called) -> None:
    """Puts out what comes in, and ends with 7."""
    if called.kind == FrameKind.CHUNK:
        called.pauses(called.arguments)
    elif called.kind == FrameKind.END:
        called.ends(b"7", b"bye")
    elif called.kind == FrameKind.CALL:
        called.returns(b'{"entry": "echo"}')
    elif called.kind != FrameKind.DROP:
        called.pauses()


class Client:
    """Opens streams in one session."""

    def __init__(self, rig: Rig, session: AttestedEnclave | None = None) -> None:
        self.rig = rig
        self.session = session or rig.attest()

    def enter(self, envelope: Envelope) -> bytes:
        reply = self.rig.enter(envelope)
        assert isinstance(reply, Left), reply
        return reply.sealed

    def stream(self, entry: str = "flow", caller: Any = None) -> Steps:
        return Steps(self.enter, self.session, entry, caller)

    def opened(self, entry: str = "flow", caller: Any = None) -> Steps:
        stream = self.stream(entry, caller)
        stream.open()
        return stream


@contextmanager
def enclave(script: Callable[[Called], None] = echoes, manifest: str = STREAMING) -> Iterator[Client]:
    with Rig(script=script, manifest=manifest) as rig:
        yield Client(rig)


def refusal(step: Callable[[], object]) -> Code:
    with pytest.raises(EnclaveRefusedError) as caught:
        step()
    return caught.value.fault.code


def hashed(*pieces: bytes) -> tuple[bytes, int]:
    whole = b"".join(pieces)
    return hashlib.sha256(whole).digest(), len(whole)


def test_the_receipt_is_over_all_bytes_both_ways() -> None:
    with enclave() as client:
        stream = client.stream()
        assert stream.open({"a": 1}) == StepTaken(1, is_hungry=True, data=b"")
        pieces = [b"x" * size for size in (1, 1000, MAX_CHUNK)]
        for piece in pieces:
            assert stream.chunk(piece) == StepTaken(1, is_hungry=True, data=piece)
        ended = stream.end()
        assert isinstance(ended, StreamEnded)
        assert ended.data == b"bye"
        receipt = ended.result.receipt
        assert (receipt.sequence, receipt.counter, receipt.entry, receipt.state) == (5, 1, "flow", None)
        assert stream.receipt_is_over(b'{"a":1}', hashed(*pieces), hashed(*pieces, b"bye"))
        assert not stream.receipt_is_over(b'{"a":1}', hashed(*pieces), hashed(*pieces))
        assert refusal(stream.end) is Code.STREAM_UNKNOWN


def test_a_stream_belongs_to_session_caller_and_entry_point() -> None:
    with enclave() as client:
        stream = client.opened("mine", ALICE)
        for thief in (
            Steps(client.enter, client.session, "mine", BOB, stream.stream),
            Steps(client.enter, client.session, "mine", None, stream.stream),
            Steps(client.enter, client.session, "flow", ALICE, stream.stream),
            Steps(client.enter, client.session, "echo", ALICE, stream.stream),
            Steps(client.enter, client.session, "absent", ALICE, stream.stream),
            Steps(client.enter, client.rig.attest(), "mine", ALICE, stream.stream),
            Steps(client.enter, client.session, "mine", ALICE, stream.stream + 1),
            Steps(client.enter, client.session, "mine", ALICE, 0),
        ):
            for step in (thief.end, thief.pull, thief.cancel, lambda thief=thief: thief.chunk(b"x")):
                assert refusal(step) is Code.STREAM_UNKNOWN
        stream.chunk(b"x")
        stream.end()
        assert stream.receipt_is_over(b"null", hashed(b"x"), hashed(b"xbye"))
        assert stream.last is not None
        assert stream.last.result.receipt.caller == ALICE.public_key


@pytest.mark.parametrize(
    ("entry", "arguments", "caller", "code"),
    [
        ("mine", None, None, Code.CALLER_REFUSED),
        ("absent", None, None, Code.ENTRY_UNKNOWN),
        ("echo", None, None, Code.ARGUMENTS_REFUSED),
        ("flow", 5, None, Code.ARGUMENTS_REFUSED),
        ("flow", "x" * MAX_STREAM_ARGUMENTS, None, Code.ARGUMENTS_REFUSED),
    ],
)
def test_what_may_not_be_opened_is_refused(entry: str, arguments: Any, caller: Any, code: Code) -> None:
    with enclave() as client:
        assert refusal(lambda: client.stream(entry, caller).open(arguments)) is code
        assert client.opened().stream == 1


def test_a_stream_is_opened_as_one_and_a_call_is_not() -> None:
    with enclave() as client:
        pending = seal(client.session, "flow", None)
        with pytest.raises(EnclaveRefusedError, match="is a stream: open it as one"):
            pending.open(client.enter(pending.envelope))
        with pytest.raises(EnclaveRefusedError, match="is no stream: call it in one piece"):
            client.stream("echo").open()
        assert refusal(lambda: client.stream().step(StepKind.OPEN, b"null", stream=5)) is Code.ARGUMENTS_REFUSED


def test_what_a_stream_does_not_wait_for_changes_nothing() -> None:
    hungry = itertools.cycle([True, False])

    def turns(called: Called) -> None:
        if called.kind == FrameKind.END:
            called.ends(b"1")
        elif called.kind != FrameKind.DROP:
            called.pauses(hungry=next(hungry))

    with enclave(turns) as client:
        stream = client.opened()
        for _ in range(3):
            assert refusal(stream.pull) is Code.WRONG_STATE
            assert refusal(lambda: stream.chunk(b"")) is Code.ARGUMENTS_REFUSED
            assert refusal(lambda: stream.step(StepKind.END, b"x")) is Code.ARGUMENTS_REFUSED
            assert refusal(lambda: stream.step(StepKind.CANCEL, b"x")) is Code.ARGUMENTS_REFUSED
            assert refusal(lambda: stream.chunk(bytes(MAX_CHUNK + 1))) is Code.ARGUMENTS_REFUSED
            stream.chunk(b"x")
            assert refusal(lambda: stream.chunk(b"x")) is Code.WRONG_STATE
            assert refusal(stream.end) is Code.WRONG_STATE
            assert refusal(lambda: stream.step(StepKind.PULL, b"x")) is Code.ARGUMENTS_REFUSED
            stream.pull()
        stream.end()
        assert stream.receipt_is_over(b"null", hashed(b"xxx"), hashed())


def test_a_cancelled_stream_is_gone_and_the_guest_is_told() -> None:
    dropped = []

    def notes(called: Called) -> None:
        if called.kind == FrameKind.DROP:
            dropped.append(called.number)
        echoes(called)

    with enclave(notes) as client:
        stream = client.opened()
        assert stream.cancel() == StepTaken(1, is_hungry=False, data=b"")
        assert refusal(stream.end) is Code.STREAM_UNKNOWN
        client.opened().chunk(b"x")
        assert len(dropped) == 1


def test_streams_and_calls_of_all_sessions_take_turns() -> None:
    with enclave() as client:
        clients = [client, Client(client.rig), Client(client.rig)]
        streams = [one.opened() for one in clients]
        for _ in range(3):
            for one, stream in zip(clients, streams, strict=True):
                stream.chunk(b"piece")
                assert one.rig.call(one.session, "echo", None).value == {"entry": "echo"}
        for stream in streams:
            stream.end()
            assert stream.receipt_is_over(b"null", hashed(b"piece" * 3), hashed(b"piece" * 3, b"bye"))


def test_so_many_streams_and_then_the_longest_idle_one_makes_room(monkeypatch: pytest.MonkeyPatch) -> None:
    with enclave() as client:
        streams = [client.opened() for _ in range(registry.MAX_STREAMS)]
        assert refusal(client.stream().open) is Code.BUSY
        streams[0].chunk(b"x")
        monkeypatch.setattr(registry, "IDLE_TIME", 0.0)
        late = client.opened()
        assert refusal(streams[1].end) is Code.STREAM_UNKNOWN
        for stream in (streams[0], *streams[2:], late):
            stream.end()


FAILS: dict[str, tuple[Callable[[Called], None], Code]] = {
    "throws": (lambda called: called.throws("Error", "no"), Code.GUEST_ERROR),
    "yields too much": (lambda called: called.throws("E", "", "output-limit"), Code.OUTPUT_LIMIT),
    "ends with something else": (lambda called: called.ends(b'"text"'), Code.RESULT_REFUSED),
    "ends with too much": (lambda called: called.ends(b"1" * 5000), Code.OUTPUT_LIMIT),
    "returns as a call does": (lambda called: called.returns(b"1"), Code.GUEST_CRASHED),
    "sends too long a piece": (lambda called: called.pauses(bytes(MAX_CHUNK + 1)), Code.GUEST_CRASHED),
    "sends half an end": (
        lambda called: called.line.say(FrameKind.ENDED, called.number, b"\xff\0\0"),
        Code.GUEST_CRASHED,
    ),
    "speaks of another stream": (
        lambda called: called.line.say(FrameKind.PAUSED, b"another!", b"\1"),
        Code.GUEST_CRASHED,
    ),
    "sends garbage": (lambda called: called.line.raw(b"garbage garbage garbage"), Code.GUEST_CRASHED),
    "says nothing": (lambda _called: None, Code.TIME_LIMIT),
}


@pytest.mark.parametrize("how", FAILS)
def test_a_step_that_fails_tells_why_and_ends_the_stream(how: str) -> None:
    fails, code = FAILS[how]
    with enclave(manifest=HURRIED) as client:
        stream, bystander = client.opened(), client.opened()

        def script(called: Called) -> None:
            (fails if called.kind == FrameKind.CHUNK else echoes)(called)

        client.rig.script = script
        assert refusal(lambda: stream.chunk(b"x")) is code
        assert refusal(stream.end) is Code.STREAM_UNKNOWN
        client.rig.script = echoes
        if code in (Code.GUEST_CRASHED, Code.TIME_LIMIT):  # the guest was ended, and every stream with it
            assert refusal(bystander.end) is Code.STREAM_UNKNOWN
        else:
            bystander.end()
        client.opened().end()


def test_a_guest_that_speaks_between_steps_is_ended() -> None:
    spoken = threading.Event()

    def pauses_twice(called: Called) -> None:
        called.pauses()
        called.pauses()
        spoken.set()

    with enclave(pauses_twice) as client:
        stream = client.stream()
        stream.open()
        client.rig.script = echoes
        assert spoken.wait(20)  # else its second word could come after `end`, as the answer to it
        assert refusal(stream.end) in (Code.STREAM_UNKNOWN, Code.GUEST_CRASHED)
        client.opened().end()


def test_streams_of_a_guest_that_died_at_rest_are_unknown() -> None:
    with enclave() as client:
        stream = client.opened()
        client.rig.tell_gone("memory-limit", "too large")
        client.opened().end()
        assert refusal(stream.end) is Code.STREAM_UNKNOWN


def test_each_step_has_the_time_limit_to_itself_and_may_ask_the_host() -> None:
    def asks(called: Called) -> None:
        if called.kind == FrameKind.CHUNK:
            called.pauses(called.asks("now", b"{}") or b"refused")
        else:
            echoes(called)

    with enclave(asks) as client:
        stream = client.opened()
        entered: list[Any] = []

        def enter(envelope: Envelope) -> bytes:
            asked = client.rig.enter(envelope)
            entered.append(asked)
            reply = client.rig.ask(OcallAnswer(asked.number, b"5")) if not isinstance(asked, Left) else asked
            assert isinstance(reply, Left)
            return reply.sealed

        stream.enter = enter
        for _ in range(3):
            time.sleep(2 * REST)
            assert stream.chunk(b"x") == StepTaken(1, is_hungry=True, data=b"5")
        # A deadline for each step, and none once it has rested for a while.
        client.rig.watches_when(lambda told: len(told) >= 8)
        stream.end()


def test_a_replayed_step_is_refused() -> None:
    with enclave() as client:
        stream, seen = client.opened(), []

        def enter(envelope: Envelope) -> bytes:
            seen.append(envelope)
            return client.enter(envelope)

        stream.enter = enter
        stream.chunk(b"x")
        assert client.rig.enter(seen[0]).code is Code.SEQUENCE_USED
        stream.end()
        assert stream.receipt_is_over(b"null", hashed(b"x"), hashed(b"xbye"))


def test_a_result_s_commitments_need_the_result() -> None:
    with enclave() as client:
        stream = client.opened()
        stream.end()
        assert stream.value == 7
        assert encode_json(stream.value) == b"7"
