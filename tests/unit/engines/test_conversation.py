from collections.abc import Callable

import pytest
from hypothesis import given
from hypothesis import strategies as st

from casemate.engines.command import GuestProgram
from casemate.engines.conversation import MAX_PRINTED, Conversation, Turn
from casemate.engines.engine import engine_named
from casemate.engines.errors import EngineUnknownError, GuestMisbehavedError, NotNowError
from casemate.engines.frames import (
    NO_CALL,
    OVERHEAD,
    Asked,
    Failed,
    Kind,
    Loaded,
    Printed,
    Returned,
    frame,
    head_and_text,
)
from casemate.wire.faults import Code

PROGRAM = GuestProgram((), ("main",), output_limit=1000, ocall_limit=500)
NUMBER, OTHER = b"number!!", b"another!"

LOADED = frame(Kind.LOADED, NO_CALL)
FAILURE = head_and_text({"code": "guest-error", "name": "Error", "message": "no"}, b"")
QUESTION = head_and_text({"name": "time"}, b"1")


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
    assert talk.heard(frame(Kind.ASKED, NUMBER, QUESTION)) == Asked("time", b"1")
    return talk


def over() -> Conversation:
    talk = loading()
    talk.heard(frame(Kind.FAILED, NO_CALL, FAILURE))
    return talk


STATES: dict[Turn, Callable[[], Conversation]] = {
    Turn.EMPTY: empty,
    Turn.LOADING: loading,
    Turn.IDLE: idle,
    Turn.CALLED: called,
    Turn.ASKING: asking,
    Turn.OVER: over,
}


@pytest.mark.parametrize("turn", STATES)
def test_each_turn_is_reached(turn: Turn) -> None:
    assert STATES[turn]().turn is turn


def test_a_result_ends_the_call_and_the_next_may_begin() -> None:
    talk = called()
    assert talk.heard(frame(Kind.RETURNED, NUMBER, b"5")) == Returned(b"5")
    assert talk.turn is Turn.IDLE
    talk.call("main", b"null", None, number=OTHER)


def test_a_failure_ends_the_call_and_not_the_guest() -> None:
    talk = called()
    assert talk.heard(frame(Kind.FAILED, NUMBER, FAILURE)) == Failed(Code.GUEST_ERROR, "Error", "no")
    assert talk.turn is Turn.IDLE


def test_an_answer_lets_the_guest_go_on() -> None:
    talk = asking()
    assert talk.answer(b"5") == frame(Kind.ANSWER, NUMBER, b"5")
    assert talk.turn is Turn.CALLED


def test_a_refusal_lets_the_guest_go_on() -> None:
    talk = asking()
    talk.refuse(Code.OCALL_REFUSED, "no")
    assert talk.turn is Turn.CALLED


@pytest.mark.parametrize("kind", [Kind.RETURNED, Kind.FAILED, Kind.ASKED, Kind.PRINTED])
def test_what_belongs_to_another_call_ends_the_conversation(kind: Kind) -> None:
    body = {Kind.FAILED: FAILURE, Kind.ASKED: QUESTION}.get(kind, b"1")
    for number in (OTHER, NO_CALL):
        talk = called()
        with pytest.raises(GuestMisbehavedError, match="of another call"):
            talk.heard(frame(kind, number, body))
        assert talk.turn is Turn.OVER


SAYS = {
    Kind.WARM: frame(Kind.WARM, NUMBER),
    Kind.LOADED: frame(Kind.LOADED, NUMBER),
    Kind.FAILED: frame(Kind.FAILED, NUMBER, FAILURE),
    Kind.RETURNED: frame(Kind.RETURNED, NUMBER, b"1"),
    Kind.ASKED: frame(Kind.ASKED, NUMBER, QUESTION),
    Kind.PRINTED: frame(Kind.PRINTED, NUMBER, b"x"),
}
MAY = {
    Turn.LOADING: {Kind.LOADED, Kind.FAILED, Kind.PRINTED},
    Turn.CALLED: {Kind.FAILED, Kind.RETURNED, Kind.ASKED, Kind.PRINTED},
}


@pytest.mark.parametrize("kind", SAYS)
@pytest.mark.parametrize("turn", STATES)
def test_what_is_said_out_of_turn_ends_the_conversation(turn: Turn, kind: Kind) -> None:
    if kind in MAY.get(turn, set()):
        return
    talk = STATES[turn]()
    with pytest.raises(GuestMisbehavedError, match=f"when it was {turn}"):
        talk.heard(SAYS[kind])
    assert talk.turn is Turn.OVER


@pytest.mark.parametrize("turn", [Turn.LOADING, Turn.CALLED])
def test_a_frame_beyond_the_limit_ends_the_conversation(turn: Turn) -> None:
    for payload in (None, bytes(OVERHEAD + 1001)):
        talk = STATES[turn]()
        assert talk.frame_limit == OVERHEAD + 1000
        with pytest.raises(GuestMisbehavedError, match="more than"):
            talk.heard(payload)


def test_lines_are_heard_up_to_a_number() -> None:
    talk = called()
    for _ in range(MAX_PRINTED):
        assert talk.heard(SAYS[Kind.PRINTED]) == Printed("x")
    with pytest.raises(GuestMisbehavedError, match="lines"):
        talk.heard(SAYS[Kind.PRINTED])


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


@pytest.mark.parametrize("number", [NO_CALL, b"", b"short"])
def test_a_call_needs_a_number_of_its_own(number: bytes) -> None:
    with pytest.raises(NotNowError, match="eight random bytes"):
        idle().call("main", b"", None, number=number)


def test_an_unknown_engine_is_refused() -> None:
    with pytest.raises(EngineUnknownError, match="engine is 'cobol'"):
        engine_named("cobol")
