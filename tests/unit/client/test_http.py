"""Both clients against one gateway, honest or not."""

import asyncio
import logging
import ssl
import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat
from cryptography.x509.oid import NameOID
from tests.rigs.channel.guests import Called, echo
from tests.rigs.channel.rig import ALICE, MR_ENCLAVE
from tests.rigs.client.desk import SHOWN, Desk, Door
from tests.rigs.client.runs import IMAGE, Run, Steps
from tests.rigs.client.web import BINARY, JSON, PROBLEM, ROOT, TOKEN, Gateway, Request, Web, shown

from casemate.client import aio, http_exchange, sync
from casemate.client.errors import (
    AddressError,
    AttestAgainError,
    EnclaveRefusedError,
    GatewayBusyError,
    GatewayRefusedError,
    HostRefusedError,
    NoHostError,
    NotOfferedError,
    ResponseRefusedError,
    RoleRefusedError,
    TlsRefusedError,
    TokenRefusedError,
)
from casemate.client.receipts import check_receipt
from casemate.link.errors import PeerGoneError, TimedOutError
from casemate.wire.encodings.message import encode_message
from casemate.wire.errors import WireError
from casemate.wire.protocol.call import MAX_SEALED
from casemate.wire.protocol.faults import Code, fault
from casemate.wire.protocol.lifecycle import State


@pytest.fixture(autouse=True)
def hurry(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(http_exchange, "FIRST_PAUSE", 0.01)


@pytest.fixture(scope="module")
def desk() -> Iterator[Desk]:
    with Desk() as found:
        yield found


@pytest.fixture
def web(desk: Desk) -> Iterator[Web]:
    with Web(Gateway(desk)) as found:
        yield found


def asked(web: Web) -> list[tuple[str, str]]:
    return [(request.method, request.path) for request in web.requests]


def ps(client: Any) -> Steps:
    yield client.enclaves()


def test_the_whole_journey(run: Run, web: Web, desk: Desk) -> None:
    def journey(client: Any) -> Steps:
        number = yield client.launch(IMAGE)
        assert number == 1
        assert (yield client.launch(IMAGE)) == 1
        assert (yield client.enclaves()) == (SHOWN,)
        enclave = yield client.attest(number, desk.policy)
        assert enclave.evidence.mr_enclave == MR_ENCLAVE
        result = yield enclave.call("echo", {"n": 7}, caller=ALICE)
        assert result.value["arguments"] == {"n": 7}
        assert check_receipt(result.receipt, desk.policy).receipt.caller == ALICE.public_key
        assert (yield enclave.call("echo", None)).value["caller"] is None
        assert (yield client.stop(number)).state is State.STOPPED
        assert (yield client.start(number)).state is State.RUNNING
        assert (yield client.destroy(number)).state is State.DESTROYED
        assert (yield client.machine()).root_certificate == ROOT

    run(web.url, journey, token=TOKEN)
    uploads = [request for request in web.requests if request.path == "/v1/images"]
    assert len(uploads) == 1, "an image that the gateway has is not sent again"
    keys = [
        request.headers["idempotency-key"]
        for request in web.requests
        if request.path == "/v1/enclaves"
        if request.method == "POST"
    ]
    assert len(set(keys)) == len(keys) == 2
    assert web.connections == 1


def test_a_gateway_below_a_path_is_found_there(run: Run) -> None:
    def respond(request: Request) -> None:
        request.says_json(200, {"enclaves": []})

    with Web(respond) as web:
        run(f"{web.url}/casemate/", ps)
        assert asked(web) == [("GET", "/casemate/v1/enclaves")]


def test_the_hosts_refusals_are_the_hosts_and_the_enclaves_the_enclaves(run: Run, web: Web, desk: Desk) -> None:
    def journey(client: Any) -> Steps:
        with pytest.raises(HostRefusedError) as by_host:
            yield client.attest(2, desk.policy)
        assert by_host.value.fault == fault(Code.UNKNOWN_ENCLAVE, "there is enclave 1 alone")
        enclave = yield client.attest(1, desk.policy)
        with pytest.raises(EnclaveRefusedError) as by_enclave:
            yield enclave.call("absent", None)
        assert by_enclave.value.fault.code is Code.ENTRY_UNKNOWN
        yield enclave.call("echo", None)

    run(web.url, journey, token=TOKEN)


@pytest.mark.parametrize(
    ("status", "code", "error"),
    [
        (401, "token-wanted", TokenRefusedError),
        (401, "token-unknown", TokenRefusedError),
        (403, "role-refused", RoleRefusedError),
        (413, "body-too-large", GatewayRefusedError),
        (500, "internal", HostRefusedError),
        (409, "wrong-state", HostRefusedError),
        (409, "cannot-open", AttestAgainError),
        (409, "session-unknown", AttestAgainError),
        (404, "a-code-of-next-year", GatewayRefusedError),
        (429, "rate-limited", GatewayBusyError),
        (503, "draining", GatewayBusyError),
    ],
)
def test_a_problem_is_raised_as_what_it_is(run: Run, status: int, code: str, error: type[Exception]) -> None:
    def journey(client: Any) -> Steps:
        with pytest.raises(error) as caught:
            yield client.stop(1)
        assert type(caught.value) is error
        assert "in the gateway's words" in str(caught.value)
        assert code in str(caught.value)

    with Web(lambda request: request.problem(status, code, "in the gateway's words")) as web:
        run(web.url, journey)
        assert len(web.requests) == 1


@pytest.mark.parametrize("body", [b"", b"{", b"[]", b'{"code":5}', b"\xff", b'{"code":"busy","code":"lost"}'])
@pytest.mark.parametrize("media_type", [PROBLEM, "text/html"])
def test_a_refusal_without_a_sound_problem_document_is_still_one(run: Run, body: bytes, media_type: str) -> None:
    def journey(client: Any) -> Steps:
        with pytest.raises(GatewayRefusedError, match="404"):
            yield client.stop(1)

    with Web(lambda request: request.says(404, body, media_type)) as web:
        run(web.url, journey)


def test_the_token_shows_nowhere(run: Run, caplog: pytest.LogCaptureFixture) -> None:
    """Not in errors, though the gateway repeats it; not in a representation, and not in a log."""
    caplog.set_level(logging.DEBUG)

    def journey(client: Any) -> Steps:
        with pytest.raises(TokenRefusedError) as caught:
            yield client.enclaves()
        assert TOKEN not in str(caught.value) + repr(caught.value) + repr(vars(client)) + repr(vars(client._transport))
        assert "[token]" in str(caught.value)

    with Web(lambda request: request.problem(401, "token-unknown", f"{request.headers['authorization']}?")) as web:
        run(web.url, journey, token=TOKEN)
        assert web.requests[0].headers["authorization"] == f"Bearer {TOKEN}"
    assert TOKEN not in caplog.text
    assert caplog.text  # httpcore's own words, which were looked at


@pytest.mark.parametrize("status", [301, 302, 303, 307, 308])
def test_redirects_are_refused_and_the_token_goes_nowhere_else(run: Run, status: int) -> None:
    def journey(client: Any) -> Steps:
        with pytest.raises(WireError, match="redirect"):
            yield client.enclaves()

    with Web(lambda request: request.says_json(200, {"enclaves": []})) as elsewhere:

        def respond(request: Request) -> None:
            request.says(status, b"", Location=f"{elsewhere.url}/v1/enclaves")

        with Web(respond) as web:
            run(web.url, journey, token=TOKEN)
        assert not elsewhere.requests


@pytest.mark.parametrize(
    ("status", "media_type", "body"),
    [
        (200, JSON, b""),
        (200, JSON, b"{"),
        (200, JSON, b"[]"),
        (200, JSON, b"\xff"),
        (200, JSON, b'{"enclaves":{}}'),
        (200, JSON, b'{"enclaves":[{}]}'),
        (200, JSON, b'{"enclaves":[],"enclaves":[]}'),
        (200, JSON, b"[" * 100_000),
        (200, "text/html", b'{"enclaves":[]}'),
        (200, "", b'{"enclaves":[]}'),
        (200, BINARY, b'{"enclaves":[]}'),
        (204, JSON, b""),
        (206, JSON, b'{"enclaves":[]}'),
        (200, JSON, b" " * (http_exchange.MAX_JSON + 1)),
    ],
)
def test_malformed_json_is_refused(run: Run, status: int, media_type: str, body: bytes) -> None:
    def journey(client: Any) -> Steps:
        with pytest.raises(WireError):
            yield client.enclaves()

    with Web(lambda request: request.says(status, body, media_type)) as web:
        run(web.url, journey)


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("id", -1),
        ("id", True),
        ("id", "1"),
        ("name", None),
        ("mr_enclave", "ab"),
        ("mr_enclave", "zz" * 32),
        ("isv_svn", 65536),
        ("debug", 1),
        ("state", "flying"),
        ("state", None),
    ],
)
def test_a_malformed_member_of_an_enclave_is_named(run: Run, name: str, value: object) -> None:
    def journey(client: Any) -> Steps:
        with pytest.raises(WireError, match=name):
            yield client.start(1)

    with Web(lambda request: request.says_json(200, shown(SHOWN) | {name: value})) as web:
        run(web.url, journey)


@pytest.mark.parametrize("body", [b"", b"\x63", bytes(100), encode_message(fault(Code.LOST, "as a message"))])
def test_malformed_evidence_is_refused(run: Run, body: bytes) -> None:
    def journey(client: Any) -> Steps:
        with pytest.raises(WireError):
            yield client.evidence(1, bytes(32))

    with Web(lambda request: request.says(200, body, BINARY)) as web:
        run(web.url, journey)


def test_a_tampered_answer_is_refused(run: Run, desk: Desk) -> None:
    honest = Gateway(desk)

    def respond(request: Request) -> None:
        if request.path.endswith("/calls"):
            request.says(200, bytes(1100), BINARY)
        else:
            honest(request)

    def journey(client: Any) -> Steps:
        enclave = yield client.attest(1, desk.policy)
        with pytest.raises(ResponseRefusedError):
            yield enclave.call("echo", None)

    with Web(respond) as web:
        run(web.url, journey, token=TOKEN)


def test_an_answer_that_is_too_long_is_not_read_to_its_end(run: Run) -> None:
    """Said to be endless, and not said to be of any length."""

    def respond(request: Request) -> None:
        request.raw(
            b"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nTransfer-Encoding: chunked\r\n\r\n", hang_up=False
        )
        while True:
            request.raw(b"10000\r\n" + bytes(65536) + b"\r\n", hang_up=False)

    def journey(client: Any) -> Steps:
        with pytest.raises(WireError, match="at most"):
            yield client.enclaves()

    with Web(respond) as web:
        run(web.url, journey)


def test_a_packed_answer_is_refused(run: Run) -> None:
    def journey(client: Any) -> Steps:
        with pytest.raises(WireError, match="Encoding"):
            yield client.enclaves()

    with Web(lambda request: request.says(200, b"", JSON, Content_Encoding="gzip")) as web:
        run(web.url, journey)
        assert "accept-encoding" not in web.requests[0].headers


@pytest.mark.parametrize(
    "said",
    [
        b"nonsense\r\n\r\n",
        b"HTTP/1.1 banana\r\n\r\n",
        b"\x00" * 200_000,
        b"HTTP/1.1 200 OK\r\nContent-Length: -1\r\n\r\n",
    ],
)
def test_what_is_no_http_is_refused(run: Run, said: bytes) -> None:
    def journey(client: Any) -> Steps:
        with pytest.raises((WireError, PeerGoneError)):
            yield client.stop(1)

    with Web(lambda request: request.raw(said)) as web:
        run(web.url, journey)
        assert len(web.requests) == 1


@pytest.mark.parametrize(
    "said",
    [
        b"",
        b"HTTP/1.1 200 OK\r\nContent-",
        b"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: 100\r\n\r\n{",
    ],
)
def test_a_gateway_that_dies_half_way_is_gone(run: Run, said: bytes) -> None:
    def journey(client: Any) -> Steps:
        with pytest.raises(PeerGoneError):
            yield client.stop(1)

    with Web(lambda request: request.raw(said)) as web:
        run(web.url, journey)
        assert len(web.requests) == 1, "stopping twice is not asking once"


DRIPS: dict[str, Callable[[Request], None]] = {
    "silent": lambda _: time.sleep(3),
    "head": lambda request: drip(request, b"HTTP/1.1 200 OK\r\n" + b"X: y\r\n" * 100),
    "body": lambda request: drip(
        request, b"{" * 1000, b"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: 1000\r\n\r\n"
    ),
}


def drip(request: Request, said: bytes, before: bytes = b"") -> None:
    request.raw(before, hang_up=False)
    for begin in range(0, len(said), 4):
        request.raw(said[begin : begin + 4], hang_up=False)
        time.sleep(0.05)


@pytest.mark.parametrize("how", DRIPS)
def test_a_slow_gateway_costs_the_time_out_and_no_more(run: Run, how: str) -> None:
    def journey(client: Any) -> Steps:
        for _ in range(2):  # and the client is good for another question
            started = time.monotonic()
            with pytest.raises(TimedOutError, match=r"GetEvidence within 0\.2 s"):
                yield client.evidence(1, bytes(32), timeout=0.2)
            assert time.monotonic() - started < 1.5

    with Web(DRIPS[how]) as web:
        run(web.url, journey)


def test_nobody_there_is_said(run: Run) -> None:
    with Web(lambda _: None) as web:
        url = web.url

    def journey(client: Any) -> Steps:
        with pytest.raises(NoHostError, match="no gateway at http://127"):
            yield client.enclaves()

    run(url, journey)


def test_a_closed_client_says_so(run: Run, web: Web) -> None:
    def journey(client: Any) -> Steps:
        yield client.enclaves()
        yield client.close()
        with pytest.raises(PeerGoneError, match="closed"):
            yield client.enclaves()

    run(web.url, journey, token=TOKEN)


class Moody:
    """Refuses the first requests in some way, and then answers."""

    def __init__(self, then: Callable[[Request], None], *moods: Callable[[Request], None]) -> None:
        self._then = then
        self._moods = list(moods)

    def __call__(self, request: Request) -> None:
        (self._moods.pop(0) if self._moods else self._then)(request)


def hang_up(request: Request) -> None:
    request.raw(b"")


def busy(after: str) -> Callable[[Request], None]:
    return lambda request: request.problem(429, "busy", "later", Retry_After=after)


def draining(request: Request) -> None:
    request.problem(503, "draining", "later", Retry_After="0")


def test_questions_that_change_nothing_are_asked_again(run: Run) -> None:
    with Web(Moody(lambda request: request.says_json(200, {"enclaves": []}), hang_up, busy("0"), draining)) as web:
        run(web.url, ps)
        assert len(web.requests) == 4


def test_patience_has_an_end(run: Run) -> None:
    def journey(client: Any) -> Steps:
        with pytest.raises(HostRefusedError, match="busy"):
            yield client.enclaves()

    with Web(busy("0")) as web:
        run(web.url, journey)
        assert len(web.requests) == http_exchange.MAX_ATTEMPTS


@pytest.mark.parametrize("after", ["86400", "Wed, 21 Oct 2026 07:28:00 GMT", "-1", "1e9", "9" * 400, ""])
def test_a_gateway_does_not_decide_how_long_a_client_sleeps(run: Run, after: str) -> None:
    def journey(client: Any) -> Steps:
        started = time.monotonic()
        with pytest.raises(HostRefusedError, match="busy"):
            yield client.enclaves()
        assert time.monotonic() - started < 1

    with Web(busy(after)) as web:
        run(web.url, journey)
        assert len(web.requests) == 1


def test_a_pause_that_would_take_longer_than_is_left_is_not_made(run: Run) -> None:
    def journey(client: Any) -> Steps:
        started = time.monotonic()
        with pytest.raises(HostRefusedError, match="busy"):
            yield client.evidence(1, bytes(32), timeout=0.5)
        assert time.monotonic() - started < 0.4

    with Web(busy("2")) as web:
        run(web.url, journey)


def test_a_launch_is_repeated_under_one_key(run: Run, desk: Desk) -> None:
    honest = Gateway(desk)
    first: list[str] = []

    def respond(request: Request) -> None:
        if request.method == "POST" and request.path == "/v1/enclaves" and not first:
            first.append(request.headers["idempotency-key"])
            hang_up(request)
        elif request.path == "/v1/enclaves":
            assert request.headers["idempotency-key"] == first[0]
            honest(request)
        else:
            honest(request)

    def journey(client: Any) -> Steps:
        assert (yield client.launch(IMAGE)) == 1

    with Web(respond) as web:
        run(web.url, journey, token=TOKEN)
        assert len([path for _, path in asked(web) if path == "/v1/enclaves"]) == 2


@pytest.mark.parametrize("mood", [hang_up, busy("0"), draining], ids=["hang-up", "busy", "draining"])
@pytest.mark.parametrize("what", ["call", "start", "stop", "destroy"])
def test_what_may_have_had_its_effect_is_never_asked_again(
    run: Run, desk: Desk, what: str, mood: Callable[[Request], None]
) -> None:
    honest = Gateway(desk)

    def respond(request: Request) -> None:
        (honest if request.method == "GET" else mood)(request)

    def journey(client: Any) -> Steps:
        enclave = yield client.attest(1, desk.policy)
        with pytest.raises((PeerGoneError, HostRefusedError, GatewayBusyError)):
            yield enclave.call("echo", None) if what == "call" else getattr(client, what)(1)

    with Web(respond) as web:
        run(web.url, journey, token=TOKEN)
        assert [method for method, _ in asked(web)].count("GET") == 1
        assert len(web.requests) == 2


def test_what_was_surely_not_delivered_is_sent_again(run: Run, desk: Desk, monkeypatch: pytest.MonkeyPatch) -> None:
    """A gateway that restarts: nobody listens for a moment, so nothing was sent, not even of a call."""
    monkeypatch.setattr(http_exchange, "FIRST_PAUSE", 0.2)
    with Web(Gateway(desk)) as web:
        port = web.port
        born: list[Web] = []

        def journey(client: Any) -> Steps:
            enclave = yield client.attest(1, desk.policy)
            web.close()
            reborn = threading.Timer(0.1, lambda: born.append(Web(Gateway(desk), port=port)))
            reborn.start()
            assert (yield enclave.call("echo", {"n": 1})).value["arguments"] == {"n": 1}
            reborn.join()

        run(web.url, journey, token=TOKEN)
        born[0].close()


def test_calls_of_one_session_that_are_made_at_once_enter_in_order(web: Web, desk: Desk) -> None:
    seen: list[object] = []

    def script(called: Called) -> None:
        seen.append(called.arguments)
        echo(called)

    async def main() -> None:
        async with await aio.connect(web.url, token=TOKEN) as client:
            enclave = await client.attest(1, desk.policy)
            results = await asyncio.gather(*(enclave.call("echo", {"n": number}) for number in range(20)))
            assert [result.value["arguments"]["n"] for result in results] == list(range(20))

    desk.rig.script = script
    try:
        asyncio.run(main())
    finally:
        desk.rig.script = echo
    assert seen == [b'{"n":%d}' % number for number in range(20)]


def test_waiting_for_ones_turn_is_part_of_the_time_out(desk: Desk) -> None:
    honest = Gateway(desk)

    def respond(request: Request) -> None:
        if request.path.endswith("/calls"):
            time.sleep(0.5)
        honest(request)

    async def main(url: str) -> None:
        async with await aio.connect(url, token=TOKEN) as client:
            enclave = await client.attest(1, desk.policy)
            first = asyncio.create_task(enclave.call("echo", None))
            await asyncio.sleep(0.05)
            with pytest.raises(TimedOutError, match="before it"):
                await enclave.call("echo", None, timeout=0.1)
            await first
            with pytest.raises(TimedOutError, match="no answer to Call"):
                await enclave.call("echo", None, timeout=0.1)

    with Web(respond) as web:
        asyncio.run(main(web.url))


def test_a_call_that_is_given_up_leaves_the_others_alone(web: Web, desk: Desk) -> None:
    async def main() -> None:
        async with await aio.connect(web.url, token=TOKEN) as client:
            enclave = await client.attest(1, desk.policy)
            given_up = asyncio.create_task(enclave.call("echo", {"n": 1}))
            await asyncio.sleep(0.002)
            given_up.cancel()
            assert (await enclave.call("echo", {"n": 2})).value["arguments"] == {"n": 2}

    asyncio.run(main())


def test_closing_ends_calls_under_way() -> None:
    async def main(url: str) -> None:
        client = await aio.connect(url)
        asking = asyncio.create_task(client.enclaves())
        await asyncio.sleep(0.05)
        await client.close()
        with pytest.raises(PeerGoneError):
            await asking

    with Web(lambda _: time.sleep(1)) as web:
        asyncio.run(main(web.url))


@pytest.mark.parametrize(
    ("url", "reason"),
    [
        ("ftp://localhost", "scheme"),
        ("http://", "form"),
        ("http://a b", "form"),
        ("http://localhost:99999", "none"),
        ("http://localhost:0", "form"),
        ("http://[::1", "none"),
        ("http://localhost?x=1", "form"),
        ("http://localhost#x", "form"),
        ("http://localhost/\r\nX: y", "form"),
        ("http://localhost/a b", "form"),
        ("http://user:secret@localhost", "token instead"),
    ],
)
def test_urls_that_name_no_gateway_are_refused(url: str, reason: str) -> None:
    with pytest.raises(AddressError, match=reason) as caught:
        sync.connect(url)
    assert "secret" not in str(caught.value)


@pytest.mark.parametrize("token", ["", "a b", "a\r\nX: y", "ä", "a" * 2000])
def test_tokens_that_are_none_are_refused_and_not_repeated(token: str) -> None:
    with pytest.raises(AddressError) as caught:
        sync.connect("http://localhost", token=token)
    assert token not in str(caught.value) or not token


@pytest.mark.parametrize(
    "host", ["example.org", "192.0.2.1", "[2001:db8::1]", "localhost.example.org", "127.0.0.1.example.org"]
)
def test_a_token_crosses_no_network_in_the_clear(host: str) -> None:
    with pytest.raises(AddressError, match="in the clear"):
        sync.connect(f"http://{host}", token=TOKEN)
    sync.connect(f"http://{host}").close()
    sync.connect(f"https://{host}", token=TOKEN).close()
    sync.connect(f"http://{host}", token=TOKEN, unsafe_token_over_http=True).close()


@pytest.mark.parametrize("host", ["localhost", "127.0.0.1", "127.1.2.3", "[::1]"])
def test_a_token_may_go_to_this_computer(host: str) -> None:
    sync.connect(f"http://{host}:1", token=TOKEN).close()


def test_a_socket_takes_no_token(tmp_path: Path) -> None:
    with pytest.raises(AddressError, match="takes no token"):
        sync.connect(tmp_path / "host.sock", token=TOKEN)


def test_a_host_socket_does_not_describe_its_machine(run: Run, desk: Desk, tmp_path: Path) -> None:
    def journey(client: Any) -> Steps:
        with pytest.raises(NotOfferedError):
            yield client.machine()
        yield client.enclaves()

    with Door(tmp_path / "host.sock", desk) as door:
        run(door.path, journey)


def certificate(folder: Path, name: str) -> Path:
    """A self-signed certificate for ``name``, and its key, in one PEM file."""
    key = ec.generate_private_key(ec.SECP256R1())
    subject = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, name)])
    now = datetime.now(UTC)
    made = (
        x509.CertificateBuilder()
        .subject_name(subject)
        .issuer_name(subject)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - timedelta(days=1))
        .not_valid_after(now + timedelta(days=1))
        .add_extension(x509.SubjectAlternativeName([x509.DNSName(name)]), critical=False)
        .add_extension(x509.BasicConstraints(ca=True, path_length=None), critical=True)
        .add_extension(x509.SubjectKeyIdentifier.from_public_key(key.public_key()), critical=False)
        .sign(key, hashes.SHA256())
    )
    path = folder / f"{name}.pem"
    private = key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())
    path.write_bytes(private + made.public_bytes(Encoding.PEM))
    return path


def test_tls_by_a_ca_of_ones_own(run: Run, desk: Desk, tmp_path: Path) -> None:
    pem = certificate(tmp_path, "localhost")

    def journey(client: Any) -> Steps:
        enclave = yield client.attest(1, desk.policy)
        assert (yield enclave.call("echo", {"n": 7})).value["arguments"] == {"n": 7}

    with Web(Gateway(desk), certificate=str(pem)) as web:
        run(web.url, journey, token=TOKEN, verify=pem)
        run(web.url, journey, token=TOKEN, verify=ssl.create_default_context(cafile=str(pem)))


@pytest.mark.parametrize("name", ["localhost", "elsewhere"])
def test_certificates_that_are_not_trusted_are_refused_before_anything_is_sent(
    run: Run, tmp_path: Path, name: str
) -> None:
    """One that nobody here vouches for; one that is vouched for, for another name."""
    pem = certificate(tmp_path, name)

    def journey(client: Any) -> Steps:
        with pytest.raises(TlsRefusedError, match="not trusted"):
            yield client.enclaves()

    with Web(lambda request: request.says_json(200, {"enclaves": []}), certificate=str(pem)) as web:
        run(web.url, journey, token=TOKEN, verify=None if name == "localhost" else pem)
        assert not web.requests


def test_a_server_that_speaks_no_tls_is_told(run: Run) -> None:
    def journey(client: Any) -> Steps:
        with pytest.raises((TlsRefusedError, NoHostError)):
            yield client.enclaves()

    with Web(lambda _: None) as web:
        run(web.url.replace("http:", "https:"), journey)


def test_a_context_that_checks_nothing_is_refused() -> None:
    context = ssl.create_default_context()
    context.check_hostname = False
    context.verify_mode = ssl.CERT_NONE
    with pytest.raises(AddressError, match="checks no certificate"):
        sync.connect("https://localhost", verify=context)


def test_ca_files_that_are_none_are_named(tmp_path: Path) -> None:
    (tmp_path / "ca.pem").write_bytes(b"nothing of the sort")
    for name in ("ca.pem", "absent.pem"):
        with pytest.raises(AddressError, match=name):
            sync.connect("https://localhost", verify=tmp_path / name)
    with pytest.raises(AddressError, match="no TLS"):
        sync.connect("http://localhost", verify=tmp_path / "ca.pem")


def test_a_large_image_goes_out_whole(run: Run, desk: Desk) -> None:
    image = replace(IMAGE, sgxs=bytes(range(256)) * 40_000)

    def journey(client: Any) -> Steps:
        yield client.launch(image)

    with Web(Gateway(desk)) as web:
        run(web.url, journey, token=TOKEN)
        sent = next(request.body for request in web.requests if request.path == "/v1/images")
        assert image.sgxs in sent


def test_the_longest_sealed_answer_is_taken_and_no_longer_one(run: Run, desk: Desk) -> None:
    lengths = [MAX_SEALED, MAX_SEALED + 1]
    honest = Gateway(desk)

    def respond(request: Request) -> None:
        if request.path.endswith("/calls"):
            request.says(200, bytes(lengths.pop(0)), BINARY)
        else:
            honest(request)

    def journey(client: Any) -> Steps:
        enclave = yield client.attest(1, desk.policy)
        with pytest.raises(ResponseRefusedError):
            yield enclave.call("echo", None)
        with pytest.raises(WireError, match="at most"):
            yield enclave.call("echo", None)

    with Web(respond) as web:
        run(web.url, journey, token=TOKEN)
