"""Every hostile guest, in the confined engine, under the spawner's watchdog."""

import json
from collections.abc import Iterator
from pathlib import Path

import pytest

from casemate.testing.hostile_guests import HOSTILE_GUESTS, OK, HostileGuest
from casemate.testing.lone_spawner import LoneEnclave, Outcome, late, lone_spawner, shared_engine

pytestmark = pytest.mark.machine

TIME_MS = 1000


@pytest.fixture(scope="module")
def enclave() -> Iterator[LoneEnclave]:
    with lone_spawner(shared_engine()) as spawner:
        enclave = spawner.spawn()
        yield enclave
        enclave.close()


def outcome_of(enclave: LoneEnclave, guest: HostileGuest) -> Outcome:
    loaded = enclave.load(guest.source, time_ms=TIME_MS)
    if guest.fails_to_load or loaded.code != OK:
        return loaded
    return enclave.call(arguments=guest.arguments, time_ms=TIME_MS)


@pytest.mark.parametrize("guest", HOSTILE_GUESTS, ids=lambda guest: guest.name)
def test_has_a_typed_outcome_in_time_and_a_new_guest_works(enclave: LoneEnclave, guest: HostileGuest) -> None:
    assert "pid" in enclave.need_guest()
    outcome = outcome_of(enclave, guest)
    assert outcome.code in guest.outcomes, outcome
    assert outcome.seconds < TIME_MS / 1000 + late()
    if outcome.code == OK and guest.result is not None:
        assert json.loads(outcome.text) == guest.result
    if guest.then:
        again = enclave.call(arguments="again", time_ms=TIME_MS)
        assert again.code in guest.then, again
        assert again.seconds < TIME_MS / 1000 + late()
    enclave.need_guest()
    assert enclave.load("export function main(x) { return x; }").code == OK
    assert enclave.call(arguments=[1]).text == "[1]"


def test_what_guests_tried_to_write_is_not_there() -> None:
    assert not Path("/tmp/casemate-was-here").exists()
