"""Whoever listens at every socket between client and enclave, or copies the state directory, finds no secret."""

import base64
import contextlib
import json
import socket
from collections.abc import Callable
from pathlib import Path

import httpx
import pytest
from tests.rigs.platform.bare_machine import recorded_machine
from tests.rigs.platform.canaries import Canary, found
from tests.rigs.platform.machine import Platform, policy_for
from tests.rigs.platform.processes import family, memory
from tests.rigs.platform.tap import tapped

from casemate.client import Enclave, connect
from casemate.images.image import Image

PIECES = 8

WRITTEN: dict[str, Callable[[bytes], bytes]] = {
    "raw": bytes,
    "base64": base64.b64encode,
    "base64url": base64.urlsafe_b64encode,
    "base32": base64.b32encode,
    "hex": lambda data: data.hex().encode(),
    "HEX": lambda data: data.hex().upper().encode(),
    "JSON": lambda data: json.dumps(data.decode()).encode(),
    "JSON, list of bytes": lambda data: json.dumps(list(data)).encode(),
    "UTF-16": lambda data: data.decode().encode("utf-16"),
    "backwards": lambda data: data[::-1],
}


@pytest.mark.parametrize("before", range(7))
@pytest.mark.parametrize("written", WRITTEN.values(), ids=WRITTEN)
def test_a_canary_is_found_however_it_is_written(written: Callable[[bytes], bytes], before: int) -> None:
    canary = Canary("it")
    assert found([canary], {"a place": b"\x00" + written(b"x" * before + canary.text.encode() + b"after")})
    assert not found([Canary("another")], {"a place": written(b"x" * before + canary.text.encode() + b"after")})


class Secrets:
    """What a client gives to an enclave, and gets from it."""

    def __init__(self) -> None:
        self.argument, self.key, self.value = (
            Canary("an argument"),
            Canary("a key of the state"),
            Canary("a value of it"),
        )
        self.streamed = Canary("a piece of a stream")
        self.told = Canary("what is given away")

    @property
    def all(self) -> list[Canary]:
        """But for what is given away."""
        return [self.argument, self.argument.turned, self.key, self.value, self.streamed, self.streamed.turned]

    def pass_through(self, enclave: Enclave) -> None:
        """Each of them goes to the enclave, or comes from it."""
        assert enclave.call("turn", self.argument.text).value == self.argument.turned.text
        assert enclave.call("write", {"key": self.key.text, "value": self.value.text}).value == 1
        text = self.streamed.text.encode()
        with enclave.stream("reverse", None, [text] * PIECES) as stream:
            assert b"".join(stream) == text[::-1] * PIECES
        assert stream.result.value == len(text) * PIECES

    def are_kept(self, enclave: Enclave) -> None:
        """The state has been where the host keeps it."""
        kept = enclave.call("read", {"after": None, "limit": 1}).value
        assert kept == [{"key": self.key.text, "value": self.value.text, "writes": 1}]


@pytest.mark.machine
def test_what_the_host_relays_and_keeps_holds_no_secret(tmp_path: Path, image: Image) -> None:
    secrets = Secrets()
    state, record = tmp_path / "machine", tmp_path / "record"
    with recorded_machine(state, record) as machine, connect(machine.host_socket) as client:
        policy = policy_for(machine, image)
        enclave = client.attest(client.launch(image), policy)
        secrets.pass_through(enclave)
        client.stop(enclave.number)
        client.start(enclave.number)
        enclave = client.attest(enclave.number, policy)
        secrets.are_kept(enclave)
        assert found(secrets.all, {"the host's sockets": record.read_bytes()}) == []
        assert enclave.call("tell", secrets.told.text).value == secrets.told.text
        assert found([secrets.told], {"the host's sockets": record.read_bytes()}), "what is told aloud is heard"
    assert found([*secrets.all, secrets.told], files(state)) == []
    (state / "host" / "note").write_text(secrets.value.text)
    assert found(secrets.all, files(state)), "what lies in the state directory is found"


@pytest.mark.machine
def test_what_passes_the_gateway_and_stays_in_its_memory_holds_no_secret(platform: Platform, image: Image) -> None:
    secrets = Secrets()
    listener = socket.create_server(("127.0.0.1", 0))
    url = f"http://127.0.0.1:{listener.getsockname()[1]}"
    with tapped(listener, lambda: socket.create_connection(platform.address)) as tap:  # noqa: SIM117 - see below
        with connect(url, token=platform.token) as client:  # which hangs up before the tap is read
            enclave = client.attest(client.launch(image), policy_for(platform.machine, image))
            secrets.pass_through(enclave)
            remembered = memories(platform, "supervisor", "gateway", "chip")
            asked = {"entry": "open", "arguments": secrets.told.text, "enclave": enclave.number}
            answer = httpx.post(
                f"{url}/enclave/ecall", json=asked, headers={"Authorization": f"Bearer {platform.token}"}
            )
            assert answer.json()["result"] == secrets.told.turned.text
            afterwards = memories(platform, "gateway")
            inside = memories(platform, "guest")
    assert found(secrets.all, {"the gateway's socket": tap.heard}) == []
    assert found([secrets.told], {"the gateway's socket": tap.heard}), "what passes in the clear is heard"
    assert found([secrets.told.turned], {"the gateway's socket": tap.heard}), "and so is its answer"
    assert found([*secrets.all, secrets.told], files(platform.machine.state)) == []
    assert found(secrets.all, remembered) == []
    if afterwards:
        assert found([secrets.told, secrets.told.turned], afterwards), "what passes in the clear is remembered"
        assert found(secrets.all, inside), "the function has seen them"


def memories(platform: Platform, *roles: str) -> dict[str, bytes]:
    """The memory of all processes of these roles, as far as this user may read it."""
    read: dict[str, bytes] = {}
    for process in family(platform.machine.status.supervisor_pid):
        if process.role in roles:
            with contextlib.suppress(OSError):
                read[f"memory of {process.role} {process.pid}"] = memory(process.pid)
    return read


def files(folder: Path) -> dict[str, bytes]:
    """All files below a folder."""
    return {str(path.relative_to(folder)): path.read_bytes() for path in folder.rglob("*") if path.is_file()}
