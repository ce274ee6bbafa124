"""What :mod:`casemate.enclave.rehearsal` does for all enclaves, for those with RA-TLS: OpenSSL's TLS and h11, once.

OpenSSL reads its configuration, compiles its tables and asks for entropy when it is first used; a confined enclave
could not.
"""

from collections.abc import Hashable
from datetime import UTC, datetime, timedelta

from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.x509.oid import NameOID
from OpenSSL import SSL

from casemate.enclave.io.loop import at_once
from casemate.enclave.rehearsal import RehearsalError
from casemate.enclave.tls.answers import PROBLEM, problem
from casemate.enclave.tls.credentials import Credentials, KeyToCertify, now
from casemate.enclave.tls.http import Request, Response
from casemate.enclave.tls.session import TlsSession, server_context
from casemate.wire.encodings.message import prepare
from casemate.wire.errors import CasemateError
from casemate.wire.messages import tls
from casemate.wire.protocol.faults import Code, Fault

_SPOKEN = (
    *(tls.TlsPrepare, tls.TlsPrepared, tls.TlsInstall, tls.TlsInstalled, tls.TlsBytes, tls.TlsReply),
    Fault,
)
_NAME = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "rehearsal")])
_TURNS = 10
"""More than any handshake takes."""


class _Audience:
    """Stands in for the answers of an enclave."""

    def __init__(self) -> None:
        self.callers: list[bytes | None] = []

    async def answer(self, request: Request, public_key: bytes | None, party: Hashable) -> Response:
        """Any."""
        del party
        self.callers.append(public_key)
        return problem(404, Code.ENTRY_UNKNOWN, request.path)


def rehearse_tls() -> None:
    """Good and bad connections with keys that are thrown away, or :class:`RehearsalError`."""
    prepare(*_SPOKEN)
    _rehearse_certificate()
    key = ec.generate_private_key(ec.SECP384R1())
    context = server_context(Credentials(key, _self_signed(key)))
    caller = Ed25519PrivateKey.generate()
    for version in (SSL.TLS1_2_VERSION, SSL.TLS1_3_VERSION):
        for who in (None, caller):
            _rehearse_connection(context, version, who)
    broken = at_once(TlsSession(context, _Audience()).turn(b"GET / HTTP/1.1\r\n\r\n", room=lambda: 0))
    if not broken.is_over:
        raise RehearsalError("a connection without TLS was kept")


def _rehearse_certificate() -> None:
    key = KeyToCertify()
    try:
        key.certify((b"", b""), name="rehearsal", now=now())
    except CasemateError:
        return
    raise RehearsalError("a certificate was made of nothing")


def _rehearse_connection(context: SSL.Context, version: int, caller: Ed25519PrivateKey | None) -> None:
    audience = _Audience()
    session = TlsSession(context, audience)
    theirs = SSL.Context(SSL.TLS_CLIENT_METHOD)
    theirs.set_min_proto_version(version)
    theirs.set_max_proto_version(version)
    if caller is not None:
        theirs.use_privatekey(caller)
        theirs.use_certificate(_self_signed(caller))
    client = SSL.Connection(theirs, None)
    client.set_connect_state()
    received = b""
    asked = False
    for _ in range(_TURNS):
        try:
            client.do_handshake()
            if not asked:
                client.sendall(b"POST /nowhere HTTP/1.1\r\nhost: rehearsal\r\ncontent-length: 2\r\n\r\n{}")
                asked = True
            received += client.recv(64 * 1024)
        except SSL.WantReadError:
            pass
        if received:
            break
        reply = at_once(session.turn(_taken(client), room=lambda: 1 << 20))
        if reply.data:
            client.bio_write(reply.data)
    wanted = None if caller is None else caller.public_key().public_bytes_raw()
    if PROBLEM.encode() not in received or audience.callers != [wanted]:
        raise RehearsalError(f"a TLS connection came to {received[:100]!r}, callers {audience.callers}")
    client.shutdown()
    if not at_once(session.turn(_taken(client), room=lambda: 0)).is_over:
        raise RehearsalError("a connection that the client has closed was kept")


def _taken(client: SSL.Connection) -> bytes:
    try:
        return client.bio_read(64 * 1024)
    except SSL.WantReadError:
        return b""


def _self_signed(key: ec.EllipticCurvePrivateKey | Ed25519PrivateKey) -> x509.Certificate:
    started = datetime.now(UTC).replace(microsecond=0)
    builder = (
        x509.CertificateBuilder()
        .subject_name(_NAME)
        .issuer_name(_NAME)
        .public_key(key.public_key())
        .serial_number(1)
        .not_valid_before(started)
        .not_valid_after(started + timedelta(days=1))
    )
    algorithm = None if isinstance(key, Ed25519PrivateKey) else hashes.SHA384()
    return builder.sign(key, algorithm)
