"""The tables of states: complete, and kept to."""

import socket

import pytest

from casemate.enclave.guest import guest
from casemate.enclave.guest.guest import GuestState
from casemate.sandbox.confinement import NoGroup
from casemate.spawner import enclave_process, guest_process
from casemate.spawner.enclave_process import EnclaveProcess, EnclaveProcessState
from casemate.spawner.guest_process import GuestProcess, GuestProcessState
from casemate.spawner.links import SpawnerLink


def test_every_state_has_a_row_and_every_row_but_the_first_is_led_to() -> None:
    assert set(guest._NEXT) == set(GuestState)
    led = {state for row in guest._NEXT.values() for state in row.values()}
    assert led == set(GuestState) - {GuestState.AWAITED}
    assert set(guest_process._NEXT) == set(GuestProcessState)
    led_to = frozenset[GuestProcessState]().union(*guest_process._NEXT.values())
    assert led_to == set(GuestProcessState) - {GuestProcessState.STARTING}
    assert set(enclave_process._NEXT) == set(EnclaveProcessState)
    reached = frozenset[EnclaveProcessState]().union(*enclave_process._NEXT.values())
    assert reached == set(EnclaveProcessState) - {EnclaveProcessState.STARTING}


@pytest.mark.parametrize("state", GuestProcessState)
@pytest.mark.parametrize("then", GuestProcessState)
def test_a_guest_process_changes_as_the_table_says(state: GuestProcessState, then: GuestProcessState) -> None:
    process = GuestProcess(1, 64, -1, -1, -1, NoGroup("none"), None, 0.0, state=state)
    if then in guest_process._NEXT[state]:
        process.become(then)
        assert process.state is then
    else:
        with pytest.raises(RuntimeError, match=f"is {state}, it cannot become {then}"):
            process.become(then)


@pytest.mark.parametrize("state", EnclaveProcessState)
@pytest.mark.parametrize("then", EnclaveProcessState)
def test_an_enclave_process_changes_as_the_table_says(state: EnclaveProcessState, then: EnclaveProcessState) -> None:
    ours, theirs = socket.socketpair()
    with ours, theirs:
        link = SpawnerLink(ours, takes_descriptors=False)
        process = EnclaveProcess(1, 1, link, None, NoGroup("none"), state=state)
        if then in enclave_process._NEXT[state]:
            process.become(then)
            assert process.state is then
        else:
            with pytest.raises(RuntimeError, match=f"is {state}, it cannot become {then}"):
                process.become(then)
