"""The gateway of a whole machine: confined, in the host's process, driven by clients that are not ours."""

import base64
import hashlib
import json
import os
import re
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import httpx
import pytest
from tests.rigs.levels import in_profile

from casemate.cli.policies import PinnedEnclave, policy_of, root_of
from casemate.client import connect
from casemate.images.image import read_image
from casemate.testing.served import Served, served_machine
from casemate.wire.encodings.message import encode_message
from casemate.wire.messages.host import PutImage
from casemate.wire.protocol.access_tokens import AccessToken, AccessTokens, Role, token_digest, token_text
from casemate.wire.sgx.collateral import Collateral
from casemate.wire.sgx.quote import Quote

pytestmark = pytest.mark.machine

ST = Path(sys.executable).with_name("schemathesis")


@pytest.fixture(scope="module")
def served(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Served]:
    with served_machine(tmp_path_factory.mktemp("served")) as made:
        yield made


@pytest.fixture
def client(served: Served) -> Iterator[httpx.Client]:
    with httpx.Client(base_url=served.url, headers=served.authorization, timeout=30) as made:
        yield made


def asked(client: httpx.Client, path: str, body: dict[str, Any]) -> Any:
    answer = client.post(f"/enclave/{path}", json=body)
    assert answer.status_code == 200, answer.text
    assert answer.json()["seen_by"] == "operator"
    return answer.json()


@pytest.mark.parametrize(
    ("function", "given", "result"),
    [
        ("statistics", {"numbers": [1, 2, 3, 6]}, {"count": 4, "mean": 3, "median": 2.5, "minimum": 1, "maximum": 6}),
        ("words", {"text": "The cat, the dog & the cow.", "most": 1}, {"words": 6, "distinct": 4}),
        ("fibonacci", {"n": 100}, {"value": "354224848179261915075"}),
        ("fibonacci", {"n": 0}, {"value": "0"}),
        ("primes", {"up_to": 10}, {"primes": [2, 3, 5, 7]}),
        ("primes", {"up_to": 0}, {"primes": []}),
        ("hash", {"text": "abc"}, {"hex": hashlib.sha256(b"abc").hexdigest()}),
        ("hash", {"text": "ä", "algorithm": "SHA-512"}, {"hex": hashlib.sha512("ä".encode()).hexdigest()}),
    ],
)
def test_the_learners_enclave_computes(client: httpx.Client, function: str, given: Any, result: Any) -> None:
    found = asked(client, "compute", {"function": function, "input": given})["result"]
    assert found | result == found


def test_the_enclave_itself_checks_what_goes_in(client: httpx.Client) -> None:
    wrongs: list[Any] = [{}, {"numbers": []}, {"numbers": ["x"]}, {"numbers": [1], "more": 1}, None, "x"]
    for wrong in wrongs:
        answer = client.post("/enclave/compute", json={"function": "statistics", "input": wrong})
        assert (answer.status_code, answer.json()["code"]) == (422, "arguments-refused")


def test_an_entry_point_that_does_not_exist_is_not_found(client: httpx.Client) -> None:
    answer = client.post("/enclave/ecall", json={"entry": "nowhere"})
    assert (answer.status_code, answer.json()["code"]) == (404, "entry-unknown")


def test_ocalls_show_both_sides(client: httpx.Client) -> None:
    found = asked(client, "ocall", {"question": "echo", "message": "hello"})
    assert found["enclave_asked"] == {"ocall": "echo", "arguments": {"message": "hello"}}
    assert found["host_answered"] == {"message": "hello"}
    found = asked(client, "ocall", {"question": "time"})
    assert abs(found["host_answered"]["unix_ms"] / 1000 - time.time()) < 60


@pytest.mark.parametrize("policy", ["mrenclave", "mrsigner"])
@pytest.mark.parametrize("data", [None, "x", {"list": [1, 2.5, "ä"]}])
def test_what_was_sealed_opens_and_what_was_changed_does_not(client: httpx.Client, policy: str, data: Any) -> None:
    sealed = asked(client, "seal", {"data": data, "policy": policy})["sealed"]
    assert asked(client, "unseal", {"sealed": sealed})["data"] == data
    raw = bytearray(base64.b64decode(sealed))
    for at in (0, 20, len(raw) // 2, len(raw) - 1):
        changed = bytes(raw[:at]) + bytes([raw[at] ^ 1]) + bytes(raw[at + 1 :])
        answer = client.post("/enclave/unseal", json={"sealed": base64.b64encode(changed).decode()})
        assert (answer.status_code, answer.json()["code"]) == (422, "unseal-refused")


def test_a_sealed_text_survives_its_enclave(client: httpx.Client) -> None:
    first = asked(client, "seal", {"data": "kept"})
    assert client.delete(f"/v1/enclaves/{first['enclave']}").status_code == 200
    again = asked(client, "unseal", {"sealed": first["sealed"]})
    assert again["data"] == "kept"
    assert again["enclave"] != first["enclave"]


def test_what_attest_shows_is_what_the_verifier_accepts(served: Served, client: httpx.Client, tmp_path: Path) -> None:
    nonce = os.urandom(32).hex()
    found = asked(client, "attest", {"nonce": nonce})
    quote = base64.b64decode(found["quote"])
    assert Quote.parse(quote).body.report_data.hex() == found["report"]["report_data"]
    collateral = client.get(found["collateral"])
    Collateral.parse(collateral.content)
    for name, content in (
        ("quote.bin", quote),
        ("binding.json", json.dumps(found["binding"]).encode()),
        ("collateral.json", collateral.content),
    ):
        (tmp_path / name).write_bytes(content)
    casemate = Path(sys.executable).with_name("casemate")
    image = served.machine.state / "host" / "learner" / "learner.sgxs"
    state = ["--state", str(served.machine.state)]
    policy = subprocess.run([casemate, "policy", image, *state], capture_output=True, check=True, timeout=60).stdout
    (tmp_path / "policy.toml").write_bytes(policy)
    verify = [str(casemate), "verify", "quote.bin", "--collateral", "collateral.json", "--binding", "binding.json"]
    done = subprocess.run(
        [*verify, "--policy", "policy.toml"], cwd=tmp_path, capture_output=True, check=False, timeout=60
    )
    assert done.returncode == 0, done.stderr.decode()


def test_an_image_goes_in_is_launched_attested_and_called_by_our_client(served: Served, client: httpx.Client) -> None:
    image = read_image(served.machine.state / "host" / "learner")
    put = client.post(
        "/v1/images",
        content=encode_message(PutImage("mine", image.sgxs, image.sigstruct)),
        headers={"Content-Type": "application/octet-stream"},
    )
    assert put.status_code == 201, put.text
    made = client.post("/v1/enclaves", json={"image": put.json()["image"]}, headers={"Idempotency-Key": "one"})
    again = client.post("/v1/enclaves", json={"image": put.json()["image"]}, headers={"Idempotency-Key": "one"})
    assert made.json() == again.json()
    policy = policy_of(PinnedEnclave(frozenset({image.mr_enclave}), root_of(served.machine), seeded=False, debug=False))
    with connect(served.url, token=served.token) as ours:
        enclave = ours.attest(made.json()["id"], policy)
        assert enclave.call("primes", {"up_to": 10}).value == {"count": 4, "primes": [2, 3, 5, 7]}
        ours.destroy(made.json()["id"])
    assert client.delete(f"/v1/images/{put.json()['image']}").status_code == 204


def test_a_token_file_is_heeded_while_the_machine_runs(served: Served) -> None:
    token = token_text(os.urandom(32))
    path = served.machine.state / "host" / "tokens.json"
    entry = AccessToken("guest", Role.CALL, datetime.now(UTC).replace(microsecond=0), token_digest(token))
    with httpx.Client(base_url=served.url, headers={"Authorization": f"Bearer {token}"}) as guest:
        assert guest.get("/v1/machine").status_code == 401
        path.write_bytes(AccessTokens((entry,)).encode())
        assert guest.get("/v1/machine").status_code == 200
        assert guest.get("/metrics").status_code == 403
        path.unlink()
        assert guest.get("/v1/machine").status_code == 401


def test_events_tell_of_an_enclaves_life(client: httpx.Client) -> None:
    lines: list[str] = []
    with client.stream("GET", "/v1/events", timeout=30) as stream:
        reading = stream.iter_lines()
        lines += [next(reading) for _ in range(4)]
        number = asked(client, "compute", {"function": "primes", "input": {"up_to": 2}})["enclave"]
        client.post(f"/v1/enclaves/{number}/stop")
        for line in reading:
            lines.append(line)
            if '"state":"stopped"' in line:
                break
    assert lines[1] == "event: enclaves"
    client.delete(f"/v1/enclaves/{number}")


def test_what_only_this_process_may_read_it_does_not_tell(served: Served, client: httpx.Client) -> None:
    answer = client.get("/v1/machine").json()
    assert answer["runtime"] == {part.component: part.digest.hex() for part in served.machine.status.runtime}
    log = (served.machine.state / "host" / "gateway.log").read_text()
    assert served.token not in log
    assert "casemate_" not in log


def test_a_thousand_slow_and_malformed_connections_do_not_stop_others(served: Served, client: httpx.Client) -> None:
    port = int(served.url.rpartition(":")[2])
    texts = (b"", b"GET /he", b"\x16\x03\x01" * 9, b"POST /v1/images HTTP/1.1\r\nHost: localhost\r\n")
    kept: list[socket.socket] = []

    def torment() -> None:
        for number in range(1000):
            connection = socket.create_connection(("127.0.0.1", port))
            connection.sendall(texts[number % len(texts)])
            kept.append(connection)

    tormentor = threading.Thread(target=torment)
    tormentor.start()
    slowest = 0.0
    while tormentor.is_alive():
        began = time.monotonic()
        assert client.get("/health").status_code == 200
        slowest = max(slowest, time.monotonic() - began)
    tormentor.join()
    for _ in range(5):
        with httpx.Client(base_url=served.url) as newcomer:
            assert newcomer.get("/health").status_code == 200
    asked(client, "compute", {"function": "primes", "input": {"up_to": 2}})
    for connection in kept:
        connection.close()
    assert slowest < 5


SCHEMATHESIS = """
[checks.negative_data_rejection]
expected-statuses = [400, 401, 403, 404, 405, 406, 409, 413, 415, 422, 429]

[[operations]]
include-name = [
  "POST /v1/images", "POST /v1/enclaves/{id}/calls", "POST /v1/functions/{name}/calls",
  "POST /v1/services/{name}/{called}"
]
checks.positive_data_acceptance.expected-statuses = ["2xx", 400, 404, 409, 429]

[[operations]]
include-name = [
  "POST /v1/vms", "POST /v1/vms/{id}/encrypt", "POST /v1/vms/{id}/write", "POST /v1/vms/{id}/map",
  "POST /v1/vms/{id}/assign", "POST /v1/vms/{id}/input",
  "POST /v1/vms/{id}/assign", "POST /v1/vms/{id}/input",
  "POST /v1/vms/{id}/run", "GET /v1/vms/{id}/memory", "GET /v1/vms/{id}/rmp", "GET /v1/vms/{id}/registers",
  "POST /vm/launch", "POST /vm/encrypt", "POST /vm/attest"
]
checks.positive_data_acceptance.expected-statuses = ["2xx", 400, 404, 409, 422, 429]

[[operations]]
include-name = [
  "POST /enclave/compute", "POST /enclave/ecall", "POST /enclave/unseal", "POST /enclave/seal", "POST /enclave/ocall"
]
checks.positive_data_acceptance.expected-statuses = ["2xx", 404, 409, 422, 429, 503]
"""
"""The bytes of images and calls, what a VM has at an address, and functions' own schemas, are beyond what the
document's schemas say."""


def test_schemathesis_finds_nothing(served: Served, tmp_path: Path) -> None:
    (tmp_path / "schemathesis.toml").write_text(SCHEMATHESIS)
    authorization = f"Authorization: {served.authorization['Authorization']}"
    command = [str(ST), "--config-file", "schemathesis.toml", "run", f"{served.url}/openapi.json", "-H", authorization]
    command += [
        "--checks",
        "all",
        "--max-examples",
        in_profile("4", "25"),
        "--max-time",
        in_profile("20", "240"),
        "--request-timeout",  # a guest's report takes a while on a busy computer
        "60",
        "--max-response-time",
        "60",
        "--seed",
        "20261122",
        "--exclude-path",
        "/v1/events",
        "--exclude-path",
        "/v1/vms/{id}/console/events",
    ]
    done = subprocess.run(command, cwd=tmp_path, capture_output=True, timeout=280, check=False)
    assert done.returncode == 0, done.stdout.decode()[-20000:]
    (made,) = re.findall(rb"(\d+) generated", done.stdout)
    assert int(made) > 30  # it has not stopped short of asking; a busy computer gets some 3 a second done
    assert b"Unresolvable" not in done.stdout


def test_sigterm_drains_and_the_machine_ends_well(tmp_path: Path) -> None:
    with served_machine(tmp_path / "m") as served:
        gateway = served.machine.status.pid("gateway")
        with httpx.Client(base_url=served.url, headers=served.authorization, timeout=30) as client:
            asked(client, "compute", {"function": "primes", "input": {"up_to": 2}})
            with client.stream("GET", "/v1/events") as stream:
                reading = stream.iter_lines()
                next(reading)
                began = time.monotonic()
                os.kill(gateway, signal.SIGTERM)
                assert "event: end" in list(reading)
        while Path(f"/proc/{gateway}").exists() and time.monotonic() - began < 20:
            time.sleep(0.05)
        assert time.monotonic() - began < 8
