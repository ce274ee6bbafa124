"""Answers the host's RA-TLS entries: makes the certificate, keeps connections apart, and stays within its memory."""

from typing import TYPE_CHECKING

from cryptography.hazmat.primitives.serialization import Encoding

from casemate.enclave.boot import Program
from casemate.enclave.chip.leaf import Leaf
from casemate.enclave.tls.answers import Answers, Calling
from casemate.enclave.tls.credentials import KeyToCertify, now
from casemate.enclave.tls.session import TlsSession, server_context
from casemate.wire.messages.tls import TlsBytes, TlsInstall, TlsInstalled, TlsPrepare, TlsPrepared, TlsReply
from casemate.wire.protocol.faults import Code, refuse
from casemate.wire.protocol.sandbox_layers import SandboxLayers

if TYPE_CHECKING:
    from OpenSSL import SSL

MAX_CONNECTIONS = 256
"""Most connections at a time; with a body and a handshake under way in each they take some 300 MiB."""

MAX_PENDING = 64 * 1024 * 1024
"""Most bytes of responses that wait for their clients, all together."""


class TlsDesk:
    """Answers the host's RA-TLS entries.

    Args:
        program: the enclave's.
        layers: what it tells of its confinement.
        leaf: makes REPORTs.
        calls: runs what clients ask for.
    """

    def __init__(self, program: Program, layers: SandboxLayers, leaf: Leaf, calls: Calling) -> None:
        self._name = program.image.manifest.name
        self._leaf = leaf
        self._answers = Answers(program, layers, calls)
        self._waiting: KeyToCertify | None = None
        self._context: SSL.Context | None = None
        self._sessions: dict[int, TlsSession] = {}
        self._last = 0

    async def answer(self, entry: TlsPrepare | TlsInstall | TlsBytes) -> TlsPrepared | TlsInstalled | TlsReply:
        """The reply to one entry.

        Raises:
            FaultError: with every refusal. Its words are for the host.
        """
        match entry:
            case TlsPrepare():
                return await self._prepare(entry)
            case TlsInstall():
                return self._install(entry)
            case TlsBytes():
                return await self._turn(entry)

    async def _prepare(self, entry: TlsPrepare) -> TlsPrepared:
        """REPORTs over a new key, which replaces one that was not certified."""
        key = KeyToCertify()
        reports = tuple([await self._leaf.report(entry.target_info, wanted) for wanted in key.report_datas()])
        self._waiting = key
        return TlsPrepared(reports)

    def _install(self, entry: TlsInstall) -> TlsInstalled:
        """Makes the certificate that connections get from now on."""
        if self._waiting is None:
            raise refuse(Code.WRONG_STATE, "no key waits for quotes: prepare one first")
        credentials = self._waiting.certify(entry.quotes, name=self._name, now=now())
        self._context, self._waiting = server_context(credentials), None
        certificate = credentials.certificate
        return TlsInstalled(certificate.public_bytes(Encoding.DER), int(certificate.not_valid_after_utc.timestamp()))

    async def _turn(self, entry: TlsBytes) -> TlsReply:
        """Handles one message of the host about one connection."""
        if entry.has_ended:  # a call of it that is under way goes on, and its result is thrown away
            self._sessions.pop(entry.connection, None)
            return TlsReply(b"", has_more=False, is_over=True)
        session = self._sessions.get(entry.connection) or self._open(entry.connection)
        if session.is_busy:
            raise refuse(Code.WRONG_STATE, f"a message of connection {entry.connection} is under way")
        try:
            reply = await session.turn(entry.data, room=self._room)
        except BaseException:
            self._sessions.pop(entry.connection, None)
            raise
        if reply.is_over:
            self._sessions.pop(entry.connection, None)
        return reply

    def _room(self) -> int:
        return MAX_PENDING - sum(session.pending for session in self._sessions.values())

    def _open(self, number: int) -> TlsSession:
        if number <= self._last:
            raise refuse(Code.WRONG_STATE, f"connection {number} is over")
        if self._context is None:
            raise refuse(Code.WRONG_STATE, "there is no certificate yet")
        if len(self._sessions) >= MAX_CONNECTIONS:
            raise refuse(Code.BUSY, f"{MAX_CONNECTIONS} connections are open")
        self._last = number
        self._sessions[number] = TlsSession(self._context, self._answers)
        return self._sessions[number]
