"""RA-TLS inside the enclave: hostile bytes, slow bytes, pipelines and limits, with pyOpenSSL's client in memory."""

import subprocess
import sys
from collections.abc import Callable, Hashable, Iterator
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime, timedelta

import h11
import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec, rsa
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.serialization import Encoding
from cryptography.x509.oid import NameOID
from hypothesis import given, settings
from hypothesis import strategies as st
from OpenSSL import SSL

from casemate.enclave import parts
from casemate.enclave.boot import Program
from casemate.enclave.io.loop import at_once
from casemate.enclave.parts import load, missing_part
from casemate.enclave.rehearsal import _FILES, RehearsalError
from casemate.enclave.tls import desk as desk_module
from casemate.enclave.tls import rehearsal, session
from casemate.enclave.tls.credentials import Credentials, KeyToCertify, now
from casemate.enclave.tls.desk import TlsDesk
from casemate.enclave.tls.http import MAX_BODY, MAX_HEAD, HttpConversation, Request, RequestRefusedError, Response
from casemate.enclave.tls.session import TlsSession, server_context
from casemate.images.layout import lay_out, read_pages
from casemate.testing.forge import honest
from casemate.wire.messages.leaf import OptionalPart
from casemate.wire.messages.tls import (
    MAX_OUTWARD,
    TlsBytes,
    TlsInstall,
    TlsInstalled,
    TlsPrepare,
    TlsPrepared,
    TlsReply,
)
from casemate.wire.protocol.faults import Code, FaultError
from casemate.wire.protocol.ra_tls_certificate import RaTlsCertificate
from casemate.wire.protocol.sandbox_layers import SandboxLayers
from casemate.wire.protocol.tee import Identity, Tee

ROOM = 1 << 26


def self_signed(key: ec.EllipticCurvePrivateKey | rsa.RSAPrivateKey | Ed25519PrivateKey) -> x509.Certificate:
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "test")])
    start = datetime.now(UTC) - timedelta(minutes=1)
    builder = x509.CertificateBuilder(name, name, key.public_key(), 1, start, start + timedelta(days=1))
    return builder.sign(key, None if isinstance(key, Ed25519PrivateKey) else hashes.SHA256())


@pytest.fixture(scope="module")
def context() -> SSL.Context:
    key = ec.generate_private_key(ec.SECP384R1())
    return server_context(Credentials(key, self_signed(key)))


@dataclass
class Audience:
    """Answers with the body, as often as the path says."""

    asked: list[tuple[Request, bytes | None]] = field(default_factory=list)
    parties: list[Hashable] = field(default_factory=list)

    async def answer(self, request: Request, public_key: bytes | None, party: Hashable) -> Response:
        self.asked.append((request, public_key))
        self.parties.append(party)
        if request.path == "/defect":
            raise KeyError("a defect")
        times = int(request.path.removeprefix("/") or 1)
        return Response(200, "application/json", request.body * times)


def turn(server: TlsSession, data: bytes, *, room: int = ROOM) -> TlsReply:
    """One turn of a connection whose calls wait for nothing."""
    return at_once(server.turn(data, room=lambda: room))


class TestClient:
    """A TLS client in memory, and the host that relays for it."""

    __test__ = False

    def __init__(
        self,
        context: SSL.Context,
        *,
        key: ec.EllipticCurvePrivateKey | rsa.RSAPrivateKey | Ed25519PrivateKey | None = None,
        piece: int = 1 << 16,
        room: int = ROOM,
    ) -> None:
        self.audience = Audience()
        self.session = TlsSession(context, self.audience)
        theirs = SSL.Context(SSL.TLS_CLIENT_METHOD)
        if key is not None:
            theirs.use_privatekey(key)
            theirs.use_certificate(self_signed(key))
        self.tls = SSL.Connection(theirs, None)
        self.tls.set_connect_state()
        self._piece = piece
        self._room = room
        self.received = b""
        self.replies: list[TlsReply] = []
        self.is_over = False

    def relay(self) -> None:
        """Carries bytes until nobody has any more."""
        while not self.is_over:
            try:
                outward = self.tls.bio_read(1 << 20)
            except SSL.WantReadError:
                return
            for at in range(0, len(outward), self._piece):
                self._enter(outward[at : at + self._piece])

    def _enter(self, data: bytes) -> None:
        reply = self._turn(data)
        while reply.has_more:
            reply = self._turn(b"")

    def _turn(self, data: bytes) -> TlsReply:
        reply = turn(self.session, data, room=self._room)
        self._take(reply)
        return reply

    def _take(self, reply: TlsReply) -> None:
        assert len(reply.data) <= MAX_OUTWARD
        self.replies.append(reply)
        self.is_over = self.is_over or reply.is_over
        if reply.data:
            self.tls.bio_write(reply.data)
        self.read()

    def read(self) -> None:
        try:
            while True:
                self.received += self.tls.recv(1 << 16)
        except (SSL.WantReadError, SSL.ZeroReturnError):
            return

    def shake_hands(self) -> None:
        for _ in range(5):
            try:
                self.tls.do_handshake()
            except SSL.WantReadError:
                self.relay()
            else:
                break
        self.relay()

    def say(self, data: bytes) -> None:
        self.tls.sendall(data)
        self.relay()

    def responses(self) -> list[tuple[int, bytes]]:
        """What the server has answered, as h11 reads it."""
        ours = h11.Connection(h11.CLIENT)
        ours.receive_data(self.received)
        found: list[tuple[int, bytes]] = []
        while True:
            ours.send(h11.Request(method="GET", target="/", headers=[("host", "x")]))
            ours.send(h11.EndOfMessage())
            status, body = 0, b""
            while True:
                event = ours.next_event()
                if isinstance(event, h11.Response):
                    status = event.status_code
                elif isinstance(event, h11.Data):
                    body += bytes(event.data)
                elif isinstance(event, h11.EndOfMessage):
                    found.append((status, body))
                    break
                elif event is h11.NEED_DATA or isinstance(event, h11.ConnectionClosed):
                    return found
            if ours.our_state is not h11.DONE or ours.their_state is not h11.DONE:
                return found
            ours.start_next_cycle()


def post(body: bytes, path: str = "/1", *headers: str) -> bytes:
    lines = [f"POST {path} HTTP/1.1", "host: x", f"content-length: {len(body)}", *headers]
    return "\r\n".join(lines).encode() + b"\r\n\r\n" + body


@pytest.fixture
def client(context: SSL.Context) -> TestClient:
    made = TestClient(context)
    made.shake_hands()
    return made


def test_answers_one_request_after_another(client: TestClient) -> None:
    for number in range(3):
        client.say(post(b"%d" % number))
    assert client.responses() == [(200, b"0"), (200, b"1"), (200, b"2")]
    assert not client.is_over


def test_a_pipeline_is_answered_in_order_one_request_a_turn(client: TestClient) -> None:
    turns = len(client.replies)
    client.say(b"".join(post(b"%d" % number) for number in range(20)))
    assert [body for _, body in client.responses()] == [b"%d" % number for number in range(20)]
    assert len(client.replies) - turns >= 20  # so others get their turns in between


def test_bytes_may_come_one_by_one(context: SSL.Context) -> None:
    client = TestClient(context, piece=1)
    client.shake_hands()
    client.say(post(b"slow"))
    assert client.responses() == [(200, b"slow")]


def test_a_long_answer_goes_out_in_pieces(client: TestClient) -> None:
    client.say(post(b"x" * 100_000, "/100"))
    assert client.responses() == [(200, b"x" * 10_000_000)]
    assert len(client.replies) > 10_000_000 // MAX_OUTWARD


def test_an_answer_that_there_is_no_room_for_is_refused(context: SSL.Context) -> None:
    client = TestClient(context, room=1000)
    client.shake_hands()
    client.say(post(b"x" * 100, "/11"))
    client.say(post(b"x" * 100, "/2"))
    assert [status for status, _ in client.responses()] == [503, 200]


@pytest.mark.parametrize(
    ("request_bytes", "status"),
    [
        (b"nonsense\r\n\r\n", 400),
        (b"GET / HTTP/1.1\r\n\r\n", 400),  # no host
        (b"GET / HTTP/2.0\r\nhost: x\r\n\r\n", 505),
        (b"GET / HTTP/1.1\r\nhost: x\r\n" + b"a: b\r\n" * MAX_HEAD, 431),
        (post(b"x" * (MAX_BODY + 1)), 413),
        (b"POST / HTTP/1.1\r\nhost: x\r\ncontent-length: 99999999999999999999\r\n\r\n", 413),
        (b"POST / HTTP/1.1\r\nhost: x\r\ncontent-length: " + b"9" * 5000 + b"\r\n\r\n", 400),
        (b"POST / HTTP/1.1\r\nhost: x\r\ncontent-length: -1\r\n\r\n", 400),
        (b"POST / HTTP/1.1\r\nhost: x\r\ncontent-length: 1\r\ncontent-length: 2\r\n\r\n", 400),
        (b"POST / HTTP/1.1\r\nhost: x\r\ntransfer-encoding: gzip\r\n\r\n", 501),
        (b"POST / HTTP/1.1\r\nhost: x\r\ntransfer-encoding: chunked\r\n\r\nzz\r\n", 400),
        (
            b"POST / HTTP/1.1\r\nhost: x\r\ntransfer-encoding: chunked\r\n\r\n"
            + (b"10000\r\n" + b"x" * 65536 + b"\r\n") * 17,
            413,
        ),
    ],
)
def test_what_is_no_request_gets_its_status_and_ends_the_connection(
    client: TestClient, request_bytes: bytes, status: int
) -> None:
    client.say(request_bytes)
    assert [found for found, _ in client.responses()] == [status]
    assert client.is_over
    assert client.audience.asked == []


def test_expect_continue_is_answered_before_the_body(client: TestClient) -> None:
    client.say(b"POST /1 HTTP/1.1\r\nhost: x\r\ncontent-length: 2\r\nexpect: 100-continue\r\n\r\n")
    assert client.received.startswith(b"HTTP/1.1 100 ")
    client.say(b"{}")
    assert client.received.endswith(b"{}")


def test_head_has_no_body_and_close_ends(client: TestClient) -> None:
    client.say(b"HEAD /0 HTTP/1.1\r\nhost: x\r\nconnection: close\r\n\r\n")
    assert client.received.startswith(b"HTTP/1.1 200 ")
    assert client.received.endswith(b"\r\n\r\n")
    assert client.is_over


def test_a_defect_is_told_in_few_words_and_ends_nothing(client: TestClient) -> None:
    client.say(post(b"{}", "/defect"))
    client.say(post(b"{}"))
    (status, body), (after, _) = client.responses()
    assert (status, after) == (500, 200)
    assert b"nothing more is told" in body


def test_the_client_closes(client: TestClient) -> None:
    client.tls.shutdown()
    client.relay()
    assert client.is_over


@pytest.mark.parametrize("key", [Ed25519PrivateKey.generate(), rsa.generate_private_key(65537, 2048), None])
def test_a_caller_is_whoever_has_proved_an_ed25519_key(
    context: SSL.Context, key: Ed25519PrivateKey | rsa.RSAPrivateKey | None
) -> None:
    client = TestClient(context, key=key)
    client.shake_hands()
    client.say(post(b"{}"))
    wanted = key.public_key().public_bytes_raw() if isinstance(key, Ed25519PrivateKey) else None
    assert [caller for _, caller in client.audience.asked] == [wanted]


@given(st.lists(st.binary(max_size=300), max_size=5))
def test_garbage_instead_of_tls_ends_the_connection_and_nothing_else(pieces: list[bytes]) -> None:
    key = ec.generate_private_key(ec.SECP384R1())
    server = TlsSession(server_context(Credentials(key, self_signed(key))), Audience())
    for piece in pieces:
        reply = turn(server, piece)
        if reply.is_over:
            return


@settings(max_examples=50)
@given(st.data())
def test_a_handshake_with_changed_bytes_never_gets_through(data: st.DataObject) -> None:
    key = ec.generate_private_key(ec.SECP384R1())
    client = TestClient(server_context(Credentials(key, self_signed(key))))
    with pytest.raises(SSL.WantReadError):
        client.tls.do_handshake()
    hello = bytearray(client.tls.bio_read(1 << 16))
    # RFC 8446, 5.1: the version in a record's header "MUST be ignored for all purposes", so no handshake covers it.
    covered = st.integers(0, len(hello) - 1).filter(lambda at: at not in (1, 2))
    hello[data.draw(covered)] ^= data.draw(st.integers(1, 255))
    reply = turn(client.session, bytes(hello))
    if reply.data:
        client.tls.bio_write(reply.data)
    try:
        client.tls.do_handshake()
    except SSL.Error:
        assert client.audience.asked == []
        return
    raise AssertionError("a handshake was finished whose first message was changed")


@given(st.lists(st.binary(max_size=400), max_size=6))
def test_random_bytes_inside_tls_are_a_request_or_a_refusal(pieces: list[bytes]) -> None:
    http = HttpConversation()
    for piece in pieces:
        http.take(piece)
        try:
            while (asked := http.next_request()) is not None and not isinstance(asked, bytes):
                http.respond(Response(200, "text/plain", b""))
        except RequestRefusedError as error:
            http.respond(Response(error.status, "text/plain", b""))
            return


# --- certificates ----------------------------------------------------------------------------------------------------


def quotes_over(*report_datas: bytes) -> tuple[bytes, ...]:
    made = []
    for report_data in report_datas:
        forgery = honest(datetime(2026, 3, 1, tzinfo=UTC))
        forgery.body = replace(forgery.body, report_data=report_data)
        made.append(forgery.sign().evidence.quote)
    return tuple(made)


def test_a_certificate_carries_both_quotes_for_a_day() -> None:
    key = KeyToCertify()
    quotes = quotes_over(*key.report_datas())
    credentials = key.certify(quotes, name="test", now=now())
    parsed = RaTlsCertificate.parse(credentials.certificate.public_bytes(Encoding.DER))
    assert parsed.legacy_quote == quotes[1]
    assert parsed.evidence is not None
    assert quotes[0] in parsed.evidence
    assert parsed.not_after - parsed.not_before < timedelta(hours=25)
    assert "PrivateKey" not in repr(credentials) + repr(key)


@pytest.mark.parametrize(
    "spoil", [lambda q: q[:1], lambda q: (q[1], q[0]), lambda q: (b"x", q[1]), lambda q: (*q, q[0])]
)
def test_quotes_for_something_else_make_no_certificate(spoil: Callable[[tuple[bytes, ...]], tuple[bytes, ...]]) -> None:
    key = KeyToCertify()
    quotes = quotes_over(*key.report_datas())
    with pytest.raises(FaultError) as refused:
        key.certify(spoil(quotes), name="test", now=now())
    assert refused.value.fault.code is Code.MALFORMED


# --- the desk --------------------------------------------------------------------------------------------------------


class Chip:
    """Makes REPORTs that name their data and nothing else."""

    async def report(self, _target_info: bytes, report_data: bytes) -> bytes:
        return report_data.ljust(432, b"\x00")


@pytest.fixture
def desk() -> TlsDesk:
    program = Program(
        Identity(Tee.SGX, bytes(32), bytes(32), 0, 0, debug=False),
        bytes(16),
        read_pages(lay_out(_FILES, (), engine="javascript").linear_contents()),
    )
    return TlsDesk(program, SandboxLayers((), ()), Chip(), None)  # type: ignore[arg-type] # plays a leaf; nobody calls


def answer(desk: TlsDesk, entry: TlsPrepare | TlsInstall | TlsBytes) -> TlsPrepared | TlsInstalled | TlsReply:
    """The reply to an entry that waits for nothing."""
    return at_once(desk.answer(entry))


def refused(desk: TlsDesk, entry: TlsPrepare | TlsInstall | TlsBytes) -> Code:
    with pytest.raises(FaultError) as error:
        answer(desk, entry)
    return error.value.fault.code


def installed(desk: TlsDesk) -> TlsInstalled:
    prepared = answer(desk, TlsPrepare(bytes(512)))
    assert isinstance(prepared, TlsPrepared)
    said = answer(desk, TlsInstall(quotes_over(*(report[:64] for report in prepared.reports))))
    assert isinstance(said, TlsInstalled)
    return said


def test_there_is_no_connection_before_there_is_a_certificate(desk: TlsDesk) -> None:
    assert refused(desk, TlsBytes(1, b"", has_ended=False)) is Code.WRONG_STATE
    assert refused(desk, TlsInstall((b"", b""))) is Code.WRONG_STATE
    answer(desk, TlsPrepare(bytes(512)))
    assert refused(desk, TlsInstall((b"", b""))) is Code.MALFORMED
    assert refused(desk, TlsBytes(1, b"", has_ended=False)) is Code.WRONG_STATE


def test_quotes_for_an_earlier_key_make_no_certificate(desk: TlsDesk) -> None:
    prepared = answer(desk, TlsPrepare(bytes(512)))
    assert isinstance(prepared, TlsPrepared)
    answer(desk, TlsPrepare(bytes(512)))
    late = TlsInstall(quotes_over(*(report[:64] for report in prepared.reports)))
    assert refused(desk, late) is Code.MALFORMED


def test_each_certificate_has_a_key_of_its_own(desk: TlsDesk) -> None:
    keys = {RaTlsCertificate.parse(installed(desk).certificate).public_key for _ in range(3)}
    assert len(keys) == 3


def test_connections_are_told_apart_bounded_and_never_come_back(desk: TlsDesk, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(desk_module, "MAX_CONNECTIONS", 2)
    installed(desk)
    for number in (1, 2):
        assert answer(desk, TlsBytes(number, b"\x16\x03\x01", has_ended=False)) == TlsReply(
            b"", has_more=False, is_over=False
        )
    assert refused(desk, TlsBytes(3, b"", has_ended=False)) is Code.BUSY
    over = answer(desk, TlsBytes(1, b"", has_ended=True))
    assert isinstance(over, TlsReply)
    assert over.is_over
    assert refused(desk, TlsBytes(1, b"", has_ended=False)) is Code.WRONG_STATE
    assert answer(desk, TlsBytes(3, b"", has_ended=False)) == TlsReply(b"", has_more=False, is_over=False)
    broken = answer(desk, TlsBytes(2, b"nonsense, no TLS at all", has_ended=False))
    assert isinstance(broken, TlsReply)
    assert broken.is_over
    assert answer(desk, TlsBytes(4, b"", has_ended=False)) == TlsReply(b"", has_more=False, is_over=False)


# --- equipment -------------------------------------------------------------------------------------------------------


def test_a_part_is_loaded_once(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(parts, "_loaded", set())
    rehearsed: list[int] = []
    monkeypatch.setattr(rehearsal, "rehearse_tls", lambda: rehearsed.append(1))
    manifest = read_pages(lay_out(_FILES, (), engine="javascript").linear_contents()).manifest
    wanted = replace(manifest, ra_tls=True)
    assert missing_part(manifest) is None
    assert missing_part(wanted) is OptionalPart.TLS
    load(OptionalPart.TLS)
    load(OptionalPart.TLS)
    assert missing_part(wanted) is None
    assert rehearsed == [1]


def test_a_library_that_keeps_what_it_should_end_is_noticed(monkeypatch: pytest.MonkeyPatch) -> None:
    async def keeps(*_: object, **__: object) -> TlsReply:
        return TlsReply(b"", has_more=False, is_over=False)

    monkeypatch.setattr(session.TlsSession, "turn", keeps)
    with pytest.raises(RehearsalError):
        rehearsal.rehearse_tls()


LIFE = """
import sys
from casemate.enclave.rehearsal import rehearse
from casemate.enclave.parts import load
from casemate.wire.messages.leaf import OptionalPart
rehearse(); load(OptionalPart.TLS)
from tests.unit.enclave.tls import test_tls as t
from OpenSSL import SSL
quotes = None
key = t.KeyToCertify()
quotes = t.quotes_over(*key.report_datas())
clients = []
context = t.server_context(key.certify(quotes, name="life", now=t.now()))
for caller in (None, t.Ed25519PrivateKey.generate()):
    client = t.TestClient(context, key=caller)
    clients.append(client)
warm = t.TestClient(context); warm.shake_hands(); warm.say(b"nonsense\\r\\n\\r\\n"); warm.responses()
met = []

def hook(event, arguments):
    if event in ("import", "open"):
        met.append((event, str(arguments[0])))

sys.addaudithook(hook)
for client in clients:
    client.shake_hands()
    client.say(t.post(b"{}"))
    client.say(t.post(b"{}", "/defect"))
    client.say(b"nonsense\\r\\n\\r\\n")
again = t.KeyToCertify()
try:
    again.certify((b"", b""), name="life", now=t.now())
except t.FaultError:
    pass
t.turn(t.TlsSession(context, t.Audience()), b"garbage" * 100, room=1)
print(sorted(set(met)))
"""


def test_an_equipped_enclave_imports_and_opens_nothing_more() -> None:
    run = subprocess.run([sys.executable, "-c", LIFE], capture_output=True, text=True, timeout=60, check=False)
    assert run.returncode == 0, run.stderr
    assert run.stdout.strip() == "[]"


@pytest.fixture(autouse=True)
def _nothing_is_left() -> Iterator[None]:
    yield
    SSL.Connection(SSL.Context(SSL.TLS_METHOD), None)  # OpenSSL's error queue is empty, or this raises
