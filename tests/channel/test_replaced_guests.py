"""A guest that dies before it has taken a call costs the time to replace it, and no call."""

import pytest
from tests.rigs.channel.guests import Called, GuestEndedError, Line, echo, loads
from tests.rigs.channel.rig import Rig

from casemate.client.errors import EnclaveRefusedError
from casemate.enclave.guest.guests import MOST_REPLACED
from casemate.wire.messages.spawner import NeedGuest
from casemate.wire.protocol.faults import Code, fault

CALL = {"secret": "s"}


class Mortal:
    """Loads the first guest; the next ones die while they load, as often as told."""

    def __init__(self, deaths: int) -> None:
        self.deaths = deaths
        self.loaded = 0

    def __call__(self, line: Line) -> None:
        if self.loaded and self.deaths:
            self.deaths -= 1
            raise GuestEndedError
        self.loaded += 1
        loads(line)


def dies_once_called(_: Called) -> None:
    raise GuestEndedError


def lose_the_first_guest(rig: Rig) -> None:
    """By a call, which that costs."""
    session = rig.attest()
    rig.script = dies_once_called
    with pytest.raises(EnclaveRefusedError) as refused:
        rig.call(session, "echo", CALL)
    assert refused.value.fault.code is Code.GUEST_CRASHED
    rig.script = echo


@pytest.mark.parametrize("deaths", [1, MOST_REPLACED])
def test_guests_that_die_while_they_load_cost_no_call(deaths: int) -> None:
    with Rig(loader=Mortal(deaths)) as rig:
        lose_the_first_guest(rig)
        result = rig.call(rig.attest(), "echo", CALL)
        assert result.value["arguments"] == CALL
        assert rig.guests == 2 + deaths


def test_when_all_of_them_die_the_call_says_so_and_the_next_one_tries_again() -> None:
    with Rig(loader=Mortal(MOST_REPLACED + 2)) as rig:  # the first of them may be gone before the call comes
        lose_the_first_guest(rig)
        session = rig.attest()
        with pytest.raises(EnclaveRefusedError) as refused:
            rig.call(session, "echo", CALL)
        assert refused.value.fault.code is Code.GUEST_CRASHED
        assert rig.call(session, "echo", CALL).value["arguments"] == CALL
        assert rig.guests == 4 + MOST_REPLACED


def test_a_guest_that_the_spawner_could_not_start_is_asked_for_again() -> None:
    class Unlucky(Rig):
        unlucky = 0

        def _give_guest(self, need: NeedGuest) -> None:
            self.spawner_refuses = None
            if self.guests and not self.unlucky:
                self.unlucky += 1
                self.spawner_refuses = fault(Code.UNAVAILABLE, "no guest: the engine was killed")
            super()._give_guest(need)

    with Unlucky() as rig:
        lose_the_first_guest(rig)
        assert rig.call(rig.attest(), "echo", CALL).value["arguments"] == CALL
        assert rig.unlucky == 1


def test_an_idle_guest_whose_death_is_noticed_by_the_call_is_replaced() -> None:
    with Rig() as rig:
        session = rig.attest()
        rig.tell_gone("guest-crashed", "killed by signal 9")
        assert rig.call(session, "echo", CALL).value["arguments"] == CALL


def test_the_end_of_a_guest_that_was_given_up_is_not_taken_for_its_successors() -> None:
    """The spawner's word about the first guest comes when the second one is there already."""

    class Late(Rig):
        def end_guest(self, guest: int) -> None:
            """Nothing is said yet."""

    def breaks_the_protocol(called: Called) -> None:
        called.line.raw(bytes(4))

    with Late() as rig:
        session = rig.attest()
        rig.script = breaks_the_protocol
        with pytest.raises(EnclaveRefusedError):
            rig.call(session, "echo", CALL)
        rig.script = echo
        assert rig.call(session, "echo", CALL).value["arguments"] == CALL
        assert rig.number == 2
        rig.tell_gone("time-limit", "of the first", guest=1)
        assert rig.call(session, "echo", CALL).value["arguments"] == CALL
        assert rig.number == 2
        rig.tell_gone("guest-crashed", "of the second")
        assert rig.call(session, "echo", CALL).value["arguments"] == CALL
        assert rig.number == 3
