"""A new version of a function takes the old one's place on a whole machine: under load, and when things fail, too."""

import asyncio
import os
import signal
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest
from tests.rigs.client.open_loop import Load, Tally
from tests.rigs.client.runs import Run, Steps, run_aio, run_sync
from tests.rigs.command_line import Said, casemate_here
from tests.rigs.levels import in_profile
from tests.rigs.workshop import ANYTHING, ANYTHING_OUT, Workshop

from casemate.cli.policies import PinnedEnclave, policy_of, root_of
from casemate.client import AttestAgainError, Client, HostRefusedError, connect
from casemate.client.core import CallSecrets
from casemate.client.local import LocalMachine, running_machine, start_supervisor
from casemate.client.ra_tls import RaTlsConnection, call
from casemate.images.image import Image, write_image
from casemate.link.errors import PeerGoneError
from casemate.testing.served import Served, served_machine
from casemate.verifier import SgxPolicy
from casemate.verifier.policy_text import PolicyFormat, print_policy_text
from casemate.wire.encodings.message import encode_message
from casemate.wire.protocol.lifecycle import State
from casemate.wire.sgx.collateral import Collateral

pytestmark = pytest.mark.machine

SECONDS = in_profile(5, 15)
"""Of load before and after a deploy, and in the middle the two for which the old version goes on."""
PER_SECOND = in_profile(120, 200)
SESSIONS = in_profile(4, 8)
PATIENCE = 60.0


@pytest.fixture(scope="module")
def served(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Served]:
    with served_machine(tmp_path_factory.mktemp("served"), ["--lasting"]) as made:
        yield made


@pytest.fixture(scope="module")
def versions(workshop: Workshop) -> tuple[Image, ...]:
    return tuple(workshop.image(f"export function main() {{ return {number}; }}") for number in (1, 2, 3))


@pytest.fixture(scope="module")
def policy(served: Served, versions: tuple[Image, ...]) -> SgxPolicy:
    """Of a caller who accepts all three."""
    return accepting(served.machine, *versions)


@pytest.fixture(autouse=True)
def nothing_left(request: pytest.FixtureRequest) -> Iterator[None]:
    yield
    if "served" in request.fixturenames:
        machine = request.getfixturevalue("served").machine
        with connect(machine.host_socket) as client:
            for each in client.enclaves():
                client.destroy(each.enclave)


@pytest.fixture
def deploy(served: Served, tmp_path: Path) -> Callable[..., Said]:
    def run(image: Image, *options: object) -> Said:
        sgxs, _ = write_image(image, tmp_path)
        return casemate_here(
            "deploy", sgxs, "--name", "hello", "--state", served.machine.state, "--drain", 0, "--json", *options
        )

    return run


def accepting(machine: LocalMachine, *images: Image) -> SgxPolicy:
    codes = frozenset(image.mr_enclave for image in images)
    return policy_of(PinnedEnclave(codes, root_of(machine), seeded=machine.status.seeded, debug=False))


def states(client: Client) -> dict[int, State]:
    return {each.enclave: each.state for each in client.enclaves()}


def test_a_deploy_takes_the_old_ones_place_and_a_rollback_gives_it_back(
    served: Served, deploy: Callable[..., Said], versions: tuple[Image, ...], policy: SgxPolicy, tmp_path: Path
) -> None:
    state = ["--state", served.machine.state]
    first = deploy(versions[0]).json
    assert (first["name"], first["replaced"], first["previous"]) == ("hello", None, None)
    second = deploy(versions[1]).json
    assert second["replaced"] == {"enclave": first["enclave"], "state": "stopped"}
    assert second["previous"] == first["enclave"]
    with connect(served.url, token=served.token) as client:
        assert client.attest("hello", policy).call("main", None).value == 2
        again = deploy(versions[1])
        assert again.json["enclave"] == second["enclave"]
        assert "is this very version, and runs" in again.err
        back = casemate_here("rollback", "hello", "--drain", 0, "--json", *state).json
        assert (back["enclave"], back["previous"]) == (first["enclave"], second["enclave"])
        assert client.attest("hello", policy).call("main", None).value == 1
        assert [each["deployed"] for each in casemate_here("ps", "--json", *state).json["enclaves"]] == [True, False]
        casemate_here("stop", "hello", *state)
        with pytest.raises(HostRefusedError, match="is stopped, want running"):
            client.attest("hello", policy)
        assert casemate_here("start", "hello", "--json", *state).json["state"] == "running"
        token = tmp_path / "token"
        token.write_text(served.token)
        token.chmod(0o600)
        sgxs, _ = write_image(versions[2], tmp_path)
        elsewhere = ["--url", served.url, "--token-file", token, "--json"]
        third = casemate_here("deploy", sgxs, "--name", "hello", "--drain", 0, *elsewhere).json
        left = {first["enclave"]: State.STOPPED, third["enclave"]: State.RUNNING}
        ended = time.monotonic() + 30
        while states(client) != left and time.monotonic() < ended:  # the one in between is destroyed after the switch
            time.sleep(0.05)
        assert states(client) == left


def test_a_version_that_does_not_start_or_that_callers_would_refuse_leaves_the_old_one(
    served: Served, deploy: Callable[..., Said], versions: tuple[Image, ...], tmp_path: Path, workshop: Workshop
) -> None:
    number = deploy(versions[0]).json["enclave"]
    mine = tmp_path / "policy.toml"
    mine.write_text(print_policy_text(accepting(served.machine, versions[0]), PolicyFormat.TOML))
    refused = deploy(versions[1], "--policy", mine)
    assert (refused.code, refused.error["rule"]) == (3, "enclave.mr-enclave")
    broken = workshop.image("throw new Error('never');\nexport function main() {}")
    refused = deploy(broken)
    assert refused.code == 4, refused
    refused = deploy(Image(versions[1].name, versions[1].sgxs, versions[0].sigstruct))
    assert refused.error["code"] == "launch-refused"
    assert casemate_here("rollback", "hello", "--state", served.machine.state, "--json").error["kind"] == (
        "NoEarlierVersionError"
    )
    with connect(served.machine.host_socket) as client:
        assert states(client) == {number: State.RUNNING}
        assert client.attest("hello", accepting(served.machine, versions[0])).call("main", None).value == 1


def test_state_that_the_new_version_could_not_open_is_said_before_anything_is_done(
    served: Served, deploy: Callable[..., Said], workshop: Workshop
) -> None:
    source = "export function main(input, context) {{ return {}; }}"
    rules = {"policy": "mrenclave", "recovery": "never", "max_kib": 16}
    old, new = (workshop.image(source.format(number), state=rules) for number in (1, 2))
    number = deploy(old).json["enclave"]
    refused = deploy(new)
    assert (refused.code, refused.error["kind"]) == (4, "StateLeftError")
    assert "is sealed to its MRENCLAVE" in refused.error["message"]
    assert "--new-state" in refused.error["next"]
    with connect(served.machine.host_socket) as client:
        assert states(client) == {number: State.RUNNING}
    done = deploy(new, "--new-state")
    assert done.code == 0
    assert "begins with a state of its own" in done.err


@pytest.mark.parametrize("run", [run_sync, run_aio], ids=["sync", "aio"])
@pytest.mark.parametrize("over", ["socket", "HTTP"])
def test_a_session_stays_with_its_enclave_and_new_ones_go_to_the_new_one(
    served: Served, versions: tuple[Image, ...], policy: SgxPolicy, run: Run, over: str
) -> None:
    where, wanted = (served.machine.host_socket, {}) if over == "socket" else (served.url, {"token": served.token})

    def journey(client: Any) -> Steps:
        first = yield client.launch(named(versions[0]), candidate=True)
        yield client.switch("hello", first)
        held = yield client.attest("hello", policy)
        second = yield client.launch(named(versions[1]), candidate=True)
        switched = yield client.switch("hello", second, replaces=first, drain=300)
        assert (switched.current.enclave, switched.previous and switched.previous.enclave) == (second, first)
        assert (yield client.functions()) == (switched,)
        anew = yield client.attest("hello", policy)
        assert (anew.number, held.number) == (second, first)
        assert (yield held.call("main", None)).value == 1
        assert (yield anew.call("main", None)).value == 2
        yield client.stop(first)
        with pytest.raises(AttestAgainError, match=f"{first} was replaced as hello by enclave {second}") as refused:
            yield held.call("main", None)
        assert refused.value.fault.retry_ms == 1000

    run(where, journey, **wanted)


def named(image: Image) -> Image:
    return Image("hello", image.sgxs, image.sigstruct)


def test_a_sealed_call_by_name_finds_the_enclave_that_has_its_session(
    served: Served, versions: tuple[Image, ...], policy: SgxPolicy
) -> None:
    kind = {"Content-Type": "application/octet-stream"}
    with connect(served.machine.host_socket) as client, httpx.Client(headers=served.authorization) as http:
        first = client.launch(named(versions[0]), candidate=True)
        client.switch("hello", first)
        held = client.attest("hello", policy).attested
        second = client.launch(named(versions[1]), candidate=True)
        client.switch("hello", second, replaces=first, drain=300)
        for attested, value in ((held, 1), (client.attest("hello", policy).attested, 2)):
            pending = attested.seal_call("main", b"null", caller=None, secrets=CallSecrets.fresh())
            body = encode_message(pending.envelope)
            answer = http.post(f"{served.url}/v1/functions/hello/calls", content=body, headers=kind)
            assert pending.open(answer.content).value == value


def test_new_ra_tls_clients_find_the_new_version_at_the_port_that_they_know(
    served: Served, deploy: Callable[..., Said], workshop: Workshop
) -> None:
    entry = {"main": {"input": ANYTHING, "output": ANYTHING_OUT, "callers": "anyone"}}
    old, new = (
        workshop.image(f"export function main() {{ return {number}; }}", entries=entry, ra_tls=True)
        for number in (1, 2)
    )
    published = httpx.get(f"{served.url}/v1/collateral", headers=served.authorization)
    wanted: dict[str, Any] = {
        "policy": accepting(served.machine, old, new),
        "collateral": Collateral.parse(published.content),
    }
    deploy(old)
    with connect(served.machine.host_socket) as client:
        port = client.function("hello").current.ra_tls_port
        assert port is not None
        held = RaTlsConnection("127.0.0.1", port, **wanted)
        assert call(held, "main", None) == 1
        second = client.launch(named(new), candidate=True)
        switched = client.switch("hello", second, replaces=client.function("hello").current.enclave, drain=60)
        assert switched.current.ra_tls_port == port
        anew = RaTlsConnection("127.0.0.1", port, **wanted)
        assert (call(anew, "main", None), call(held, "main", None)) == (2, 1)
        held.close()
        anew.close()


def test_under_a_steady_load_a_deploy_refuses_few_calls_and_loses_none(
    served: Served,
    deploy: Callable[..., Said],
    versions: tuple[Image, ...],
    policy: SgxPolicy,
    record_property: Callable[[str, object], None],
) -> None:
    deploy(versions[0])

    async def run() -> tuple[Tally, Said]:
        load = Load(served.url, served.token, "hello", policy, SESSIONS, PER_SECOND)
        loading = asyncio.create_task(load.run())
        await asyncio.sleep(SECONDS / 3)
        said = await asyncio.to_thread(deploy, versions[1], "--drain", 2)
        await asyncio.sleep(SECONDS / 3)
        load.enough.set()
        return await loading, said

    tally, said = asyncio.run(run())
    record_property("results", dict(tally.results))
    record_property("refused", dict(tally.refused))
    record_property("sessions", tally.sessions)
    assert said.json["replaced"]["state"] == "stopped", said
    assert tally.otherwise == {}
    assert tally.ended == tally.due > PER_SECOND * SECONDS
    assert set(tally.results) == {"1", "2"}
    assert tally.refused.total() <= tally.ended / 100


def test_whenever_a_machine_ends_exactly_one_version_is_current_afterwards(
    tmp_path: Path, versions: tuple[Image, ...]
) -> None:
    state = tmp_path / "state"
    policy: SgxPolicy | None = None

    def again() -> Any:
        return start_supervisor(["--state", str(state), "--lasting"])

    supervisor = again()
    try:
        machine = running_machine(state)
        policy = accepting(machine, *versions)
        with connect(machine.host_socket) as client:
            first = client.launch(named(versions[0]), candidate=True)
            client.switch("hello", first)
            client.launch(named(versions[1]), candidate=True)  # and nobody switches to it
        supervisor = killed(machine, supervisor, again)
        with connect(running_machine(state).host_socket) as client:
            assert attested(client, policy) == 1
            assert set(states(client)) == {first}
            second = client.launch(named(versions[1]), candidate=True)
            client.switch("hello", second, replaces=first, drain=3600)
            client.attest(first, policy)  # so that it goes on for a while
            assert states(client) == {first: State.RUNNING, second: State.RUNNING}
        supervisor = killed(running_machine(state), supervisor, again)
        with connect(running_machine(state).host_socket) as client:
            assert attested(client, policy) == 2
            assert states(client) == {first: State.STOPPED, second: State.RUNNING}
            client.switch("hello", first, replaces=second)
            assert attested(client, policy) == 1
    finally:
        supervisor.end()


def killed(machine: LocalMachine, supervisor: Any, again: Callable[[], Any]) -> Any:
    """Another machine in the place of one that is killed with all its processes, as by a power cut."""
    os.kill(machine.status.supervisor_pid, signal.SIGKILL)
    supervisor.end()
    return again()


def attested(client: Client, policy: SgxPolicy) -> int:
    """Which version answers to the name, once it is there again."""
    deadline = time.monotonic() + PATIENCE
    while True:
        try:
            return int(client.attest("hello", policy).call("main", None).value)
        except (HostRefusedError, PeerGoneError):
            assert time.monotonic() < deadline
