"""RA-TLS, the host's part: relays encrypted bytes between a TCP port and an enclave."""

import asyncio
import contextlib
import logging
import socket
import time
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from enum import Enum

from casemate.host.entry import EntryGate
from casemate.host.entry_queue import CALLER
from casemate.wire.errors import os_error_text
from casemate.wire.messages.tls import MAX_INWARD, TlsBytes, TlsInstall, TlsInstalled, TlsPrepare, TlsPrepared, TlsReply
from casemate.wire.protocol.faults import FaultError

MAX_CONNECTIONS = 200
"""Most connections of one enclave at a time: fewer than it takes. For one more, the one that rests longest goes."""

STUCK_TIME = 5.0
"""Seconds after which a client that takes nothing of its answer counts as resting since then."""

SEND_PIECE = 16 * 1024
"""Bytes of an answer that a client must take within :data:`STUCK_TIME` to count as taking it."""

AT_ONCE = 44
"""Most entries of connections under way. Each may take as long as a call."""

ENDS_AT_ONCE = 4
"""Most entries under way that say that a connection has ended: the enclave answers them at once, so they do not wait
behind the others. What both leave of the gate's ``MAX_OTHERS`` places is for challenges and certificates."""

CALLER_NAME = "RA-TLS"
"""The relay's name as a caller of the gate: in each round of turns it has one, whoever launched the enclave."""

FIRST_BYTES_TIME = 10.0
"""Seconds within which a new client must send something."""

IDLE_TIME = 60.0
"""Seconds for which a connection may rest."""

SEND_TIME = 60.0
"""Seconds for which a client may take nothing of what is for it."""

MIN_RENEWAL = 60.0
"""Seconds between two certificates at least, also after one that could not be made."""

ACCEPT_PAUSE = 0.1
"""Seconds before accepting again after the system refused."""

_log = logging.getLogger(__name__)

Quote = Callable[[bytes], Awaitable[bytes]]
"""Turns a REPORT into a quote."""


async def certify(gate: EntryGate, target_info: bytes, quote: Quote) -> TlsInstalled | None:
    """Has the enclave make a new certificate; None from one that wants none.

    Raises:
        FaultError: enclave or chip refuse.
    """
    prepared = await gate.enter(TlsPrepare(target_info), TlsPrepared)
    if not prepared.reports:
        return None
    quotes = tuple([await quote(report) for report in prepared.reports])
    return await gate.enter(TlsInstall(quotes), TlsInstalled)


class _Stage(Enum):
    """The stages of a connection: what it waits for next."""

    SILENT = "its client to say something"
    ENTERED = "the enclave"
    ANSWERED = "its client to take what the enclave has said"


@dataclass(slots=True, eq=False)
class _Client:
    sock: socket.socket
    number: int = 0
    """The enclave's name for the connection; 0 until there is something to say."""
    rests_since: float = field(default_factory=time.monotonic)
    """When it last said something, or took something that was said to it."""
    stage: _Stage = _Stage.SILENT
    task: asyncio.Task[None] | None = None

    def is_resting(self, now: float) -> bool:
        """Whether it may go for another: nothing of it is in the enclave, and it takes nothing."""
        stuck = self.stage is _Stage.ANSWERED and now - self.rests_since >= STUCK_TIME
        return self.stage is _Stage.SILENT or stuck


class _Door:
    """A port's listener, and the relay that takes those who come in: another one, from some moment on."""

    def __init__(self, listener: socket.socket, relay: "TlsRelay") -> None:
        self.listener = listener
        self.relay = relay
        self.accepting: asyncio.Task[None] | None = None

    def open(self) -> None:
        self.accepting = asyncio.create_task(self._accept())

    async def _accept(self) -> None:
        CALLER.set(CALLER_NAME)  # in this task, and in those of the clients, which it makes
        loop = asyncio.get_running_loop()
        while True:
            try:
                sock, _ = await loop.sock_accept(self.listener)
            except OSError as error:
                _log.warning("cannot accept an RA-TLS client: %s", os_error_text(error))
                await asyncio.sleep(ACCEPT_PAUSE)
                continue
            while not self.relay.has_room():  # noqa: ASYNC110 - time makes room
                await asyncio.sleep(ACCEPT_PAUSE)  # meanwhile, others wait in the backlog
            self.relay.take(sock)


class TlsRelay:
    """Relays between ``listener`` and the enclave behind ``gate``, from :meth:`start` to :meth:`close`.

    Args:
        listener: listening; not owned.
        gate: the enclave's.
        renew: has a new certificate made.
    """

    def __init__(
        self, listener: socket.socket, gate: EntryGate, renew: Callable[[], Awaitable[TlsInstalled | None]]
    ) -> None:
        self.door = _Door(listener, self)
        """By which new clients come in."""
        self._gate = gate
        self._renew = renew
        self._places = asyncio.Semaphore(AT_ONCE)
        self._places_for_ends = asyncio.Semaphore(ENDS_AT_ONCE)
        self._clients: set[_Client] = set()
        self._last = 0
        self._renewing: asyncio.Task[None] | None = None

    @property
    def listener(self) -> socket.socket:
        """That of its port."""
        return self.door.listener

    @property
    def port(self) -> int:
        """The TCP port of the listener."""
        port: int = self.listener.getsockname()[1]
        return port

    def start(self, certificate: TlsInstalled) -> None:
        """Accepts clients, and renews ``certificate`` before it expires."""
        self.door.open()
        self._renewing = asyncio.create_task(self._keep_fresh(certificate))

    def exchange(self, other: "TlsRelay") -> None:
        """Has the two take each other's new clients from now on. Connections that are open stay where they are."""
        self.door, other.door = other.door, self.door
        self.door.relay, other.door.relay = self, other

    def close(self) -> None:
        """Closes the port and all connections."""
        for task in (self.door.accepting, self._renewing, *(client.task for client in self._clients)):
            if task is not None:
                task.cancel()

    def has_room(self) -> bool:
        """Whether one more client may come; the one that rests longest goes for it."""
        return len(self._clients) < MAX_CONNECTIONS or self._make_room()

    def take(self, sock: socket.socket) -> None:
        """Serves a client that has come in."""
        sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        client = _Client(sock)
        self._clients.add(client)
        client.task = asyncio.create_task(self._serve(client))

    def _make_room(self) -> bool:
        now = time.monotonic()
        resting = [client for client in self._clients if client.is_resting(now) and client.task is not None]
        if not resting:
            return False
        longest = min(resting, key=lambda client: client.rests_since)
        self._clients.discard(longest)
        if longest.task is not None:
            longest.task.cancel()
        return True

    async def _serve(self, client: _Client) -> None:
        is_over = False
        try:
            is_over = await self._relay(client)
        except (FaultError, OSError, TimeoutError) as error:
            _log.debug("RA-TLS connection %d ends: %s", client.number, error)
        finally:
            self._clients.discard(client)
            client.sock.close()
            if client.number and not is_over:  # also while an entry of it is under way
                with contextlib.suppress(FaultError):
                    await self._end(client)

    async def _relay(self, client: _Client) -> bool:
        """Whether the enclave has said that the connection is over."""
        loop = asyncio.get_running_loop()
        while True:
            async with asyncio.timeout(IDLE_TIME if client.number else FIRST_BYTES_TIME):
                data = await loop.sock_recv(client.sock, MAX_INWARD)
            if not data:
                return False
            has_more = True
            while has_more:
                client.stage = _Stage.ENTERED
                reply = await self._relay_inward(client, data)
                data = b""
                await self._send(client, reply.data)
                if reply.is_over:
                    return True
                has_more = reply.has_more
            client.stage = _Stage.SILENT

    async def _send(self, client: _Client, data: bytes) -> None:
        loop = asyncio.get_running_loop()
        client.stage, client.rests_since = _Stage.ANSWERED, time.monotonic()
        async with asyncio.timeout(SEND_TIME):
            for begin in range(0, len(data), SEND_PIECE):
                await loop.sock_sendall(client.sock, data[begin : begin + SEND_PIECE])
                client.rests_since = time.monotonic()

    async def _relay_inward(self, client: _Client, data: bytes) -> TlsReply:
        async with self._places:
            if not client.number:  # the enclave expects numbers that rise in the order of their first use
                self._last += 1
                client.number = self._last
            return await self._gate.enter(TlsBytes(client.number, data, has_ended=False), TlsReply)

    async def _end(self, client: _Client) -> None:
        async with self._places_for_ends:
            await self._gate.enter(TlsBytes(client.number, b"", has_ended=True), TlsReply)

    async def _keep_fresh(self, certificate: TlsInstalled) -> None:
        CALLER.set(CALLER_NAME)
        expires_at = certificate.expires_at
        while True:
            await asyncio.sleep(max(MIN_RENEWAL, (expires_at - time.time()) / 2))
            try:
                renewed = await self._renew()
            except FaultError as error:
                _log.warning("the RA-TLS certificate of port %d is not renewed: %s", self.port, error)
                continue
            if renewed is not None:
                expires_at = renewed.expires_at
