"""Sessions with a real enclave: by both clients, over the host's socket and over HTTP."""

import copy
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest
from tests.rigs.client.forks import in_child
from tests.rigs.client.runs import Run, Steps, run_aio, run_sync
from tests.rigs.workshop import ANYTHING, ANYTHING_OUT, Workshop, exact_policy

from casemate.client import AttestAgainError, EnclaveRefusedError, HostRefusedError, connect
from casemate.client.core import AttestedEnclave, CallSecrets, PendingCall
from casemate.images.image import Image
from casemate.link.channel import Channel
from casemate.process.ownership import connected
from casemate.testing.hostile_host import ask
from casemate.testing.served import Served, served_machine
from casemate.verifier import SgxPolicy
from casemate.wire.encodings.message import encode_message, parse_message
from casemate.wire.messages.host import Call
from casemate.wire.protocol.faults import Code, Fault, fault

pytestmark = pytest.mark.machine

OUTDATED = "protocol is 1, the format wants 2: update the client"


@pytest.fixture(scope="module")
def served(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Served]:
    with served_machine(tmp_path_factory.mktemp("served")) as made:
        yield made


@pytest.fixture(scope="module")
def image(workshop: Workshop) -> Image:
    entry = {"input": ANYTHING, "output": ANYTHING_OUT, "callers": "anyone"}
    return workshop.image("export function main(input) { return input; }", entries={"main": entry}, time_ms=5000)


@pytest.fixture(scope="module")
def number(served: Served, image: Image) -> Iterator[int]:
    with connect(served.machine.host_socket) as client:
        launched = client.launch(image)
        yield launched
        client.destroy(launched)


@pytest.fixture
def policy(served: Served, image: Image) -> SgxPolicy:
    return exact_policy(served.machine, image)


@pytest.fixture(params=[run_sync, run_aio], ids=["sync", "aio"])
def run(request: pytest.FixtureRequest) -> Run:
    chosen: Run = request.param
    return chosen


Place = tuple[Path | str, dict[str, Any]]


@pytest.fixture(params=["socket", "HTTP"])
def place(request: pytest.FixtureRequest, served: Served) -> Place:
    if request.param == "socket":
        return served.machine.host_socket, {}
    return served.url, {"token": served.token}


def test_a_fork_kills_a_session_in_the_child_alone(run: Run, place: Place, number: int, policy: SgxPolicy) -> None:
    def attests_by_itself() -> object:
        with connect(place[0], **place[1]) as client:
            return client.attest(number, policy).call("main", 7).value

    def journey(client: Any) -> Steps:
        enclave = yield client.attest(number, policy)
        yield enclave.call("main", 1)
        said = in_child(lambda: enclave.call("main", 2))
        assert said.startswith("SessionForkedError")
        assert "attest again" in said
        assert in_child(attests_by_itself) == "7"
        result = yield enclave.call("main", 3)
        assert (result.value, result.receipt.receipt.sequence) == (3, 2)
        with pytest.raises(TypeError):
            copy.deepcopy(enclave.attested)

    run(place[0], journey, **place[1])


def test_a_number_is_answered_once_however_many_threads_share_a_session(
    run: Run, place: Place, number: int, policy: SgxPolicy
) -> None:
    shared: list[Any] = []
    answered: list[int] = []

    def attests(client: Any) -> Steps:
        shared.append((yield client.attest(number, policy)))

    def calls(client: Any) -> Steps:
        enclave = type(shared[0])(client, number, shared[0].attested)
        for value in range(10):
            try:
                result = yield enclave.call("main", value)
            except HostRefusedError as error:
                if error.fault.code is not Code.SEQUENCE_USED:  # another thread's call has overtaken it
                    raise
            else:
                assert result.value == value
                answered.append(result.receipt.receipt.sequence)

    run(place[0], attests, **place[1])
    threads = [threading.Thread(target=run, args=(place[0], calls), kwargs=place[1]) for _ in range(3)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert answered
    assert len(set(answered)) == len(answered)
    run(place[0], calls, **place[1])
    assert max(answered) == 40, "three threads' ten calls each, and ten more"


def test_a_call_that_failed_costs_its_number_and_no_more(
    run: Run, place: Place, number: int, policy: SgxPolicy
) -> None:
    def journey(client: Any) -> Steps:
        enclave = yield client.attest(number, policy)
        lost = enclave.attested.seal_call("main", b"1", caller=None, secrets=CallSecrets.fresh())
        assert lost.envelope.encapsulation is not None
        with pytest.raises(EnclaveRefusedError):
            yield enclave.call("absent", None)
        result = yield enclave.call("main", 1)
        assert result.receipt.receipt.sequence == 3

    run(place[0], journey, **place[1])


def test_of_two_clients_with_one_session_number_the_second_attests_again(
    run: Run, place: Place, number: int, policy: SgxPolicy
) -> None:
    def journey(client: Any) -> Steps:
        first = yield client.attest(number, policy)
        second = yield client.attest(number, policy)
        found = second.attested
        second._attested = AttestedEnclave(found.evidence, found.binding, found.proof, first.attested.session)
        yield first.call("main", 1)
        sealed(second.attested)  # a number that the first has used
        with pytest.raises(AttestAgainError, match="another secret: challenge again"):
            yield second.call("main", 2)
        assert (yield first.call("main", 3)).value == 3
        again = yield client.attest(number, policy)
        assert (yield again.call("main", 4)).value == 4

    run(place[0], journey, **place[1])


def sealed(attested: AttestedEnclave) -> PendingCall:
    return attested.seal_call("main", b"1", caller=None, secrets=CallSecrets.fresh())


def test_a_client_of_protocol_1_is_told_to_update(served: Served, number: int, policy: SgxPolicy) -> None:
    with connect(served.machine.host_socket) as client:
        envelope = sealed(client.attest(number, policy).attested).envelope
    old_envelope = b"\x10" + encode_message(envelope)[1:]
    answered = httpx.post(
        f"{served.url}/v1/enclaves/{number}/calls",
        content=old_envelope,
        headers={**served.authorization, "content-type": "application/octet-stream"},
    )
    assert (answered.status_code, answered.json()["code"]) == (400, "malformed")
    assert OUTDATED in answered.json()["detail"]
    old_call = b"\x64" + encode_message(Call(number, envelope))[1:]
    channel = Channel(connected(served.machine.host_socket))
    try:
        assert parse_message(ask(channel, 1, old_call), Fault) == fault(Code.MALFORMED, OUTDATED)
    finally:
        channel.close()
