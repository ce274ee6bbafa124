"""Every hostile guest through the whole chain: a typed answer in time, and nothing else takes harm."""

import threading
import time
from typing import Any

import pytest
from tests.rigs.in_time import assert_in_time
from tests.rigs.process_tree import is_alive
from tests.rigs.workshop import ANYTHING_OUT, PolicyFor, Workshop

from casemate.client import Client, Enclave, EnclaveRefusedError, HostRefusedError, connect
from casemate.client.local import LocalMachine
from casemate.images.errors import SourceError
from casemate.testing.hostile_guests import HOSTILE_GUESTS, OK, HostileGuest
from casemate.wire.protocol.faults import Code
from casemate.wire.protocol.isolation import Isolation
from casemate.wire.protocol.lifecycle import State
from casemate.wire.protocol.manifest_table import ManifestError

pytestmark = pytest.mark.machine

LIMIT = 0.4
GRACE = 0.5
"""What the project promises beyond the time limit (seconds)."""

LOADING = 15
"""Longest launch of an image whose code does not finish loading (seconds)."""

THE_ENCLAVES_OWN = (Code.TIME_LIMIT, Code.RESULT_REFUSED, Code.OCALL_REFUSED)
"""What an enclave may make of a guest beyond what its own process comes to: a memory bomb that fills slowly runs
out of time, a result may break the schema, the host's answer too."""

TIME: dict[str, dict[str, Any]] = {
    "time": {"input": ANYTHING_OUT, "output": {"type": "object", "properties": {"unix_ms": {"type": "integer"}}}}
}


@pytest.mark.parametrize("guest", HOSTILE_GUESTS, ids=lambda guest: guest.name)
def test_a_hostile_guest_harms_its_own_call_alone(
    guest: HostileGuest, workshop: Workshop, client: Client, policy_for: PolicyFor, machine: LocalMachine
) -> None:
    try:
        image = workshop.image(
            guest.source, time_ms=int(LIMIT * 1000), output_kib=256, ocalls=TIME, isolation=Isolation.SHARED
        )
    except (SourceError, ManifestError):
        return  # no honest tool builds it; what becomes of it inside an engine is tested with the engine
    if guest.fails_to_load:
        began = time.monotonic()
        with pytest.raises(HostRefusedError) as refused:
            client.launch(image)
        assert refused.value.fault.code in guest.outcomes
        assert time.monotonic() - began < LOADING
    else:
        enclave = client.attest(client.launch(image), policy_for(image))
        outcomes = guest.outcomes + guest.then + THE_ENCLAVES_OWN
        for argument in (guest.arguments, "again"):

            def call(argument: object = argument) -> None:
                assert outcome_of(enclave, argument) in outcomes

            assert_in_time(call, LIMIT + GRACE)
        state = next(shown.state for shown in client.enclaves() if shown.enclave == enclave.number)
        assert state is State.RUNNING
        client.destroy(enclave.number)
    for pid in (machine.status.chip_pid, machine.status.host_pid, machine.status.supervisor_pid):
        assert is_alive(pid)


def outcome_of(enclave: Enclave, argument: object) -> str:
    try:
        enclave.call("main", argument)
    except EnclaveRefusedError as refused:
        return refused.fault.code
    return OK


def test_others_are_served_while_a_guest_hangs(
    workshop: Workshop, machine: LocalMachine, client: Client, policy_for: PolicyFor
) -> None:
    stuck_image = workshop.image("export function main() { for (;;); }", time_ms=3000)
    good_image = workshop.image("export function main(input) { return input; }")
    good = client.attest(client.launch(good_image), policy_for(good_image))

    def hang() -> None:
        with connect(machine.host_socket) as other:
            stuck = other.attest(other.launch(stuck_image), policy_for(stuck_image))
            outcome_of(stuck, None)
            other.destroy(stuck.number)

    thread = threading.Thread(target=hang)
    thread.start()
    time.sleep(0.5)
    began = time.monotonic()
    calls = 0
    while thread.is_alive() and time.monotonic() - began < 2:
        assert good.call("main", calls).value == calls
        calls += 1
    assert calls > 20
    thread.join()
    client.destroy(good.number)
