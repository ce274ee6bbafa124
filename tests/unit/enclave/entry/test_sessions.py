import pytest
from hypothesis import given
from hypothesis import strategies as st

from casemate.enclave.entry.sessions import MAX_FRESH, MAX_USED, Sessions
from casemate.wire.protocol.faults import Code, FaultError


def code_of(sessions: Sessions, session: int, sequence: int) -> Code | None:
    try:
        sessions.burn(session, sequence)
    except FaultError as error:
        return error.fault.code
    return None


def test_numbers_rise_from_one() -> None:
    sessions = Sessions()
    assert [sessions.issue() for _ in range(3)] == [1, 2, 3]


def test_refuses_a_session_that_was_never_issued() -> None:
    sessions = Sessions()
    sessions.issue()
    assert code_of(sessions, 0, 1) is Code.SESSION_UNKNOWN
    assert code_of(sessions, 2, 1) is Code.SESSION_UNKNOWN


def test_a_session_refused_before_its_issue_is_admitted_after() -> None:
    sessions = Sessions()
    assert code_of(sessions, 1, 1) is Code.SESSION_UNKNOWN
    assert sessions.issue() == 1
    assert code_of(sessions, 1, 1) is None


@given(st.lists(st.integers(0, 20)))
def test_accepts_exactly_the_numbers_above_all_before(numbers: list[int]) -> None:
    sessions = Sessions()
    session, last = sessions.issue(), 0
    for number in numbers:
        assert code_of(sessions, session, number) is (None if number > last else Code.SEQUENCE_USED)
        last = max(last, number)


def test_checking_uses_nothing_up() -> None:
    sessions = Sessions()
    session = sessions.issue()
    sessions.check(session, 5)
    assert code_of(sessions, session, 1) is None


def test_opening_sessions_evicts_the_oldest_unused_one_for_ever() -> None:
    sessions = Sessions()
    used, unused = sessions.issue(), sessions.issue()
    assert code_of(sessions, used, 7) is None
    issued = {sessions.issue() for _ in range(MAX_FRESH)}
    assert code_of(sessions, unused, 1) is Code.SESSION_UNKNOWN
    assert unused not in issued
    assert code_of(sessions, used, 7) is Code.SEQUENCE_USED
    assert code_of(sessions, used, 8) is None


def test_no_flood_makes_a_used_number_good_again() -> None:
    sessions = Sessions()
    first = sessions.issue()
    assert code_of(sessions, first, 1) is None
    for _ in range(MAX_USED + 1):
        session = sessions.issue()
        assert session != first
        assert code_of(sessions, session, 1) is None
        assert code_of(sessions, first, 1) in (Code.SEQUENCE_USED, Code.SESSION_UNKNOWN)
    assert code_of(sessions, first, 2) is Code.SESSION_UNKNOWN
    with pytest.raises(FaultError):
        sessions.check(first, 2**64 - 1)


def test_memory_is_bounded() -> None:
    sessions = Sessions()
    for _ in range(MAX_FRESH + MAX_USED + 10):
        code_of(sessions, sessions.issue(), 1)
        sessions.issue()
    assert len(sessions._fresh) <= MAX_FRESH
    assert len(sessions._used) <= MAX_USED
