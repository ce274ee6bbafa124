"""Two hundred new anonymous callers a second beside a steady one, with the engine."""

import queue
import threading
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack

import pytest
from tests.rigs.workshop import Workshop, exact_policy

from casemate.client import Client, Enclave, EnclaveRefusedError, connect
from casemate.client.caller_keys import CallerKey
from casemate.client.core import AttestedEnclave
from casemate.client.local import LocalMachine
from casemate.enclave.guest.newcomers import BURST, LONGEST_WAIT
from casemate.engines.registry import JAVASCRIPT
from casemate.wire.protocol.faults import Code, Fault
from casemate.wire.protocol.isolation import Isolation

pytestmark = [pytest.mark.machine, pytest.mark.alone]

ALICE = CallerKey.generate()
PER_SECOND = 200
SECONDS = 1.5
CALLS = 300
CONNECTIONS = 24
GUEST_START = 0.15
"""Seconds of both cores that the starts of guests may take from a call at worst, on a machine with two."""


def took(call: Callable[[], object]) -> float:
    began = time.monotonic()
    call()
    return time.monotonic() - began


def p99(times: list[float]) -> float:
    return sorted(times)[int(len(times) * 0.99)]


def first_call(client: Client, number: int, session: AttestedEnclave) -> Fault | None:
    """A newcomer's: the refusal, if it is refused."""
    try:
        Enclave(client, number, session).call("main", 1)
    except EnclaveRefusedError as error:
        return error.fault
    return None


def test_a_flood_of_newcomers_leaves_a_steady_caller_its_answers(own_machine: LocalMachine, workshop: Workshop) -> None:
    image = workshop.image(
        "export function main(input) { return input; }",
        callers={"alice": ALICE.manifest_value},
        isolation=Isolation.CALLER,
        guests=4,
    )
    policy = exact_policy(own_machine, image)
    with connect(own_machine.host_socket) as client, ExitStack() as stack:
        number = client.launch(image)
        steady = client.attest(number, policy)
        sessions = [client.attest(number, policy).attested for _ in range(int(PER_SECOND * SECONDS))]
        clients: queue.SimpleQueue[Client] = queue.SimpleQueue()
        for _ in range(CONNECTIONS):
            clients.put(stack.enter_context(connect(own_machine.host_socket)))

        def newcomer(session: AttestedEnclave) -> Fault | None:
            connected = clients.get()
            try:
                return first_call(connected, number, session)
            finally:
                clients.put(connected)

        def steady_call() -> None:
            steady.call("main", 1, caller=ALICE)

        for _ in range(20):
            steady_call()
        alone = [took(steady_call) for _ in range(CALLS)]
        outcomes: list[Fault | None] = []

        def flood() -> None:
            began = time.monotonic()
            with ThreadPoolExecutor(CONNECTIONS) as pool:
                futures = []
                for count, session in enumerate(sessions):
                    time.sleep(max(0.0, began + count / PER_SECOND - time.monotonic()))
                    futures.append(pool.submit(newcomer, session))
                outcomes.extend(future.result() for future in futures)

        flooding = threading.Thread(target=flood)
        flooding.start()
        beside = []
        while flooding.is_alive():
            beside.append(took(steady_call))
        flooding.join()
        refused = [outcome for outcome in outcomes if outcome is not None]
        figures = (
            f"p99 alone {p99(alone) * 1000:.1f} ms, beside {p99(beside) * 1000:.1f} ms of {len(beside)};"
            f" {len(outcomes) - len(refused)} newcomers served, {len(refused)} refused"
        )
        assert {refusal.code for refusal in refused} == {Code.BUSY}
        assert p99(beside) < 10 * p99(alone) + GUEST_START, figures
        waits = [refusal.retry_ms / 1000 for refusal in refused if refusal.retry_ms]
        assert waits
        assert max(waits) <= 1 / JAVASCRIPT.newcomers + LONGEST_WAIT + BURST / JAVASCRIPT.newcomers
        time.sleep(waits[-1])
        assert newcomer(sessions[outcomes.index(refused[-1])]) is None, "who comes again as it is told is served"
