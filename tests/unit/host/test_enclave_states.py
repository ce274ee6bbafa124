import pytest

from casemate.host.catalogue import Wanted
from casemate.host.enclave_states import (
    AT_START,
    CAUSES,
    MOST_DEATHS,
    RELAUNCHED,
    WITHIN,
    Cause,
    Deaths,
    check_step,
)
from casemate.wire.protocol.faults import Code, FaultError
from casemate.wire.protocol.lifecycle import Event, State


def test_the_tables_have_a_row_for_everything() -> None:
    assert set(CAUSES) == set(Event)
    assert set(RELAUNCHED) == set(State)
    assert set(AT_START) == set(Wanted)


def test_only_what_ran_is_launched_again() -> None:
    assert [state for state, is_relaunched in RELAUNCHED.items() if is_relaunched] == [State.RUNNING]


def test_a_step_leads_to_the_state_of_the_lifecycle() -> None:
    assert check_step(State.RUNNING, Event.STOP, Cause.CLIENT) is State.STOPPED
    assert check_step(State.STOPPED, Event.START, Cause.HOST) is State.RUNNING
    assert check_step(State.LOST, Event.DESTROY, Cause.CLIENT) is State.DESTROYED


def test_a_step_that_a_state_has_not_is_refused() -> None:
    with pytest.raises(FaultError, match="enclave is stopped: cannot stop") as refused:
        check_step(State.STOPPED, Event.STOP, Cause.CLIENT)
    assert refused.value.fault.code is Code.WRONG_STATE


def test_a_step_by_somebody_else_is_a_defect() -> None:
    with pytest.raises(RuntimeError, match="stop is caused by client, not by host"):
        check_step(State.RUNNING, Event.STOP, Cause.HOST)


def test_deaths_are_too_many_within_a_minute_and_not_over_a_day() -> None:
    slow, quick = Deaths(), Deaths()
    assert not any(slow.is_too_many(at * WITHIN) for at in range(MOST_DEATHS * 2))
    assert [quick.is_too_many(at / 10) for at in range(MOST_DEATHS)] == [False] * (MOST_DEATHS - 1) + [True]
