"""The clients and the commands against a real gateway in front of a whole machine."""

import asyncio
import hashlib
import json
import os
import secrets
import signal
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
from tests.rigs.command_line import casemate_here
from tests.rigs.stream_functions import ENTRIES, SOURCES, chunks, digest
from tests.rigs.workshop import SEED, Workshop, exact_policy

from casemate.client import (
    AttestAgainError,
    CallerKey,
    Client,
    EnclaveRefusedError,
    HostRefusedError,
    RoleRefusedError,
    TokenRefusedError,
    aio,
    check_receipt,
    connect,
    write_caller_key,
)
from casemate.client.core import CallSecrets
from casemate.client.local import LocalMachine, running_machine, start_supervisor
from casemate.images.image import Image, write_image
from casemate.link.errors import PeerGoneError
from casemate.process.places import host_directory
from casemate.verifier import SgxPolicy, print_policy
from casemate.wire.errors import CasemateError
from casemate.wire.messages.host import Call
from casemate.wire.protocol.access_tokens import AccessToken, AccessTokens, Role, token_digest, token_text
from casemate.wire.protocol.faults import Code
from casemate.wire.protocol.lifecycle import State
from casemate.wire.protocol.manifest import Engine

pytestmark = pytest.mark.machine

ALICE = CallerKey.generate()


@dataclass(frozen=True)
class Elsewhere:
    """A machine behind a gateway, as its clients know it, and as its owner does."""

    machine: LocalMachine
    token: str
    """The run's own, of the role admin."""
    call_token: str
    """One of the role call."""

    @property
    def url(self) -> str:
        return self.machine.status.url

    def connect(self) -> Client:
        return connect(self.url, token=self.token)


@pytest.fixture(scope="module")
def elsewhere(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Elsewhere]:
    state = tmp_path_factory.mktemp("elsewhere")
    token, call_token = (token_text(secrets.token_bytes(32)) for _ in range(2))
    known = AccessTokens(()).with_token(
        AccessToken("ci", Role.CALL, datetime.now(UTC).replace(microsecond=0), token_digest(call_token))
    )
    host_directory(state).mkdir(mode=0o700, parents=True, exist_ok=True)
    (host_directory(state) / "tokens.json").write_bytes(known.encode())
    supervisor = start_supervisor(
        ["--state", str(state), "--seed", SEED, "--token-digest", token_digest(token).hex(), "--lasting"]
    )
    try:
        yield Elsewhere(running_machine(state), token, call_token)
    finally:
        supervisor.end()


@pytest.fixture(scope="module")
def image(workshop: Workshop) -> Image:
    entries = {**ENTRIES, "owned": {**ENTRIES["main"], "callers": ["alice"]}}
    source = f"{SOURCES[Engine.JAVASCRIPT]}\nexport const owned = (input, context) => context.caller.name;\n"
    return workshop.image(source, entries=entries, callers={"alice": ALICE.manifest_value}, time_ms=10_000)


@pytest.fixture
def policy(elsewhere: Elsewhere, image: Image) -> SgxPolicy:
    return exact_policy(elsewhere.machine, image)


@pytest.fixture
def number(elsewhere: Elsewhere, image: Image) -> Iterator[int]:
    with elsewhere.connect() as client:
        launched = client.launch(image)
        yield launched
        client.destroy(launched)


def test_the_whole_journey(elsewhere: Elsewhere, image: Image, policy: SgxPolicy) -> None:
    with elsewhere.connect() as client:
        number = client.launch(image)
        assert number in {each.enclave for each in client.enclaves()}
        enclave = client.attest(number, policy)
        result = enclave.call("owned", None, caller=ALICE)
        assert result.value == "alice"
        assert check_receipt(result.receipt, policy).receipt.caller == ALICE.public_key
        with pytest.raises(EnclaveRefusedError) as refused:
            enclave.call("owned", None)
        assert refused.value.fault.code is Code.CALLER_REFUSED
        assert client.stop(number).state is State.STOPPED
        with pytest.raises(HostRefusedError) as stopped:
            enclave.call("main", {})
        assert stopped.value.fault.code is Code.WRONG_STATE
        assert client.start(number).state is State.RUNNING
        with pytest.raises(AttestAgainError):
            enclave.call("main", {})
        assert client.attest(number, policy).call("main", {"n": 1}).value == {"n": 1}
        assert client.destroy(number).state is State.DESTROYED
        with pytest.raises(HostRefusedError) as gone:
            client.stop(number)
        assert gone.value.fault.code is Code.UNKNOWN_ENCLAVE


def test_the_gateway_describes_its_machine(elsewhere: Elsewhere) -> None:
    with elsewhere.connect() as client:
        said = client.machine()
    status = elsewhere.machine.status
    assert (said.platform, said.seeded) == (status.platform, True)
    assert said.root_certificate == status.root_certificate
    assert said.runtime == status.runtime


def test_both_ways_in_show_the_same_enclaves(elsewhere: Elsewhere, number: int, policy: SgxPolicy) -> None:
    with elsewhere.connect() as there, connect(elsewhere.machine.host_socket) as here:
        assert there.enclaves() == here.enclaves()
        assert here.attest(number, policy).call("main", {"n": 1}).value == {"n": 1}


def test_tokens_open_what_their_role_may(elsewhere: Elsewhere, image: Image, number: int, policy: SgxPolicy) -> None:
    for token in (None, token_text(bytes(32))):
        with connect(elsewhere.url, token=token) as stranger, pytest.raises(TokenRefusedError):
            stranger.enclaves()
    with connect(elsewhere.url, token=elsewhere.call_token) as caller:
        assert caller.attest(number, policy).call("main", {"n": 1}).value == {"n": 1}
        for forbidden in (lambda: caller.stop(number), lambda: caller.launch(image)):
            with pytest.raises(RoleRefusedError):
                forbidden()


def test_a_replayed_call_is_refused(elsewhere: Elsewhere, number: int, policy: SgxPolicy) -> None:
    with elsewhere.connect() as client:
        enclave = client.attest(number, policy)
        pending = enclave.attested.seal_call("main", b"{}", caller=None, secrets=CallSecrets.fresh())
        pending.open(client.relay(Call(number, pending.envelope), 10))
        with pytest.raises(HostRefusedError) as caught:
            client.relay(Call(number, pending.envelope), 10)
        assert caught.value.fault.code is Code.SEQUENCE_USED


def test_a_stream_of_more_than_one_body(elsewhere: Elsewhere, number: int, policy: SgxPolicy) -> None:
    with elsewhere.connect() as client:
        enclave = client.attest(number, policy)
        came = hashlib.sha256()
        stream = enclave.stream("through", {"echo": True}, chunks(24))
        for piece in stream:
            came.update(piece)
        assert came.hexdigest() == digest(24)
        assert stream.result.value["pieces"] == 24


def test_many_sessions_at_once(elsewhere: Elsewhere, number: int, policy: SgxPolicy) -> None:
    async def main() -> None:
        async with await aio.connect(elsewhere.url, token=elsewhere.token) as client:
            sessions = await asyncio.gather(*(client.attest(number, policy) for _ in range(8)))
            calls = [session.call("main", {"n": n}) for n in range(8) for session in sessions]
            assert [result.value["n"] for result in await asyncio.gather(*calls)] == [
                n for n in range(8) for _ in range(8)
            ]
            async with sessions[0].stream("through", {"echo": True}, chunks(4)) as stream:
                assert sum([len(piece) async for piece in stream]) == 4 << 20

    asyncio.run(main())


def gateway_pid(elsewhere: Elsewhere) -> int:
    return running_machine(elsewhere.machine.state).status.pid("gateway")


def test_a_gateway_that_dies_is_asked_again_and_the_call_under_way_is_not(
    elsewhere: Elsewhere, number: int, policy: SgxPolicy
) -> None:
    """It is started anew and its deployments with it; enclaves have fresh keys then."""
    with elsewhere.connect() as client:
        enclave = client.attest(number, policy)
        os.kill(gateway_pid(elsewhere), signal.SIGKILL)
        with pytest.raises((AttestAgainError, HostRefusedError, PeerGoneError)):
            enclave.call("main", {})
        assert number in {each.enclave for each in client.enclaves()}
        attested = until(lambda: client.attest(number, policy))
        assert attested.call("main", {"n": 1}).value == {"n": 1}


def until(question: Callable[[], Any]) -> Any:
    """The answer, once the machine has come up again."""
    deadline = time.monotonic() + 20
    while True:
        try:
            return question()
        except CasemateError:
            if time.monotonic() > deadline:
                raise
            time.sleep(0.2)


class TestCommands:
    @pytest.fixture
    def casemate(self, elsewhere: Elsewhere, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[..., str]:
        """The command, with the environment that `up` would have it export."""
        given = {
            "CASEMATE_URL": elsewhere.url,
            "CASEMATE_TOKEN": elsewhere.token,
            "XDG_STATE_HOME": str(tmp_path / "state"),
            "XDG_CONFIG_HOME": str(tmp_path / "config"),
            "COLUMNS": "200",
        }
        for name, value in given.items():
            monkeypatch.setenv(name, value)

        def run(*words: object) -> str:
            said = casemate_here(*words)
            assert said.code == 0, said
            return said.out

        return run

    def test_an_image_is_launched_called_and_destroyed(
        self,
        casemate: Callable[..., str],
        elsewhere: Elsewhere,
        image: Image,
        policy: SgxPolicy,
        tmp_path: Path,
        monkeypatch: pytest.MonkeyPatch,
    ) -> None:
        stream, _ = write_image(image, tmp_path / "image")
        write_caller_key(tmp_path / "alice.pem", ALICE)
        (tmp_path / "input.json").write_text('{"echo": true}')
        (tmp_path / "policy.toml").write_text(print_policy(policy))
        (tmp_path / "source").write_bytes(b"".join(chunks(3)))
        number = json.loads(casemate("launch", stream, "--json"))["enclave"]
        assert number in {each["enclave"] for each in json.loads(casemate("ps", "--json"))["enclaves"]}
        words = ("--input", tmp_path / "input.json", "--policy", tmp_path / "policy.toml", "--json")
        said = json.loads(casemate("call", number, "owned", *words, "--caller", tmp_path / "alice.pem"))
        assert said["result"] == "alice"
        assert said["receipt"]["caller"] == ALICE.manifest_value
        files = ("--stream-in", tmp_path / "source", "--stream-out", tmp_path / "target")
        said = json.loads(casemate("call", number, "through", *words, *files))
        assert said["stream"]["bytes_out"] == 3 << 20
        assert (tmp_path / "target").read_bytes() == (tmp_path / "source").read_bytes()
        fingerprint = hashlib.sha256(elsewhere.machine.status.root_certificate).hexdigest()
        assert fingerprint in casemate("policy", stream, "--trust-on-first-use")
        monkeypatch.setenv("CASEMATE_STATE", str(elsewhere.machine.state))  # the owner's own supervisor is believed
        assert fingerprint in casemate("policy", stream)
        casemate("call", number, "main", *words[:2], "--mr-enclave", image.mr_enclave.hex())
        casemate("quote", number, "-o", tmp_path / "quote.bin")
        assert json.loads(casemate("stop", number, "--json"))["state"] == "stopped"
        assert json.loads(casemate("start", number, "--json"))["state"] == "running"
        assert json.loads(casemate("destroy", number, "--json"))["state"] == "destroyed"
