"""RA-TLS against a whole machine: OpenSSL's and curl's command lines are the clients, and none of them is ours."""

import contextlib
import hashlib
import json
import os
import signal
import socket
import ssl
import subprocess
import sys
import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from datetime import UTC, datetime
from functools import partial
from pathlib import Path
from typing import Any

import cbor2
import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat, PublicFormat
from tests.rigs.ra_tls_clients import POST, Party, curl, openssl, url
from tests.rigs.workshop import ANYTHING, ANYTHING_OUT, Workshop

from casemate.cli.policies import PinnedEnclave, policy_of, root_of
from casemate.client import Client, connect
from casemate.client.errors import EnclaveRefusedError, NoHostError, TlsRefusedError
from casemate.client.local import LocalMachine
from casemate.client.ra_tls import RaTlsConnection, call
from casemate.images.image import Image
from casemate.testing.independent import dcap_qvl
from casemate.verifier import RefusedError, Rule, SgxPolicy, print_policy
from casemate.wire.encodings.pem import encode_chain
from casemate.wire.protocol.faults import Code
from casemate.wire.protocol.isolation import Isolation
from casemate.wire.protocol.manifest import Engine
from casemate.wire.sgx.collateral import Collateral

SOURCES = {
    Engine.JAVASCRIPT: """
export function main(input, context) { return { input, caller: context.caller }; }
export function secret(input, context) { return { input, caller: context.caller.name }; }
export function large(n) { return "x".repeat(n); }
export function crash() { throw new Error("no"); }
""",
    Engine.PYTHON: """
def main(input, context):
    caller = context.caller
    return {"input": input, "caller": caller and {"name": caller.name, "key": caller.key}}

def secret(input, context):
    return {"input": input, "caller": context.caller.name}

def large(n, context):
    return "x" * n

def crash(input, context):
    raise ValueError("no")
""",
}
KEEPS_AND_ASKS = {
    Engine.JAVASCRIPT: """
export function count(_, context) {
  const n = (context.state.get("n") ?? 0) + 1;
  context.state.put("n", n);
  if (n === 2) throw new Error("what this call has put is not kept");
  return n;
}
export async function now(_, context) { return (await context.ocall("time", null)).unix_ms > 0; }
""",
    Engine.PYTHON: """
def count(_, context):
    n = context.state.get("n", 0) + 1
    context.state.put("n", n)
    if n == 2:
        raise ValueError("what this call has put is not kept")
    return n

async def now(_, context):
    return context.ocall("time", None)["unix_ms"] > 0
""",
}


@pytest.fixture(scope="module")
def alice(tmp_path_factory: pytest.TempPathFactory) -> Party:
    return Party(tmp_path_factory.mktemp("alice"), "alice")


@pytest.fixture(scope="module")
def mallory(tmp_path_factory: pytest.TempPathFactory) -> Party:
    return Party(tmp_path_factory.mktemp("mallory"), "mallory")


def image_of(workshop: Workshop, alice: Party, engine: Engine) -> Image:
    entry = {"input": ANYTHING, "output": ANYTHING_OUT, "callers": "anyone"}
    return workshop.image(
        SOURCES[engine],
        engine=engine,
        entries={"main": entry, "large": entry, "crash": entry, "secret": entry | {"callers": ["alice"]}},
        callers={"alice": alice.manifest_value},
        output_kib=4096,
        ra_tls=True,
    )


@pytest.fixture(scope="module")
def image(workshop: Workshop, alice: Party) -> Image:
    return image_of(workshop, alice, Engine.JAVASCRIPT)


@contextlib.contextmanager
def launched(client: Client, image: Image) -> Iterator[int]:
    """An enclave's own port."""
    enclave = client.launch(image)
    shown = next(shown for shown in client.enclaves() if shown.enclave == enclave)
    assert shown.ra_tls_port is not None
    yield shown.ra_tls_port
    client.destroy(enclave)


@pytest.fixture(scope="module")
def each_port(machine: LocalMachine, workshop: Workshop, alice: Party, engine: Engine) -> Iterator[int]:
    """The own port of an enclave of each engine, shared by the tests of what a function gets and gives."""
    with connect(machine.host_socket) as client, launched(client, image_of(workshop, alice, engine)) as number:
        yield number


@pytest.fixture
def port(client: Client, image: Image) -> Iterator[int]:
    """The own port of an enclave of the image."""
    with launched(client, image) as number:
        yield number


def test_curl_learns_what_this_is(port: int, image: Image) -> None:
    status, content_type, about = curl(url(port))
    assert (status, content_type) == (200, "application/json")
    assert about["mrenclave"] == image.mr_enclave.hex()
    assert {"name": "secret", "callers": "named", "stream": False} in about["entries"]


def test_curl_calls_an_entry_for_anyone(each_port: int) -> None:
    status, _, answer = curl(*POST, '{"a": [1, "é"]}', url(each_port, "/entry/main"))
    assert (status, answer) == (200, {"input": {"a": [1, "é"]}, "caller": None})


def test_a_client_certificate_names_the_caller(each_port: int, alice: Party) -> None:
    shown = ("--key", str(alice.key), "--cert", str(alice.certificate))
    status, _, answer = curl(*shown, *POST, "7", url(each_port, "/entry/secret"))
    assert (status, answer) == (200, {"input": 7, "caller": "alice"})
    for version in ("--tlsv1.2", "--tlsv1.3"):
        limited = (*shown, version, "--tls-max", version.removeprefix("--tlsv"))
        status, _, answer = curl(*limited, *POST, "7", url(each_port, "/entry/main"))
        assert (status, answer["caller"]["name"]) == (200, "alice")


def test_without_the_right_client_certificate_a_named_entry_is_refused(port: int, mallory: Party) -> None:
    for shown in ((), ("--key", str(mallory.key), "--cert", str(mallory.certificate))):
        status, content_type, answer = curl(*shown, *POST, "7", url(port, "/entry/secret"))
        assert (status, content_type) == (403, "application/problem+json")
        assert answer["code"] == "caller-refused"
        assert answer["type"] == "urn:casemate:problem:caller-refused"


@pytest.mark.parametrize(
    ("arguments", "status", "code"),
    [
        (("{}/nowhere",), 404, "entry-unknown"),
        (("{}/entry/constructor",), 404, "entry-unknown"),
        (("{}/entry/main",), 405, "malformed"),
        (("-X", "DELETE", "{}/"), 405, "malformed"),
        ((*POST, "{nonsense", "{}/entry/main"), 422, "arguments-refused"),
        (("-d", "7", "{}/entry/main"), 415, "malformed"),
        ((*POST, "7", "{}/entry/crash"), 500, "guest-error"),
        ((*POST, "9999999", "{}/entry/large"), 500, "output-limit"),
    ],
)
def test_refusals_are_problem_details(each_port: int, arguments: tuple[str, ...], status: int, code: str) -> None:
    base = url(each_port, "")
    got, content_type, answer = curl(*(argument.replace("{}/", f"{base}/") for argument in arguments))
    assert (got, content_type, answer["code"], answer["status"]) == (status, "application/problem+json", code, status)


def test_state_and_ocalls_are_there_as_in_sealed_calls(client: Client, workshop: Workshop, engine: Engine) -> None:
    entry = {"input": ANYTHING, "output": ANYTHING_OUT, "callers": "anyone"}
    made = workshop.image(
        KEEPS_AND_ASKS[engine],
        engine=engine,
        entries={"count": entry, "now": entry},
        ocalls={"time": {"input": ANYTHING_OUT, "output": ANYTHING}},
        state={"policy": "mrenclave", "recovery": "never", "max_kib": 16},
        ra_tls=True,
    )
    enclave = client.launch(made)
    try:
        place = next(shown.ra_tls_port for shown in client.enclaves() if shown.enclave == enclave)
        assert place is not None
        answers = [curl(*POST, "null", url(place, "/entry/count")) for _ in range(3)]
        assert [(status, answer if status == 200 else answer["code"]) for status, _, answer in answers] == [
            (200, 1),
            (500, "guest-error"),
            (500, "guest-error"),
        ]
        assert curl(*POST, "null", url(place, "/entry/now"))[2] is True
    finally:
        client.destroy(enclave)


def test_long_answers_come_whole(each_port: int) -> None:
    status, _, answer = curl(*POST, "3000000", url(each_port, "/entry/large"))
    assert (status, len(answer)) == (200, 3_000_000)


def test_long_bodies_are_refused_and_shorter_ones_are_not(port: int, tmp_path: Path) -> None:
    body = tmp_path / "body"
    for size, wanted in ((1_000_000, 200), (1_100_000, 413)):
        body.write_text(json.dumps("x" * size))
        status, _, _ = curl("-H", "content-type: application/json", "-d", f"@{body}", url(port, "/entry/main"))
        assert status == wanted


def test_openssl_shakes_hands_and_shows_both_extensions(port: int, tmp_path: Path) -> None:
    for version in ("-tls1_2", "-tls1_3"):
        assert b"BEGIN CERTIFICATE" in openssl("s_client", "-connect", f"127.0.0.1:{port}", version)
    said = openssl("s_client", "-connect", f"127.0.0.1:{port}")
    certificate = tmp_path / "certificate.pem"
    certificate.write_bytes(openssl("x509", typed=said))
    shown = openssl("x509", "-in", str(certificate), "-noout", "-text").decode()
    for wanted in ("2.23.133.5.4.9:", "1.2.840.113741.1337.6:", "secp384r1", "CA:FALSE", "DNS:localhost"):
        assert wanted in shown
    assert "2.23.133.5.4.9: critical" not in shown
    structure = openssl("asn1parse", "-in", str(certificate)).decode()
    assert "OBJECT            :2.23.133.5.4.9" in structure
    openssl("verify", "-CAfile", str(certificate), str(certificate))


def test_a_request_that_two_readers_take_for_different_ones_is_the_last(port: int) -> None:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
    head = b"POST /entry/main HTTP/1.1\r\nHost: x\r\nContent-Type: application/json\r\n"
    for status, more in (
        (b"200", b"Content-Length: 4\r\nTransfer-Encoding: chunked\r\n\r\n1\r\n1\r\n0\r\n\r\n"),
        (b"400", b"Content-Length: 1\r\nContent-Length: 1\r\n\r\n1"),
        (b"400", b"Content-Length:\r\n 1\r\n\r\n1"),
        (b"400", b"Content-Length: 1\r\n\n1"),
    ):
        with (
            socket.create_connection(("127.0.0.1", port), 60) as plain,
            context.wrap_socket(plain) as tls,
            tls.makefile("rb") as answers,
        ):
            tls.sendall(head + more + b"GET / HTTP/1.1\r\nHost: x\r\n\r\n")
            answer = answers.read()
        assert answer.startswith(b"HTTP/1.1 " + status)
        assert answer.count(b"\r\n\r\n") == 1


def test_openssl_resumes_no_session(port: int) -> None:
    for version in ("-tls1_2", "-tls1_3"):
        said = openssl("s_client", "-connect", f"127.0.0.1:{port}", version, "-reconnect").decode()
        assert "Reused" not in said


def test_old_versions_are_refused(port: int) -> None:
    done = subprocess.run(
        ["openssl", "s_client", "-connect", f"127.0.0.1:{port}", "-tls1_1", "-cipher", "DEFAULT@SECLEVEL=0"],  # noqa: S607 - on the path
        input=b"",
        capture_output=True,
        check=False,
        timeout=30,
    )
    assert done.returncode != 0
    assert b"alert protocol version" in done.stderr


def test_garbage_and_slow_clients_disturb_nobody(port: int) -> None:
    open_ones = []
    for number in range(300):  # more than are kept
        sock = socket.create_connection(("127.0.0.1", port), timeout=10)
        sock.sendall((b"\x16\x03\x01", b"GET / HTTP/1.1\r\n\r\n", bytes([number % 256]) * 50)[number % 3])
        open_ones.append(sock)
    status, _, answer = curl(*POST, "1", url(port, "/entry/main"))
    assert (status, answer["input"]) == (200, 1)
    for sock in open_ones:
        sock.close()


@pytest.fixture(scope="module")
def shared_image(workshop: Workshop) -> Image:
    entry = {"input": ANYTHING, "output": ANYTHING_OUT, "callers": "anyone"}
    return workshop.image(SOURCES[Engine.JAVASCRIPT], entries={"main": entry}, ra_tls=True, isolation=Isolation.SHARED)


@pytest.fixture(scope="module")
def patient_image(workshop: Workshop) -> Image:
    """Its calls have the time for the start of a guest, however busy the computer is."""
    entry = {"input": ANYTHING, "output": ANYTHING_OUT, "callers": "anyone"}
    return workshop.image(SOURCES[Engine.JAVASCRIPT], entries={"main": entry}, ra_tls=True, time_ms=20_000)


def talk(port: int, together: threading.Barrier, number: int) -> tuple[int, Any, str]:
    """A call over a connection of its own, without a certificate: status, JSON and head of the response.

    Args:
        port: the enclave's.
        together: what all who call at once meet at, their handshakes done: those take long on a busy computer.
        number: the argument.
    """
    context = ssl.create_default_context()
    context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
    body = str(number).encode()
    head = b"POST /entry/main HTTP/1.1\r\nhost: x\r\nconnection: close\r\ncontent-type: application/json\r\n"
    with (
        socket.create_connection(("127.0.0.1", port), timeout=30) as sock,
        context.wrap_socket(sock) as connection,
    ):
        together.wait(60)
        connection.sendall(head + b"content-length: %d\r\n\r\n%b" % (len(body), body))
        received = b""
        while piece := connection.recv(65536):
            received += piece
    status, answer = received.partition(b"\r\n\r\n")[::2]
    return int(status.split()[1]), json.loads(answer), status.decode()


def test_a_hundred_connections_at_once(client: Client, shared_image: Image) -> None:
    with launched(client, shared_image) as port, ThreadPoolExecutor(100) as pool:
        answers = list(pool.map(partial(talk, port, threading.Barrier(100)), range(100)))
    assert all(status == 200 for status, _, _ in answers)
    assert [answer for _, answer, _ in answers] == [{"input": number, "caller": None} for number in range(100)]


def test_more_strangers_at_once_than_guests_can_be_made_for_are_told_when_to_come_again(
    client: Client, patient_image: Image
) -> None:
    with launched(client, patient_image) as port, ThreadPoolExecutor(40) as pool:
        answers = list(pool.map(partial(talk, port, threading.Barrier(40)), range(40)))
    assert any(status == 200 for status, _, _ in answers)
    refused = [(answer["code"], "retry-after: " in head.lower()) for status, answer, head in answers if status != 200]
    assert refused
    assert set(refused) == {("busy", True)}


def test_an_enclave_without_ra_tls_has_no_port(client: Client, workshop: Workshop) -> None:
    enclave = client.launch(workshop.image("export function main() {}"))
    try:
        assert next(shown for shown in client.enclaves() if shown.enclave == enclave).ra_tls_port is None
    finally:
        client.destroy(enclave)


def test_a_stopped_enclave_comes_back_on_its_port_with_another_key(own_machine: LocalMachine, image: Image) -> None:
    with connect(own_machine.host_socket) as client:
        number = client.launch(image)

        def port() -> int | None:
            return next(shown.ra_tls_port for shown in client.enclaves() if shown.enclave == number)

        before = port()
        assert before is not None
        first = ssl.get_server_certificate(("127.0.0.1", before))
        client.stop(number)
        assert port() is None
        client.start(number)
        assert port() == before
        assert ssl.get_server_certificate(("127.0.0.1", before)) != first


def test_an_enclave_comes_back_on_its_port_after_its_host_was_killed(own_machine: LocalMachine, image: Image) -> None:
    with connect(own_machine.host_socket) as client:
        client.launch(image)
        (shown,) = client.enclaves()
    port = shown.ra_tls_port
    assert port is not None
    first = ssl.get_server_certificate(("127.0.0.1", port))
    os.kill(own_machine.status.host_pid, signal.SIGKILL)
    second = ssl.get_server_certificate(("127.0.0.1", port), timeout=30)  # it waits in the backlog meanwhile
    assert second != first


# --- evidence, judged ------------------------------------------------------------------------------------------------


@pytest.fixture
def collateral(client: Client, workshop: Workshop) -> Iterator[Collateral]:
    enclave = client.launch(workshop.image("export function main() {}"))
    yield Collateral.parse(client.evidence(enclave, bytes(32)).endorsements)
    client.destroy(enclave)


@pytest.fixture
def policy(machine: LocalMachine, image: Image) -> SgxPolicy:
    """As `casemate policy` prints it: sandbox layers are demanded, too."""
    named = PinnedEnclave(frozenset({image.mr_enclave}), root_of(machine), seeded=True, debug=False, confined=True)
    return policy_of(named)


def served_certificate(port: int) -> bytes:
    return openssl("x509", "-outform", "DER", typed=openssl("s_client", "-connect", f"127.0.0.1:{port}"))


def test_others_verifiers_accept_both_quotes_in_the_certificate(
    port: int, machine: LocalMachine, collateral: Collateral
) -> None:
    certificate = x509.load_der_x509_certificate(served_certificate(port))
    key = certificate.public_key().public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo)
    values = {extension.oid.dotted_string: extension.value.public_bytes() for extension in certificate.extensions}
    tagged = cbor2.loads(values["2.23.133.5.4.9"])
    quote, claims = tagged.value
    legacy = values["1.2.840.113741.1337.6"]
    assert tagged.tag == 60000
    assert cbor2.loads(cbor2.loads(claims)["pubkey-hash"]) == [1, hashlib.sha256(key).digest()]
    root, now = machine.status.root_certificate, datetime.now(UTC)
    for evidence, vouched in ((quote, claims), (legacy, key)):
        judged = dcap_qvl(evidence, collateral, root, now)
        assert judged.status == "UpToDate", judged
        assert evidence[368:432] == hashlib.sha256(vouched).digest() + bytes(32)  # REPORTDATA


def test_our_client_appraises_and_calls(
    port: int, policy: SgxPolicy, collateral: Collateral, image: Image, alice: Party, mallory: Party
) -> None:
    connection = RaTlsConnection("127.0.0.1", port, policy=policy, collateral=collateral, caller=alice.caller)
    assert call(connection, "secret", {"a": 1}) == {"input": {"a": 1}, "caller": "alice"}
    assert connection.certificate.enclave.mr_enclave == image.mr_enclave
    assert connection.certificate.layers is not None
    with pytest.raises(EnclaveRefusedError, match="no path here"):
        call(connection, "nowhere", None)
    with pytest.raises(EnclaveRefusedError, match="threw an exception"):
        call(connection, "crash", None)
    assert call(connection, "main", 7) == {
        "input": 7,
        "caller": {"name": "alice", "key": alice.manifest_value},
    }
    connection.close()
    for caller in (None, mallory.caller):
        connection = RaTlsConnection("127.0.0.1", port, policy=policy, collateral=collateral, caller=caller)
        with pytest.raises(EnclaveRefusedError) as refused:
            call(connection, "secret", {"a": 1})
        assert refused.value.fault.code is Code.CALLER_REFUSED
        connection.close()


def test_our_client_refuses_another_enclave_and_sends_nothing(
    client: Client, workshop: Workshop, policy: SgxPolicy, collateral: Collateral
) -> None:
    enclave = client.launch(workshop.image("export function main(x) { return x; }", ra_tls=True))
    port = next(shown.ra_tls_port for shown in client.enclaves() if shown.enclave == enclave)
    assert port is not None
    connection = RaTlsConnection("127.0.0.1", port, policy=policy, collateral=collateral)
    with pytest.raises(RefusedError) as refused:
        call(connection, "main", "secret")
    assert refused.value.rule is Rule.ENCLAVE_MR_ENCLAVE
    assert connection.sock is None
    client.destroy(enclave)


class Impostor:
    """A TLS server of the operator's that shows what it likes, and keeps what it is sent."""

    def __init__(self, folder: Path, certificate: bytes, key: ec.EllipticCurvePrivateKey) -> None:
        pem = folder / "impostor.pem"
        pem.write_bytes(
            key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption()) + encode_chain(certificate)
        )
        self._context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        self._context.load_cert_chain(pem)
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.port = self._listener.getsockname()[1]
        self.heard = b""
        self._thread = threading.Thread(target=self._serve)
        self._thread.start()

    def _serve(self) -> None:
        with self._listener, self._listener.accept()[0] as plain:
            plain.settimeout(10)
            with contextlib.suppress(OSError), self._context.wrap_socket(plain, server_side=True) as sock:
                while data := sock.recv(65536):
                    self.heard += data

    def end(self) -> bytes:
        self._thread.join(20)
        return self.heard


def stolen_evidence(certificate: bytes, key: ec.EllipticCurvePrivateKey) -> bytes:
    """An enclave's good evidence in a certificate for another key."""
    real = x509.load_der_x509_certificate(certificate)
    builder = x509.CertificateBuilder(
        real.issuer, real.subject, key.public_key(), 1, real.not_valid_before_utc, real.not_valid_after_utc
    )
    for oid in ("1.2.840.113741.1337.6", "2.23.133.5.4.9"):
        found = real.extensions.get_extension_for_oid(x509.ObjectIdentifier(oid))
        builder = builder.add_extension(found.value, critical=False)
    return builder.sign(key, hashes.SHA384()).public_bytes(Encoding.DER)


def test_a_relay_with_stolen_evidence_learns_nothing(
    port: int, policy: SgxPolicy, collateral: Collateral, tmp_path: Path
) -> None:
    key = ec.generate_private_key(ec.SECP384R1())
    impostor = Impostor(tmp_path, stolen_evidence(served_certificate(port), key), key)
    connection = RaTlsConnection("127.0.0.1", impostor.port, policy=policy, collateral=collateral)
    with pytest.raises(RefusedError) as refused:
        call(connection, "main", "secret")
    assert refused.value.rule is Rule.RA_TLS_PUBLIC_KEY
    assert impostor.end() == b""


def test_a_certificate_without_the_key_is_of_no_use(port: int, tmp_path: Path) -> None:
    """Whoever shows an enclave's own certificate cannot finish a handshake with it."""
    with pytest.raises(ssl.SSLError, match=r"(?i)key values mismatch"):
        Impostor(tmp_path, served_certificate(port), ec.generate_private_key(ec.SECP384R1()))


def test_no_tls_and_nobody_are_typed_errors(policy: SgxPolicy, collateral: Collateral) -> None:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        place = listener.getsockname()[1]

        def answer_nonsense() -> None:
            sock, _ = listener.accept()
            with sock:
                sock.sendall(b"SSH-2.0-nonsense\r\n")
                sock.recv(1024)

        thread = threading.Thread(target=answer_nonsense)
        thread.start()
        with pytest.raises(TlsRefusedError):
            RaTlsConnection("127.0.0.1", place, policy=policy, collateral=collateral).connect()
        thread.join(10)
    with pytest.raises(NoHostError):
        RaTlsConnection("127.0.0.1", place, policy=policy, collateral=collateral).connect()


def casemate(*arguments: str) -> tuple[int, dict[str, Any]]:
    done = subprocess.run(
        [sys.executable, "-c", "from casemate.cli.main import main; main()", *arguments, "--json"],
        capture_output=True,
        text=True,
        check=False,
        timeout=60,
    )
    return done.returncode, json.loads(done.stdout)


def test_the_command_line_verifies_a_port_and_a_file(
    port: int, policy: SgxPolicy, collateral: Collateral, image: Image, tmp_path: Path
) -> None:
    files = {"policy": print_policy(policy).encode(), "collateral": collateral.encode()}
    options: list[str] = []
    for name, content in files.items():
        (tmp_path / name).write_bytes(content)
        options += [f"--{name}", str(tmp_path / name)]
    status, said = casemate("verify", "--ra-tls", f"127.0.0.1:{port}", *options, "--explain")
    assert (status, said["accepted"]) == (0, True)
    assert said["evidence"]["mr_enclave"] == image.mr_enclave.hex()

    certificate = tmp_path / "certificate.der"
    certificate.write_bytes(served_certificate(port))
    status, said = casemate("verify", "--ra-tls", str(certificate), *options)
    assert (status, said["error"]["rule"]) == (3, "sandbox.enclave")  # a file says nothing of its sandbox
    (tmp_path / "policy").write_text(print_policy(replace(policy, layers="UNSAFE_ANY_SANDBOX")))
    status, said = casemate("verify", "--ra-tls", str(certificate), *options)
    assert (status, said["accepted"]) == (0, True)

    key = ec.generate_private_key(ec.SECP384R1())
    certificate.write_bytes(encode_chain(stolen_evidence(certificate.read_bytes(), key)))
    status, said = casemate("verify", "--ra-tls", str(certificate), *options, "--explain")
    assert (status, said["error"]["rule"]) == (3, "ra-tls.public-key")
