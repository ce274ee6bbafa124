import pytest
from hypothesis import given
from hypothesis import strategies as st
from tests.rigs.channel.sealed import Sealer

from casemate.enclave.entry.sessions import MAX_FRESH, MAX_USED, Session, Sessions
from casemate.enclave.keys import EnclaveKeys
from casemate.wire.protocol.call import CallBinding
from casemate.wire.protocol.faults import Code, FaultError

KEYS = EnclaveKeys()


def opened(number: int, sequence: int = 1) -> Session:
    """A session as the first request of its client opens it."""
    binding = CallBinding(bytes(32), number, sequence, "main")
    envelope = Sealer(KEYS.hpke_key, binding.of_session).envelope(binding, b"")
    assert envelope.encapsulation is not None
    return Session.begun_by(envelope, envelope.encapsulation, KEYS)


def code_of(sessions: Sessions, session: int, sequence: int) -> Code | None:
    """What comes of a request that opens, if its number is good."""
    try:
        found = sessions.find(CallBinding(bytes(32), session, sequence, "main"))
    except FaultError as error:
        return error.fault.code
    sessions.burn(found or opened(session), sequence)
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
    assert sessions.find(CallBinding(bytes(32), session, 5, "main")) is None
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
    assert code_of(sessions, first, 2**64 - 1) is Code.SESSION_UNKNOWN


def test_memory_is_bounded() -> None:
    sessions = Sessions()
    for _ in range(MAX_FRESH + MAX_USED + 10):
        code_of(sessions, sessions.issue(), 1)
        sessions.issue()
    assert len(sessions._fresh) <= MAX_FRESH
    assert len(sessions._used) <= MAX_USED


def test_a_session_that_rested_longest_is_evicted_with_its_keys(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("casemate.enclave.entry.sessions.MAX_USED", 2)
    sessions = Sessions()
    first, second, third = (sessions.issue() for _ in range(3))
    for number in (first, second, first, third):
        found = sessions.find(CallBinding(bytes(32), number, 9, "main"))
        sessions.burn(found or opened(number), 1 if found is None else found.last + 1)
    assert code_of(sessions, second, 99) is Code.SESSION_UNKNOWN
    assert (code_of(sessions, first, 99), code_of(sessions, third, 99)) == (None, None)
