"""One TLS connection: bytes from the host in, bytes for it out; pyOpenSSL's memory buffers in between.

TLS 1.2 and 1.3 with forward secrecy. No renegotiation, no compression, no resumption: a session could be resumed only
by keeping secrets of earlier handshakes, and each handshake shows anew that the attested key is alive. No secret of a
connection is exported or logged.
"""

from collections.abc import Callable, Hashable
from typing import Protocol

from cryptography import x509
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey
from OpenSSL import SSL

from casemate.enclave.tls.answers import defect, problem
from casemate.enclave.tls.credentials import Credentials
from casemate.enclave.tls.http import HttpConversation, Request, RequestRefusedError, Response
from casemate.link.errors import PeerGoneError, TimedOutError
from casemate.wire.messages.tls import MAX_OUTWARD, TlsReply
from casemate.wire.protocol.caller_key import has_small_order
from casemate.wire.protocol.faults import Code


class Answering(Protocol):
    """Answers the requests of a connection."""

    async def answer(self, request: Request, public_key: bytes | None, party: Hashable) -> Response:
        """The response to a request by the client with that Ed25519 key, or with none.

        ``party`` is whose call it is, for what it may meet in a guest.
        """


PIECE = 16 * 1024
"""Plaintext that is encrypted at a time: one TLS record."""

_READ_AT_ONCE = 64 * 1024
_CIPHERS = b"ECDHE+AESGCM:ECDHE+CHACHA20"
"""Cipher suites of TLS 1.2; all suites of TLS 1.3 are acceptable."""

_OPTIONS = SSL.OP_NO_TICKET | SSL.OP_NO_RENEGOTIATION | SSL.OP_NO_COMPRESSION | SSL.OP_CIPHER_SERVER_PREFERENCE


def server_context(credentials: Credentials) -> SSL.Context:
    """The context of new connections."""
    context = SSL.Context(SSL.TLS_SERVER_METHOD)
    context.set_min_proto_version(SSL.TLS1_2_VERSION)
    context.set_cipher_list(_CIPHERS)
    context.set_options(_OPTIONS)
    context.set_mode(SSL.MODE_RELEASE_BUFFERS)
    context.set_session_cache_mode(SSL.SESS_CACHE_OFF)
    context.use_certificate(credentials.certificate)
    context.use_privatekey(credentials.key)
    context.check_privatekey()
    # A client certificate is asked for and may be absent. Whose it is does not matter, only which key it has: the
    # handshake proves that the client holds that, and the manifest says who it is.
    context.set_verify(SSL.VERIFY_PEER, lambda *_: True)
    return context


class TlsSession:
    """One connection, from its first byte to its last.

    Args:
        context: as it is now; a later certificate is for later connections.
        answers: to its requests.
    """

    def __init__(self, context: SSL.Context, answers: Answering) -> None:
        self._tls = SSL.Connection(context, None)
        self._tls.set_accept_state()
        self._answers = answers
        self._http = HttpConversation()
        self._is_up = False
        self._is_over = False
        self._caller: bytes | None = None
        self._pending = memoryview(b"")
        self._has_outgoing = False
        self.is_busy = False
        """A turn is under way."""

    @property
    def pending(self) -> int:
        """Bytes of a response that are still to be encrypted."""
        return len(self._pending)

    async def turn(self, data: bytes, *, room: Callable[[], int]) -> TlsReply:
        """Takes bytes of the client, does at most one request, and gives what goes out now. One turn at a time.

        Args:
            data: may be anything.
            room: the longest response that there is memory for (bytes), when there is one.
        """
        self.is_busy = True
        try:
            self._take(data)
            if not self._pending and self._is_up:
                await self._serve(room)
            self._encrypt()
        except SSL.Error:  # no TLS, or broken TLS: what alert there is goes out
            self._is_over, self._pending = True, memoryview(b"")
        finally:
            self.is_busy = False
        out = self._outgoing()
        waits = bool(self._pending) or self._has_outgoing or (not self._is_over and self._http.waits_with_more())
        return TlsReply(out, has_more=waits, is_over=self._is_over and not waits)

    def _take(self, data: bytes) -> None:
        if data:
            self._tls.bio_write(data)
        if not self._is_up:
            try:
                self._tls.do_handshake()
            except SSL.WantReadError:
                return
            self._is_up = True
            self._caller = _ed25519_key(self._tls)
        while not self._is_over:
            try:
                self._http.take(self._tls.recv(_READ_AT_ONCE))
            except SSL.WantReadError:
                return
            except SSL.ZeroReturnError:
                self._http.take(b"")
                return

    async def _serve(self, room: Callable[[], int]) -> None:
        """The next request that is here whole."""
        try:
            asked = self._http.next_request()
        except RequestRefusedError as error:
            code = Code.MALFORMED
            self._pending = memoryview(self._http.respond(problem(error.status, code, error.words)))
            self._http.must_end = True
            return
        if isinstance(asked, bytes):
            self._pending = memoryview(asked)
        elif asked is not None:
            response = await self._response(asked)
            if len(response.body) > room():
                response = problem(503, Code.BUSY, "too many long answers wait for their clients")
            self._pending = memoryview(self._http.respond(response))

    async def _response(self, request: Request) -> Response:
        try:
            # A client without a certificate is known by its connection, whose secrets nobody else has.
            return await self._answers.answer(request, self._caller, self._caller or self)
        except (PeerGoneError, TimedOutError):
            raise
        except Exception:  # an enclave that dies loses everybody's connections
            return defect()

    def _encrypt(self) -> None:
        """Encrypts output up to the size that the host takes at a time."""
        budget = MAX_OUTWARD // 2
        while self._pending and budget > 0:
            piece, self._pending = self._pending[:PIECE], self._pending[PIECE:]
            self._tls.sendall(bytes(piece))
            budget -= len(piece)
        if self._http.must_end and not self._pending and not self._is_over:
            self._is_over = True
            if self._is_up:
                self._tls.shutdown()

    def _outgoing(self) -> bytes:
        try:
            out = self._tls.bio_read(MAX_OUTWARD)
        except SSL.WantReadError:
            out = b""
        self._has_outgoing = len(out) == MAX_OUTWARD
        return out


def _ed25519_key(connection: SSL.Connection) -> bytes | None:
    """The Ed25519 key of the client's certificate, which the handshake has proved; None if there is none.

    A key for which anybody can sign is none.
    """
    try:
        certificate = connection.get_peer_certificate(as_cryptography=True)
        key = certificate.public_key() if isinstance(certificate, x509.Certificate) else None
    except Exception:  # the parser may raise anything on a hostile certificate
        return None
    raw = key.public_bytes_raw() if isinstance(key, Ed25519PublicKey) else None
    return None if raw is None or has_small_order(raw) else raw
