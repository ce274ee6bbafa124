"""`casemate up` with certificate files and another name: curl, the client and the commands, and nobody else."""

import json
import ssl
import subprocess
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from tests.rigs.served_commands import PATIENCE, SLOW, casemate, said
from tests.rigs.workshop import Workshop, exact_policy

from casemate.client import TlsRefusedError, connect
from casemate.client.local import LocalMachine, running_machine

pytestmark = pytest.mark.machine

PAGE = "https://dash.example"
NAME = "box.example"


@dataclass(frozen=True)
class Door:
    """A machine that is started by the command, and what its operator hands out."""

    machine: LocalMachine
    token: str
    certificate: Path

    @property
    def url(self) -> str:
        return self.machine.status.url

    def curl(self, path: str, *options: str, trusting: bool = True) -> tuple[int, str, str]:
        """curl's exit status, the answer's head in lower case, and its body."""
        command = ["curl", "-sS", "-i", "--max-time", "20", *(("--cacert", str(self.certificate)) if trusting else ())]
        port = self.url.rpartition(":")[2]
        command += ["--resolve", f"{NAME}:{port}:127.0.0.1", "-H", f"Authorization: Bearer {self.token}", *options]
        done = subprocess.run(
            [*command, path if "://" in path else self.url + path], capture_output=True, text=True, check=False
        )
        head, _, body = done.stdout.partition("\n\n")
        return done.returncode, head.lower(), body


@pytest.fixture(scope="module")
def door(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Door]:
    folder = tmp_path_factory.mktemp("https")
    key, certificate, state = folder / "key.pem", folder / "certificate.pem", folder / "machine"
    names = f"subjectAltName=DNS:localhost,IP:127.0.0.1,DNS:{NAME}"
    command = [
        "openssl",
        "req",
        "-x509",
        "-newkey",
        "ec",
        "-pkeyopt",
        "ec_paramgen_curve:P-256",
        "-nodes",
        "-days",
        "2",
    ]
    command += ["-keyout", str(key), "-out", str(certificate), "-subj", "/CN=box", "-addext", names]
    subprocess.run(command, check=True, capture_output=True)
    options = ("--tls-cert", certificate, "--tls-key", key, "--allow-host", NAME, "--cors-origin", PAGE, "--port", 0)
    code, document = said("up", "--detach", "--state", state, *options)
    assert code == 0, document
    try:
        yield Door(running_machine(state), document["token"], certificate)
    finally:
        assert said("down", "--state", state)[0] == 0


def test_curl_computes_over_tls(door: Door) -> None:
    assert door.url.startswith("https://")
    asked = json.dumps({"function": "primes", "input": {"up_to": 20}})
    code, head, body = door.curl("/enclave/compute", "--json", asked)
    assert (code, head.split()[1]) == (0, "200")
    assert json.loads(body)["result"]["count"] == 8


def test_another_name_is_answered_where_it_was_allowed(door: Door) -> None:
    port = door.url.rpartition(":")[2]
    assert door.curl(f"https://{NAME}:{port}/health")[1].split()[1] == "200"
    assert door.curl("/health", "-H", "Host: rebound.example")[1].split()[1] == "421"


def test_pages_of_the_one_origin_are_let_in_and_no_others(door: Door) -> None:
    _, head, _ = door.curl("/v1/enclaves", "-H", f"Origin: {PAGE}")
    assert f"access-control-allow-origin: {PAGE}\n" in head
    _, head, _ = door.curl("/v1/enclaves", "-H", "Origin: https://evil.example")
    assert "access-control-allow-origin" not in head


@pytest.mark.parametrize(
    ("options", "trusting", "status"),
    [((), False, {60}), (("--tls-max", "1.1", "--ciphers", "DEFAULT@SECLEVEL=0"), True, {35})],
    ids=["an unknown issuer", "TLS 1.1"],
)
def test_curl_refuses_what_it_should(door: Door, options: tuple[str, ...], trusting: bool, status: set[int]) -> None:
    assert door.curl("/health", *options, trusting=trusting)[0] in status


def test_plain_http_is_not_spoken_there(door: Door) -> None:
    code, head, _ = door.curl(door.url.replace("https:", "http:") + "/health")
    assert code != 0
    assert head == ""


def test_the_client_calls_an_attested_enclave(door: Door, workshop: Workshop) -> None:
    image = workshop.image(SLOW, time_ms=5000)
    with connect(door.url, token=door.token, verify=ssl.create_default_context(cafile=door.certificate)) as client:
        enclave = client.attest(client.launch(image), exact_policy(door.machine, image))
        assert enclave.call("main", 1).value == 1
    with pytest.raises(TlsRefusedError), connect(door.url, token=door.token) as client:
        client.enclaves()


def test_the_commands_trust_the_named_ca_alone(door: Door) -> None:
    code, answer = _elsewhere(door, "ps", CASEMATE_CA=str(door.certificate))
    assert code == 0
    assert "enclaves" in answer
    code, answer = _elsewhere(door, "ps")
    assert code != 0
    assert "--ca FILE" in answer["error"]["next"]


def _elsewhere(door: Door, *arguments: object, **environment: str) -> tuple[int, Any]:
    where = {"CASEMATE_URL": door.url, "CASEMATE_TOKEN": door.token, **environment}
    with casemate(*arguments, "--json", **where) as process:
        out, _ = process.communicate(timeout=PATIENCE)
        return process.returncode, json.loads(out)
