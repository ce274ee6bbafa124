from collections.abc import Callable

import pytest
from hypothesis import given
from hypothesis import strategies as st

from casemate.engines.command import GuestProgram
from casemate.engines.conversation import MAX_PRINTED, Conversation, Turn
from casemate.engines.errors import EngineUnknownError, GuestMisbehavedError, NotNowError
from casemate.engines.frames import (
    NO_CALL,
    OVERHEAD,
    Asked,
    Ended,
    Failed,
    FrameKind,
    Loaded,
    Paused,
    Printed,
    Returned,
    Wanted,
    frame,
    head_and_text,
)
from casemate.engines.questions import MAX_QUESTION
from casemate.engines.questions.state import GetState
from casemate.engines.registry import engine_named
from casemate.wire.protocol.call import MAX_CHUNK
from casemate.wire.protocol.faults import Code

PROGRAM = GuestProgram((), ("main",), output_limit=1000, ocall_limit=500)
STREAMING = GuestProgram((), ("main",), output_limit=MAX_QUESTION, ocall_limit=500, streams=("main",))
NUMBER, OTHER = b"number!!", b"another!"

LOADED = frame(FrameKind.LOADED, NO_CALL)
FAILURE = head_and_text({"code": "guest-error", "name": "Error", "message": "no"}, b"")
QUESTION = head_and_text({"name": "time"}, b"1")
WANTED = head_and_text({"do": "get", "key": "k"}, b"")


def empty() -> Conversation:
    return Conversation(engine_named("javascript"))


def loading() -> Conversation:
    talk = empty()
    talk.load(PROGRAM)
    return talk


def idle() -> Conversation:
    talk = loading()
    assert talk.heard(LOADED) == Loaded()
    return talk


def called() -> Conversation:
    talk = idle()
    talk.call("main", b"null", None, number=NUMBER)
    return talk


def asking() -> Conversation:
    talk = called()
    assert talk.heard(frame(FrameKind.ASKED, NUMBER, QUESTION)) == Asked("time", b"1")
    return talk


def stepping() -> Conversation:
    talk = idle()
    talk.open("main", b"null", None, number=NUMBER)
    return talk


def over() -> Conversation:
    talk = loading()
    talk.heard(frame(FrameKind.FAILED, NO_CALL, FAILURE))
    return talk


STATES: dict[Turn, Callable[[], Conversation]] = {
    Turn.EMPTY: empty,
    Turn.LOADING: loading,
    Turn.IDLE: idle,
    Turn.CALLED: called,
    Turn.STEPPING: stepping,
    Turn.ASKING: asking,
    Turn.OVER: over,
}


@pytest.mark.parametrize("turn", STATES)
def test_each_turn_is_reached(turn: Turn) -> None:
    assert STATES[turn]().turn is turn


def test_a_result_ends_the_call_and_the_next_may_begin() -> None:
    talk = called()
    assert talk.heard(frame(FrameKind.RETURNED, NUMBER, b"5")) == Returned(b"5")
    assert talk.turn is Turn.IDLE
    talk.call("main", b"null", None, number=OTHER)


def test_a_failure_ends_the_call_and_not_the_guest() -> None:
    talk = called()
    assert talk.heard(frame(FrameKind.FAILED, NUMBER, FAILURE)) == Failed(Code.GUEST_ERROR, "Error", "no")
    assert talk.turn is Turn.IDLE


def test_an_answer_lets_the_guest_go_on() -> None:
    talk = asking()
    assert talk.answer(b"5") == frame(FrameKind.ANSWER, NUMBER, b"5")
    assert talk.turn is Turn.CALLED


def test_a_refusal_lets_the_guest_go_on() -> None:
    talk = asking()
    talk.refuse(Code.OCALL_REFUSED, "no")
    assert talk.turn is Turn.CALLED


def test_a_stream_pauses_and_goes_on_and_other_calls_come_in_between() -> None:
    talk = stepping()
    assert talk.heard(frame(FrameKind.PAUSED, NUMBER, b"\1some")) == Paused(is_hungry=True, data=b"some")
    assert talk.turn is Turn.IDLE
    talk.call("main", b"null", None, number=OTHER)
    assert talk.heard(frame(FrameKind.RETURNED, OTHER, b"5")) == Returned(b"5")
    assert talk.step(FrameKind.CHUNK, b"more", number=NUMBER) == frame(FrameKind.CHUNK, NUMBER, b"more")
    assert talk.heard(frame(FrameKind.PAUSED, NUMBER, b"\0")) == Paused(is_hungry=False, data=b"")
    assert talk.drop(number=OTHER) == frame(FrameKind.DROP, OTHER)
    assert talk.turn is Turn.IDLE
    talk.step(FrameKind.PULL, b"", number=NUMBER)
    assert talk.heard(frame(FrameKind.ENDED, NUMBER, b"\2\0\0\0xy{}")) == Ended(b"xy", b"{}")
    assert talk.turn is Turn.IDLE


def test_a_step_may_ask_and_goes_on_as_a_step() -> None:
    answers: tuple[Callable[[Conversation], bytes], ...] = (
        lambda talk: talk.answer(b"1"),
        lambda talk: talk.refuse(Code.OCALL_REFUSED, "no"),
    )
    for answer in answers:
        talk = stepping()
        talk.heard(SAYS[FrameKind.ASKED])
        answer(talk)
        assert talk.turn is Turn.STEPPING
        assert talk.heard(SAYS[FrameKind.PAUSED]) == Paused(is_hungry=True, data=b"data")


def test_a_question_to_the_enclave_itself_may_be_answered_with_nothing() -> None:
    talk = called()
    assert talk.heard(SAYS[FrameKind.WANTED]) == Wanted(GetState("k"))
    assert talk.answer(b"") == frame(FrameKind.ANSWER, NUMBER)
    assert talk.turn is Turn.CALLED


def test_a_program_with_streams_may_say_more_at_once() -> None:
    talk = empty()
    talk.load(STREAMING)
    assert talk.frame_limit == OVERHEAD + MAX_QUESTION + 4 + MAX_CHUNK


@pytest.mark.parametrize("kind", [FrameKind.RETURNED, FrameKind.FAILED, FrameKind.ASKED, FrameKind.PRINTED])
def test_what_belongs_to_another_call_ends_the_conversation(kind: FrameKind) -> None:
    body = {FrameKind.FAILED: FAILURE, FrameKind.ASKED: QUESTION}.get(kind, b"1")
    for number in (OTHER, NO_CALL):
        talk = called()
        with pytest.raises(GuestMisbehavedError, match="of another call"):
            talk.heard(frame(kind, number, body))
        assert talk.turn is Turn.OVER


SAYS = {
    FrameKind.WARM: frame(FrameKind.WARM, NUMBER),
    FrameKind.LOADED: frame(FrameKind.LOADED, NUMBER),
    FrameKind.FAILED: frame(FrameKind.FAILED, NUMBER, FAILURE),
    FrameKind.RETURNED: frame(FrameKind.RETURNED, NUMBER, b"1"),
    FrameKind.ASKED: frame(FrameKind.ASKED, NUMBER, QUESTION),
    FrameKind.PRINTED: frame(FrameKind.PRINTED, NUMBER, b"x"),
    FrameKind.WANTED: frame(FrameKind.WANTED, NUMBER, WANTED),
    FrameKind.PAUSED: frame(FrameKind.PAUSED, NUMBER, b"\1data"),
    FrameKind.ENDED: frame(FrameKind.ENDED, NUMBER, b"\0\0\0\0null"),
}
MAY = {
    Turn.LOADING: {FrameKind.LOADED, FrameKind.FAILED, FrameKind.PRINTED},
    Turn.CALLED: {FrameKind.FAILED, FrameKind.RETURNED, FrameKind.ASKED, FrameKind.WANTED, FrameKind.PRINTED},
    Turn.STEPPING: {
        FrameKind.FAILED,
        FrameKind.ASKED,
        FrameKind.WANTED,
        FrameKind.PRINTED,
        FrameKind.PAUSED,
        FrameKind.ENDED,
    },
}


@pytest.mark.parametrize("kind", SAYS)
@pytest.mark.parametrize("turn", STATES)
def test_what_is_said_out_of_turn_ends_the_conversation(turn: Turn, kind: FrameKind) -> None:
    if kind in MAY.get(turn, set()):
        return
    talk = STATES[turn]()
    with pytest.raises(GuestMisbehavedError, match=f"when it was {turn}"):
        talk.heard(SAYS[kind])
    assert talk.turn is Turn.OVER


@pytest.mark.parametrize("turn", [Turn.LOADING, Turn.CALLED])
def test_a_frame_beyond_the_limit_ends_the_conversation(turn: Turn) -> None:
    for payload in (None, bytes(OVERHEAD + MAX_QUESTION + 1)):
        talk = STATES[turn]()
        assert talk.frame_limit == OVERHEAD + MAX_QUESTION
        with pytest.raises(GuestMisbehavedError, match="more than"):
            talk.heard(payload)


def test_lines_are_heard_up_to_a_number() -> None:
    talk = called()
    for _ in range(MAX_PRINTED):
        assert talk.heard(SAYS[FrameKind.PRINTED]) == Printed("x")
    with pytest.raises(GuestMisbehavedError, match="lines"):
        talk.heard(SAYS[FrameKind.PRINTED])


@given(st.sampled_from(sorted(STATES)), st.binary(max_size=200))
def test_random_bytes_mean_something_or_end_the_conversation(turn: Turn, payload: bytes) -> None:
    talk = STATES[turn]()
    try:
        talk.heard(payload)
    except GuestMisbehavedError:
        assert talk.turn is Turn.OVER


@pytest.mark.parametrize("turn", STATES)
def test_misuse_is_refused(turn: Turn) -> None:
    say: dict[Turn, Callable[[Conversation], object]] = {
        Turn.EMPTY: lambda talk: talk.load(PROGRAM),
        Turn.IDLE: lambda talk: talk.call("main", b"", None, number=NUMBER),
        Turn.ASKING: lambda talk: talk.answer(b""),
    }
    for right, speak in say.items():
        if right is not turn:
            with pytest.raises(NotNowError):
                speak(STATES[turn]())
    if turn is not Turn.IDLE:
        for speak in (
            lambda talk: talk.open("main", b"", None, number=NUMBER),
            lambda talk: talk.step(FrameKind.PULL, b"", number=NUMBER),
            lambda talk: talk.drop(number=NUMBER),
        ):
            with pytest.raises(NotNowError):
                speak(STATES[turn]())


@pytest.mark.parametrize("number", [NO_CALL, b"", b"short"])
def test_a_call_needs_a_number_of_its_own(number: bytes) -> None:
    with pytest.raises(NotNowError, match="eight random bytes"):
        idle().call("main", b"", None, number=number)


def test_an_unknown_engine_is_refused() -> None:
    with pytest.raises(EngineUnknownError, match="engine is 'cobol'"):
        engine_named("cobol")
