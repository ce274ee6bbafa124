"""What dies is noticed at once and reported; nobody waits for it, and the rest lives on."""

import os
import signal
import socket
import threading
import time
from collections.abc import Callable

import pytest
from tests.rigs.process_tree import descendants, is_alive
from tests.rigs.workshop import Workshop, exact_policy

from casemate.client import AttestAgainError, Client, Enclave, EnclaveRefusedError, HostRefusedError, connect
from casemate.client.local import LocalMachine, local_machine, running_machine
from casemate.link.errors import PeerGoneError
from casemate.link.numbered_frames import numbered
from casemate.process.places import control_socket
from casemate.wire.errors import CasemateError
from casemate.wire.messages.host import Launch
from casemate.wire.protocol.faults import Code, FaultError
from casemate.wire.protocol.lifecycle import State

pytestmark = pytest.mark.machine

AT_ONCE = 2.0
"""Seconds, on a machine that runs other tests too."""

SLOW = "export function main(input) { const end = Date.now() + input; while (Date.now() < end); return input; }"


def attested(machine: LocalMachine, client: Client, workshop: Workshop, source: str = SLOW) -> Enclave:
    image = workshop.image(source, time_ms=5000)
    return client.attest(client.launch(image), exact_policy(machine, image))


def enclaves_and_guests(machine: LocalMachine) -> tuple[set[int], set[int]]:
    """The processes below the chip: forks of the parent, and engines."""
    below = descendants(machine.status.chip_pid)
    guests = {pid for pid, command in below.items() if "deno" in command.split(" ")[0]}
    return set(below) - guests, guests


def outcome_while(dying: Callable[[], None], enclave: Enclave) -> tuple[CasemateError | None, float]:
    """What a call that takes three seconds ends with when something dies in its first half second, and when (s)."""
    killer = threading.Timer(0.4, dying)
    killer.start()
    began = time.monotonic()
    try:
        enclave.call("main", 3000)
    except CasemateError as error:
        return error, time.monotonic() - began
    finally:
        killer.join()
    return None, time.monotonic() - began


def test_a_killed_guest_costs_its_call_and_is_replaced(own_machine: LocalMachine, workshop: Workshop) -> None:
    with connect(own_machine.host_socket) as client:
        enclave = attested(own_machine, client, workshop)
        enclave.call("main", 1)

        def kill_guests() -> None:
            for pid in enclaves_and_guests(own_machine)[1]:
                os.kill(pid, signal.SIGKILL)

        error, took = outcome_while(kill_guests, enclave)
        assert isinstance(error, EnclaveRefusedError)
        assert error.fault.code is Code.GUEST_CRASHED
        assert took < AT_ONCE
        assert enclave.call("main", 1).value == 1


def test_a_killed_enclave_is_launched_again_and_its_neighbour_runs_on(
    own_machine: LocalMachine, workshop: Workshop
) -> None:
    with connect(own_machine.host_socket) as client:
        before = enclaves_and_guests(own_machine)[0]
        enclave = attested(own_machine, client, workshop)
        victims = enclaves_and_guests(own_machine)[0] - before
        neighbour = attested(own_machine, client, workshop)
        assert len(victims) == 1
        error, took = outcome_while(lambda: os.kill(victims.pop(), signal.SIGKILL), enclave)
        assert isinstance(error, HostRefusedError)
        assert error.fault.code is Code.LOST
        assert took < AT_ONCE
        with pytest.raises(AttestAgainError):  # it waits for the launch, whose keys are others
            enclave.call("main", 1)
        states = {shown.enclave: shown.state for shown in client.enclaves()}
        assert states == dict.fromkeys((enclave.number, neighbour.number), State.RUNNING)
        assert neighbour.call("main", 1).value == 1
        assert client.destroy(enclave.number).state is State.DESTROYED


def _await_next_host(machine: LocalMachine) -> None:
    """Until there is another one. On the same socket the dying one may still have let somebody in, and answered."""
    deadline = time.monotonic() + 20
    while running_machine(machine.state).status.host_pid in {0, machine.status.host_pid}:
        assert time.monotonic() < deadline
        time.sleep(0.05)


@pytest.mark.parametrize("victim", ["chip_pid", "host_pid"])
def test_a_dead_chip_or_host_ends_the_call_and_is_started_anew(
    own_machine: LocalMachine, workshop: Workshop, victim: str
) -> None:
    with connect(own_machine.host_socket) as client:
        enclave = attested(own_machine, client, workshop)
        pid = getattr(own_machine.status, victim)
        below = descendants(own_machine.status.chip_pid)
        error, took = outcome_while(lambda: os.kill(pid, signal.SIGKILL), enclave)
        assert isinstance(error, (FaultError, PeerGoneError))
        assert took < AT_ONCE
    _await_next_host(own_machine)
    with connect(own_machine.host_socket) as client:
        assert [shown.enclave for shown in client.enclaves()] == [enclave.number]
        again = client.attest(enclave.number, exact_policy(own_machine, workshop.image(SLOW, time_ms=5000)))
        assert again.call("main", 1).value == 1
    now = running_machine(own_machine.state).status
    assert getattr(now, victim) not in {0, pid}
    assert (now.chip_pid == own_machine.status.chip_pid) == (victim == "host_pid")
    if victim == "chip_pid":
        assert not [command for pid, command in below.items() if is_alive(pid)]


def test_nothing_is_left_when_the_one_who_started_the_machine_is_gone(workshop: Workshop) -> None:
    with (
        local_machine(workshop.folder / "short-lived", seed="tests") as machine,
        connect(machine.host_socket) as client,
    ):
        attested(machine, client, workshop)
        everything = descendants(machine.status.supervisor_pid) | {machine.status.supervisor_pid: "supervisor"}
    assert not [command for pid, command in everything.items() if is_alive(pid)]


def test_a_client_that_hangs_up_in_the_middle_of_a_call_harms_nobody(
    own_machine: LocalMachine, workshop: Workshop
) -> None:
    with connect(own_machine.host_socket) as client:
        enclave = attested(own_machine, client, workshop)
        image = workshop.image(SLOW, time_ms=5000)
        for _ in range(3):
            with connect(own_machine.host_socket) as impatient:
                other = impatient.attest(client.launch(image), exact_policy(own_machine, image))
                with pytest.raises(CasemateError):
                    other.call("main", 800, timeout=0.1)
        assert enclave.call("main", 1).value == 1
        time.sleep(1)
        assert {shown.state for shown in client.enclaves()} == {State.RUNNING}


def test_a_machine_keeps_its_identity_over_a_restart(workshop: Workshop) -> None:
    state = workshop.folder / "kept"
    roots: set[bytes] = set()
    for _ in range(2):
        with local_machine(state) as machine, connect(machine.host_socket) as client:
            image = workshop.image(SLOW)
            client.attest(client.launch(image), exact_policy(machine, image))
            roots.add(machine.status.root_certificate)
    assert len(roots) == 1


def test_clients_that_hang_up_during_a_launch_leave_nothing_behind(
    own_machine: LocalMachine, workshop: Workshop
) -> None:
    image = workshop.image(SLOW + f"\n/* {'padding ' * 100_000} */")
    for _ in range(12):
        sock = socket.socket(socket.AF_UNIX)
        sock.connect(str(own_machine.host_socket))
        message = numbered(1, Launch(image.name, image.sgxs, image.sigstruct))
        sock.sendall(len(message).to_bytes(4, "little") + message)
        sock.close()
    with connect(own_machine.host_socket) as client:
        good = attested(own_machine, client, workshop)
        deadline = time.monotonic() + 90  # twelve launches, each carried out and then taken back
        while len(client.enclaves()) > 1 and time.monotonic() < deadline:
            time.sleep(0.1)
        assert [shown.enclave for shown in client.enclaves()] == [good.number]
        assert good.call("main", 1).value == 1


def test_idle_connections_to_the_control_socket_end_nothing(machine: LocalMachine) -> None:
    idle = []
    for _ in range(100):
        sock = socket.socket(socket.AF_UNIX)
        sock.settimeout(1)
        try:
            sock.connect(str(control_socket(machine.state)))
        except OSError:
            sock.close()
            continue
        idle.append(sock)
    assert is_alive(machine.status.supervisor_pid)
    for sock in idle:
        sock.close()
    assert running_machine(machine.state).status.chip_pid == machine.status.chip_pid


def test_a_killed_supervisor_takes_everything_with_it(own_machine: LocalMachine, workshop: Workshop) -> None:
    with connect(own_machine.host_socket) as client:
        attested(own_machine, client, workshop)
    everything = descendants(own_machine.status.supervisor_pid)
    os.kill(own_machine.status.supervisor_pid, signal.SIGKILL)
    deadline = time.monotonic() + 10
    while any(map(is_alive, everything)) and time.monotonic() < deadline:
        time.sleep(0.05)
    assert not [command for pid, command in everything.items() if is_alive(pid)]
