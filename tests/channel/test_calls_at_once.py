"""Several calls at once: none holds up another, the limits hold, and a hostile host gets nothing out of it."""

import contextlib
import os
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import pytest
from tests.rigs.channel.guests import Called, GuestEndedError, echo
from tests.rigs.channel.rig import ALICE, BOB, Rig, manifest_with, seal

from casemate.client.caller_keys import CallerKey
from casemate.client.core import AttestedEnclave, PendingCall
from casemate.client.errors import EnclaveRefusedError
from casemate.enclave.entry import dispatch
from casemate.enclave.entry.dispatch import MAX_ENTRIES
from casemate.enclave.guest import newcomers
from casemate.engines.frames import FrameKind, frame, head_and_text
from casemate.link.numbered_frames import MAX_NUMBER, NEWS, NUMBER_SIZE
from casemate.wire.encodings.message import encode_message
from casemate.wire.messages.entry import Challenge, ChallengeAnswer, Enter, Left, Ocall, OcallAnswer
from casemate.wire.protocol.faults import Code
from casemate.wire.protocol.isolation import Isolation

PATIENCE = 5.0


class Crowd:
    """Calls of several callers of one enclave, by the numbers of their entries."""

    def __init__(self, rig: Rig) -> None:
        self.rig = rig
        self.session = rig.attest()
        self.pending: dict[int, PendingCall] = {}

    def enter(
        self,
        name: str = "echo",
        value: Any = None,
        caller: CallerKey | None = None,
        session: AttestedEnclave | None = None,
    ) -> int:
        call = seal(session or self.session, name, value, caller)
        number = self.rig.send(encode_message(Enter(call.envelope)))
        self.pending[number] = call
        return number

    def answer(self) -> tuple[int, Any]:
        """The next reply: its entry, and the result or the refusal."""
        reply = self.rig.receive()
        number = self.rig.answered
        if not isinstance(reply, Left):
            return number, reply
        try:
            return number, self.pending.pop(number).open(reply.sealed).value
        except EnclaveRefusedError as error:
            return number, error.fault


@contextmanager
def crowd(
    script: Callable[[Called], None] = echo,
    *,
    isolation: Isolation = Isolation.CALLER,
    concurrent: int | None = None,
    guests: int | None = 4,
) -> Iterator[Crowd]:
    manifest = manifest_with(
        isolation=isolation, concurrent=concurrent, guests=None if isolation is Isolation.SHARED else guests
    )
    with Rig(script=script, manifest=manifest) as rig:
        yield Crowd(rig)


class Gate:
    """A script whose calls by name wait until they are let go; it counts how many are at work."""

    def __init__(self, *held: str) -> None:
        self.held = held
        self.opened = threading.Event()
        self.order: list[Any] = []
        self.at_work = 0
        self.most = 0
        self._lock = threading.Lock()

    def __call__(self, called: Called) -> None:
        with self._lock:
            self.order.append(called.caller["name"] if isinstance(called.caller, dict) else None)
            self.at_work += 1
            self.most = max(self.most, self.at_work)
        if called.entry in self.held:
            self.opened.wait(PATIENCE)
        with self._lock:
            self.at_work -= 1
        if called.entry == "number":
            called.returns(b"1")
        else:
            echo(called)

    def wait_for(self, count: int) -> None:
        deadline = time.monotonic() + PATIENCE
        while len(self.order) < count and time.monotonic() < deadline:
            time.sleep(0.002)
        assert len(self.order) >= count


def test_a_call_in_its_guest_holds_up_no_other() -> None:
    gate = Gate("number")
    with crowd(gate) as calls:
        slow = calls.enter("number", {"n": 1}, ALICE)
        gate.wait_for(1)
        for _ in range(5):
            quick = calls.enter("echo", None, BOB)
            assert calls.answer()[0] == quick
        gate.opened.set()
        assert calls.answer() == (slow, 1)


def test_a_call_in_an_ocall_holds_up_no_other_and_answers_find_their_questions_in_any_order() -> None:
    def script(called: Called) -> None:
        if called.entry == "number":
            called.returns(called.asks("now", b"{}") or b"-1")
        else:
            echo(called)

    with crowd(script) as calls:
        entries = [calls.enter("number", {"n": 1}, caller) for caller in (ALICE, BOB, None)]
        questions = [calls.rig.receive() for _ in entries]
        assert all(isinstance(question, Ocall) for question in questions)
        assert len({question.number for question in questions}) == 3
        quick = calls.enter("echo", None, ALICE)
        assert calls.answer()[0] == quick
        for question in reversed(questions):
            calls.rig.send(encode_message(OcallAnswer(question.number, b"%d" % (100 + question.number))))
        answers = dict(calls.answer() for _ in entries)
        assert sorted(answers) == entries
        assert sorted(answers.values()) == sorted(100 + question.number for question in questions)


@pytest.mark.parametrize("concurrent", [1, 3])
def test_no_more_calls_are_at_work_than_the_manifest_says(concurrent: int) -> None:
    gate = Gate("number")
    with crowd(gate, isolation=Isolation.CALL, concurrent=concurrent, guests=4) as calls:
        for _ in range(8):
            calls.enter("number", {"n": 1})
        gate.wait_for(concurrent)
        time.sleep(0.1)
        gate.opened.set()
        assert [calls.answer()[1] for _ in range(8)] == [1] * 8
        assert gate.most == concurrent


def test_a_shared_guest_works_for_one_at_a_time_though_many_may_call() -> None:
    gate = Gate()
    with crowd(gate, isolation=Isolation.SHARED) as calls:
        for _ in range(8):
            calls.enter()
        assert all(value["entry"] == "echo" for value in (calls.answer()[1] for _ in range(8)))
        assert gate.most == 1
        assert calls.rig.guests == 1


@pytest.mark.parametrize("isolation", list(Isolation))
def test_a_caller_s_call_comes_after_one_of_another_s_flood(isolation: Isolation) -> None:
    gate = Gate("number")
    concurrent = None if isolation is Isolation.SHARED else 4
    with crowd(gate, isolation=isolation, guests=1, concurrent=concurrent) as calls:
        for _ in range(20):
            calls.enter("number", {"n": 1}, ALICE)
        gate.wait_for(1)
        calls.enter("number", {"n": 1}, BOB)
        time.sleep(0.05)
        gate.opened.set()
        assert [calls.answer()[1] for _ in range(21)] == [1] * 21
        # Four of Alice's have turns, and Bob gets the next one; then the guest's queue has one of hers before his.
        assert gate.order.index("bob") <= 4 + 2


def test_two_steps_of_one_session_may_overtake_each_other_and_no_number_counts_twice() -> None:
    with crowd() as calls:
        first, second = seal(calls.session, "echo", 1), seal(calls.session, "echo", 2)
        calls.rig.send(encode_message(Enter(second.envelope)))
        assert isinstance(calls.rig.receive(), Left)
        assert calls.rig.enter(first.envelope).code is Code.SEQUENCE_USED
        assert calls.rig.enter(second.envelope).code is Code.SEQUENCE_USED


@pytest.mark.parametrize("number", [1, 7, MAX_NUMBER])
def test_numbers_of_entries_are_the_host_s_to_choose_and_to_confuse(number: int) -> None:
    prefix = number.to_bytes(NUMBER_SIZE, "little")
    with crowd() as calls:
        pending = [seal(calls.session, "echo", {"n": n}) for n in range(5)]
        for call in pending:
            calls.rig.send_frame(prefix + encode_message(Enter(call.envelope)))
        for _ in pending:
            reply = calls.rig.receive()
            assert isinstance(reply, Left)
            assert calls.rig.answered == number
        assert calls.rig.call(calls.session, "echo", {"n": 9}).value["arguments"] == {"n": 9}


def test_an_entry_under_no_number_is_dropped() -> None:
    with crowd() as calls:
        call = seal(calls.session, "echo", None)
        calls.rig.send_frame(NEWS.to_bytes(NUMBER_SIZE, "little") + encode_message(Enter(call.envelope)))
        assert isinstance(calls.rig.enter(call.envelope), Left), "nor is its number in the session used up"


def test_entries_beyond_the_limit_are_refused_at_once_and_nothing_is_left_of_them() -> None:
    gate = Gate("number")
    with crowd(gate, concurrent=2) as calls:
        for _ in range(200):
            calls.enter("number", {"n": 1}, ALICE)
        refused = [calls.answer() for _ in range(200 - MAX_ENTRIES)]
        assert {reply.code for _, reply in refused} == {Code.BUSY}
        assert [number for number, _ in refused] == sorted(calls.pending)[MAX_ENTRIES:]
        gate.opened.set()
        served = Counter(str(calls.answer()[1]) for _ in range(MAX_ENTRIES))
        assert served == {"1": MAX_ENTRIES}
        assert isinstance(calls.rig.ask(Challenge(bytes(32), bytes(512))), ChallengeAnswer)


def test_large_entries_are_refused_before_they_fill_the_memory(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(dispatch, "MAX_BYTES", 8 * 100_000)  # its own is 8 of the longest, which take long to seal
    gate = Gate("number")
    with crowd(gate, guests=1) as calls:
        calls.enter("number", {"n": 1}, ALICE)
        gate.wait_for(1)
        large = [calls.enter("echo", {"secret": "x" * 99_000}, ALICE) for _ in range(9)]
        refused = dict(calls.answer() for _ in range(2))
        assert {refusal.code for refusal in refused.values()} == {Code.BUSY}
        assert set(refused) == set(large[-2:])
        gate.opened.set()
        assert len({calls.answer()[0] for _ in range(8)}) == 8
        calls.enter("echo", {"secret": "x" * 99_000}, ALICE)
        assert calls.answer()[1].code is Code.OUTPUT_LIMIT, "it was called: what has been answered counts no more"


def test_an_answer_to_another_call_s_question_is_that_call_s_alone() -> None:
    def script(called: Called) -> None:
        called.returns(called.asks("now", b"{}") or b"-1")

    with crowd(script) as calls:
        one = calls.enter("number", {"n": 1}, ALICE)
        question = calls.rig.receive()
        other = calls.enter("number", {"n": 1}, BOB)
        its = calls.rig.receive()
        for _ in range(3):  # the host answers Bob's question thrice, and Alice's not
            calls.rig.send(encode_message(OcallAnswer(its.number, b"5")))
        assert calls.answer() == (other, 5)
        calls.rig.send(encode_message(OcallAnswer(question.number, b"6")))
        assert calls.answer() == (one, 6)


def test_a_guest_that_floods_its_enclave_with_questions_does_not_hold_up_another_caller() -> None:
    stop = threading.Event()

    def script(called: Called) -> None:
        if called.entry != "number":
            echo(called)
            return
        asked = frame(FrameKind.ASKED, called.number, head_and_text({"name": "absent"}, b"null"))
        burst = (len(asked).to_bytes(4, "little") + asked) * 1500
        threading.Thread(target=drain, args=(called,), daemon=True).start()
        with contextlib.suppress(GuestEndedError):
            while not stop.is_set():
                called.line.raw(burst)

    with crowd(script) as calls:
        for _ in range(3):
            calls.rig.call(calls.session, "echo", None, BOB)
        alone = min(timed_call(calls) for _ in range(20))
        calls.enter("number", {"n": 1}, ALICE)
        time.sleep(0.1)
        beside = sorted(timed_call(calls) for _ in range(20))
        stop.set()
        # A pipe full of questions takes some 100 ms, here more, where the guests are threads of the same interpreter.
        assert beside[10] < alone + 0.05, (alone, beside)


def timed_call(calls: Crowd) -> float:
    began = time.monotonic()
    number = calls.enter("echo", None, BOB)
    assert calls.answer()[0] == number
    return time.monotonic() - began


def drain(called: Called) -> None:
    """Reads answers, and looks at none."""
    with contextlib.suppress(OSError):
        while os.read(called.line.reading, 65536):
            pass


def test_newcomers_that_wait_for_their_turn_keep_nobody_else_from_calling() -> None:
    with crowd(concurrent=1) as calls:
        assert calls.rig.call(calls.session, "echo", None, BOB).value["entry"] == "echo"
        strangers = [calls.rig.attest() for _ in range(newcomers.BURST + 4)]
        entered = [calls.enter(session=session) for session in strangers]
        known = calls.enter("echo", None, BOB)
        order = [calls.answer()[0] for _ in [*entered, known]]
        assert order.index(known) < len(order) - 2, "before those whose turn comes after a while"


@pytest.mark.alone
def test_a_call_that_waits_two_seconds_in_an_ocall_delays_no_other_call_by_five_milliseconds() -> None:
    def script(called: Called) -> None:
        if called.entry == "number":
            called.returns(called.asks("now", b"{}") or b"-1")
        else:
            echo(called)

    with crowd(script) as calls:
        for _ in range(20):
            timed_call(calls)
        alone = sorted(timed_call(calls) for _ in range(100))
        slow = calls.enter("number", {"n": 1}, ALICE)
        question = calls.rig.receive()
        asked = time.monotonic()
        beside = sorted(timed_call(calls) for _ in range(100))
        time.sleep(max(0.0, asked + 2 - time.monotonic()))
        calls.rig.send(encode_message(OcallAnswer(question.number, b"7")))
        assert calls.answer() == (slow, 7)
        assert beside[98] < alone[98] + 0.005, (alone[98], beside[98])
