"""A guest that lies, floods, stalls, dies, or says what it likes: the caller gets a typed refusal in time."""

import contextlib
import re
import threading
import time
from collections.abc import Callable
from typing import Any

import pytest
from tests.rigs.channel.guests import Called, GuestEndedError, Line, Script, echo, loads
from tests.rigs.channel.rig import HURRIED, MANIFEST, Rig, seal

from casemate.client.core import AttestedEnclave
from casemate.client.errors import EnclaveRefusedError
from casemate.enclave.guest.guest import LOAD_TIME
from casemate.enclave.guest.lease import LEASE, REST, SPARE
from casemate.engines.frames import NO_CALL, FrameKind, head_and_text
from casemate.wire.messages.entry import Left
from casemate.wire.protocol.faults import Code, Fault, fault
from casemate.wire.protocol.sandbox_layers import Layer, LayerName, LayerState

LIMIT = 0.5
SLACK = 0.5


def outcome(rig: Rig, session: AttestedEnclave, name: str = "echo", value: Any = None) -> Fault:
    """How the enclave refuses a call, which it must do in time."""
    pending = seal(session, name, value)
    started = time.monotonic()
    reply = rig.enter(pending.envelope)
    took = time.monotonic() - started
    assert isinstance(reply, Left), reply
    assert took < LIMIT + SLACK
    with pytest.raises(EnclaveRefusedError) as caught:
        pending.open(reply.sealed)
    return caught.value.fault


def works_again(rig: Rig, session: AttestedEnclave) -> None:
    guests = rig.guests
    rig.script = echo
    assert rig.call(session, "echo", {"n": 1}).value["arguments"] == {"n": 1}
    assert rig.guests <= guests + 1


def stall(_: Called) -> None:
    time.sleep(30)


def die(_: Called) -> None:
    raise GuestEndedError


def frame_of(kind: int, body: bytes, *, call: bytes | None = None) -> Script:
    return lambda called: called.line.say(kind, called.number if call is None else call, body)


def print_for_ever(called: Called) -> None:
    while True:
        called.prints("x")


class HurriedRig(Rig):
    """Calls have half a second."""

    def __init__(self, *, manifest: str = HURRIED, **rest: Any) -> None:
        super().__init__(manifest=manifest, **rest)


LIES: dict[str, Callable[[Called], None]] = {
    "garbage": lambda called: called.line.raw(b"\x07\x00\x00\x00garbage"),
    "an empty frame": lambda called: called.line.raw(bytes(4)),
    "half a frame, then nothing": lambda called: called.line.raw(b"\xff\x00\x00\x00half"),
    "an unknown kind": frame_of(99, b""),
    "the answer to another call": frame_of(FrameKind.RETURNED, b"{}", call=b"12345678"),
    "the answer to no call": frame_of(FrameKind.RETURNED, b"{}", call=NO_CALL),
    "that it is loaded": frame_of(FrameKind.LOADED, b""),
    "that it is warm": frame_of(FrameKind.WARM, b""),
    "a frame meant for guests": frame_of(FrameKind.CALL, b""),
    "an oversized frame": lambda called: called.line.raw((1 << 30).to_bytes(4, "little") + bytes(100_000)),
    "an oversized head": frame_of(FrameKind.FAILED, (1 << 20).to_bytes(4, "little") + bytes(5000)),
    "a head that is no object": frame_of(FrameKind.ASKED, head_and_text([], b"")),
    "a failure with a code of its own": lambda called: called.throws("Error", "", code="caller-refused"),
    "no end of console lines": print_for_ever,
}


@pytest.mark.parametrize("lie", LIES)
def test_a_guest_that_breaks_the_protocol_is_ended_and_replaced(lie: str) -> None:
    with HurriedRig(script=LIES[lie]) as rig:
        session = rig.attest()
        code = outcome(rig, session).code
        assert code in (Code.GUEST_CRASHED, Code.TIME_LIMIT)
        works_again(rig, session)
        assert rig.guests == 2


def test_a_result_behind_the_result_ends_the_guest_and_never_answers_the_next_call() -> None:
    with HurriedRig() as rig:
        session = rig.attest()
        sent = threading.Event()

        def twice(called: Called) -> None:
            called.returns(b'{"entry":"mine"}')
            called.returns(b'{"entry":"too much"}')
            sent.set()

        rig.script = twice
        assert rig.call(session, "echo", None).value == {"entry": "mine"}
        assert sent.wait(5)
        works_again(rig, session)
        assert rig.guests == 2


@pytest.mark.parametrize(
    ("text", "code"),
    [
        (b"", Code.RESULT_REFUSED),
        (b"undefined", Code.RESULT_REFUSED),
        (b"{", Code.RESULT_REFUSED),
        (b'{"entry":1}', Code.RESULT_REFUSED),
        (b'{"entry":"a","entry":"b"}', Code.RESULT_REFUSED),
        (b'{"entry":"\\ud800"}', Code.RESULT_REFUSED),
        (b'{"arguments":{"n":NaN}}', Code.RESULT_REFUSED),
        (b'{"arguments":{"n":1e999}}', Code.RESULT_REFUSED),
        (b"[" * 4000, Code.RESULT_REFUSED),
        (b"\xff\xff", Code.RESULT_REFUSED),
        (b'{"entry":"' + b"x" * 4096 + b'"}', Code.OUTPUT_LIMIT),
    ],
)
def test_results_that_break_their_schema_are_refused_and_cost_no_guest(text: bytes, code: Code) -> None:
    with HurriedRig(script=lambda called: called.returns(text)) as rig:
        session = rig.attest()
        assert outcome(rig, session).code is code
        works_again(rig, session)
        assert rig.guests == 1


def test_undeclared_members_of_a_result_stay_inside() -> None:
    text = b'{"entry":"e","leak":"secret","arguments":{"n":1,"leak":"secret"},"__proto__":{"leak":"secret"}}'
    with HurriedRig(script=lambda called: called.returns(text)) as rig:
        result = rig.call(rig.attest(), "echo", None)
        assert result.value == {"entry": "e", "arguments": {"n": 1}}
        assert result.receipt.output is not None
        assert "secret" not in result.receipt.output.content


def test_what_the_guests_exceptions_say_stays_inside() -> None:
    with HurriedRig(script=lambda called: called.throws("secret", "secret")) as rig:
        refusal = outcome(rig, rig.attest())
        assert refusal.code is Code.GUEST_ERROR
        assert "secret" not in refusal.reason


@pytest.mark.parametrize(
    ("code", "words"),
    [("guest-error", "threw"), ("output-limit", "longer than"), ("result-refused", "not JSON")],
)
def test_failures_are_told_in_the_enclaves_words(code: str, words: str) -> None:
    with HurriedRig(script=lambda called: called.throws("secret", "secret", code=code)) as rig:
        refusal = outcome(rig, rig.attest())
        assert refusal.code == code
        assert words in refusal.reason
        assert "secret" not in refusal.reason


def test_not_even_a_broken_protocol_carries_the_guests_words_out() -> None:
    with HurriedRig(script=lambda called: called.throws("Error", "", code="secret")) as rig:
        refusal = outcome(rig, rig.attest())
        assert refusal.code is Code.GUEST_CRASHED
        assert "secret" not in refusal.reason


def test_a_debug_enclave_tells_what_went_wrong_and_forwards_the_console() -> None:
    def script(called: Called) -> None:
        called.prints("looking")
        called.throws("TypeError", "x is undefined", place={"path": "guest/main.js", "line": 1, "column": 8})

    with HurriedRig(script=script, manifest=MANIFEST.replace("debug = false", "debug = true"), debug=True) as rig:
        pending = seal(rig.attest(), "echo", None)
        assert rig.enter(pending.envelope).text == "looking"
        told = re.escape("TypeError: x is undefined at guest/main.js:1:8\n    export function echo() {}")
        with pytest.raises(EnclaveRefusedError, match=told):
            pending.open(rig.receive().sealed)


def test_a_production_enclave_tells_no_place() -> None:
    def script(called: Called) -> None:
        called.throws("TypeError", "x is undefined", place={"path": "guest/main.js", "line": 1, "column": 8})

    with HurriedRig(script=script) as rig:
        refusal = outcome(rig, rig.attest())
        assert refusal.reason == "the function threw an exception; a debug enclave would tell which"


def test_the_console_of_a_production_enclave_goes_nowhere() -> None:
    def script(called: Called) -> None:
        called.prints("looking")
        echo(called)

    with HurriedRig(script=script) as rig:
        session = rig.attest()
        rig.call(session, "echo", None)
        rig.call(session, "echo", None)


@pytest.mark.parametrize("script", [stall, lambda called: called.prints("and then nothing")], ids=["silent", "chatty"])
def test_a_guest_that_works_too_long_is_ended_and_replaced(script: Script) -> None:
    with HurriedRig(script=script) as rig:
        session = rig.attest()
        assert outcome(rig, session).code is Code.TIME_LIMIT
        works_again(rig, session)


def test_a_guest_that_never_stops_asking_runs_into_its_limit() -> None:
    def script(called: Called) -> None:
        while True:
            called.asks("absent", b"null")

    with HurriedRig(script=script) as rig:
        session = rig.attest()
        assert outcome(rig, session).code is Code.TIME_LIMIT
        works_again(rig, session)


def test_a_guest_that_asks_and_reads_no_answer_is_ended_before_they_pile_up() -> None:
    """It is over as soon as a pipe full of answers waits: long before the time is over, or the enclave's memory."""

    def script(called: Called) -> None:
        while True:
            called.line.say(FrameKind.ASKED, called.number, head_and_text({"name": "absent"}, b"null"))

    with HurriedRig(manifest=HURRIED.replace("500", "60000"), script=script) as rig:
        session = rig.attest()
        pending = seal(session, "echo", None)
        reply = rig.enter(pending.envelope)
        assert isinstance(reply, Left)
        with pytest.raises(EnclaveRefusedError) as caught:
            pending.open(reply.sealed)
        assert caught.value.fault.code is Code.GUEST_CRASHED
        works_again(rig, session)


def test_a_guest_that_stops_reading_is_ended_and_replaced() -> None:
    def deaf(line: Line) -> None:
        loads(line)
        time.sleep(5)

    with HurriedRig(loader=deaf) as rig:
        session = rig.attest()
        rig.loader = loads
        assert outcome(rig, session, value={"big": "x" * 1_000_000}).code is Code.TIME_LIMIT
        works_again(rig, session)


def test_a_dying_guest_is_noticed_at_once() -> None:
    with HurriedRig(script=die) as rig:
        session = rig.attest()
        started = time.monotonic()
        assert outcome(rig, session).code is Code.GUEST_CRASHED
        assert time.monotonic() - started < LIMIT
        works_again(rig, session)


@pytest.mark.parametrize(
    ("said", "code"),
    [("memory-limit", Code.MEMORY_LIMIT), ("time-limit", Code.TIME_LIMIT), ("nonsense", Code.GUEST_CRASHED)],
)
def test_the_spawner_says_why_a_guest_is_gone(said: str, code: Code) -> None:
    with HurriedRig() as rig:
        session = rig.attest()

        def killed(_: Called) -> None:
            rig.tell_gone(said, "the spawner's words")
            raise GuestEndedError

        rig.script = killed
        refusal = outcome(rig, session)
        assert (refusal.code, refusal.reason) == (code, "the spawner's words")
        works_again(rig, session)


class BusyRig(HurriedRig):
    """Its spawner is so busy that it says why a guest is gone only when the call's time is up."""

    def end_guest(self, guest: int) -> None:
        time.sleep(LIMIT)
        self.tell_gone("memory-limit", "too large", guest=guest)


def test_the_cause_is_waited_for_though_the_spawner_is_busy() -> None:
    with BusyRig(script=die) as rig:
        refusal = outcome(rig, rig.attest())
        assert (refusal.code, refusal.reason) == (Code.MEMORY_LIMIT, "too large")


def test_a_guest_that_closes_its_pipe_and_lives_on_is_ended_at_once() -> None:
    with HurriedRig(script=die) as rig:
        assert outcome(rig, rig.attest()).code is Code.GUEST_CRASHED
        rig.watches_when(lambda told: 0 in told)


def test_a_guest_that_dies_between_calls_is_replaced_by_the_next() -> None:
    def last_call(called: Called) -> None:
        echo(called)
        raise GuestEndedError

    with HurriedRig(script=last_call) as rig:
        session = rig.attest()
        rig.call(session, "echo", None)
        time.sleep(0.1)
        works_again(rig, session)
        assert rig.guests == 2


def test_the_caller_hears_of_a_failure_before_a_new_guest_is_there() -> None:
    loading = threading.Event()

    def slow(line: Line) -> None:
        loading.wait(5)
        loads(line)

    with HurriedRig(script=die) as rig:
        session = rig.attest()
        rig.loader = slow
        assert outcome(rig, session).code is Code.GUEST_CRASHED
        assert outcome(rig, session).code is Code.TIME_LIMIT, "no guest is ready in time"
        loading.set()
        works_again(rig, session)


def test_guests_that_cannot_be_had_are_refused_in_time_and_asked_for_again() -> None:
    with HurriedRig(script=die) as rig:
        session = rig.attest()
        rig.spawner_refuses = fault(Code.UNAVAILABLE, "no guest today")
        assert outcome(rig, session).code is Code.GUEST_CRASHED
        assert outcome(rig, session).code is Code.UNAVAILABLE
        rig.spawner_refuses = None
        works_again(rig, session)


def test_a_guest_under_fewer_layers_than_were_reported_is_refused() -> None:
    with HurriedRig(script=die) as rig:
        session = rig.attest()
        layers, rig.guest_layers = rig.guest_layers, (Layer(LayerName.LANDLOCK, LayerState.UNAVAILABLE, ""),)
        assert outcome(rig, session).code is Code.GUEST_CRASHED
        assert outcome(rig, session).code is Code.UNAVAILABLE
        rig.guest_layers = layers
        works_again(rig, session)


def test_a_program_that_fails_to_load_again_fails_calls_in_time() -> None:
    def broken(line: Line) -> None:
        head = {"code": "guest-error", "name": "SyntaxError", "message": "unexpected"}
        line.say(FrameKind.FAILED, NO_CALL, head_and_text(head, b""))

    with HurriedRig(script=die) as rig:
        session = rig.attest()
        rig.loader = broken
        assert outcome(rig, session).code is Code.GUEST_CRASHED
        assert outcome(rig, session).code is Code.GUEST_ERROR
        rig.loader = loads
        works_again(rig, session)


def test_the_spawner_is_told_when_a_guest_works_and_when_it_has_rested_for_a_while() -> None:
    with HurriedRig() as rig:
        rig.watches_when(lambda told: len(told) == 2)  # it is loaded, and has rested
        session = rig.attest()
        started = time.monotonic()
        rig.call(session, "echo", None)
        took = time.monotonic() - started
        loading, rested, working, rested_again = rig.watches_when(lambda told: len(told) == 4)
        assert time.monotonic() - started >= REST
        assert rested is rested_again is None
        assert loading is not None
        assert working is not None
        # What is left of the call's time when its guest begins, and the lease, in whole milliseconds. What is gone by
        # then is a part of what the call took, and rounding down takes less than one more.
        assert (LIMIT + LEASE - took) * 1000 - 1 <= working <= (LIMIT + LEASE) * 1000
        assert (LOAD_TIME + SPARE) * 1000 <= loading <= (LOAD_TIME + LEASE) * 1000


def test_calls_one_after_the_other_do_not_cost_the_spawner_a_message_each() -> None:
    with HurriedRig() as rig:
        rig.watches_when(lambda told: len(told) == 2)
        session = rig.attest()
        began = started = time.monotonic()
        slow = 0
        for _ in range(50):
            rig.call(session, "echo", None)
            slow += time.monotonic() - started > REST / 2
            started = time.monotonic()
        renewals = (started - began) / (LEASE - SPARE)
        rig.watches_when(lambda told: len(told) >= 4)
        # One at the beginning and one at the end, one for each tenth of a second, and two for each rest in between.
        assert len(rig.watches) - 2 <= 2 + renewals + 2 * slow


def test_a_guest_given_up_is_ended_by_the_spawner_at_once() -> None:
    with HurriedRig(script=stall) as rig:
        outcome(rig, rig.attest())
        with contextlib.suppress(AssertionError):
            rig.attest()
        rig.watches_when(lambda told: 0 in told)
