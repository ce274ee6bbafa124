"""The host's door: clients on a Unix socket, each with numbered calls."""

import asyncio
import logging
import socket

from casemate.host.orchestrator import Orchestrator
from casemate.link.async_channel import AsyncChannel
from casemate.link.calls import Reply, serve
from casemate.wire.faults import Code, refuse
from casemate.wire.lifecycle import WrongStateError
from casemate.wire.message import parse_message
from casemate.wire.messages import host

_log = logging.getLogger(__name__)

MAX_CLIENTS = 512
"""Most clients at a time; the next waits in the socket's backlog."""

ACCEPT_PAUSE = 0.1
"""How long to wait before accepting again after the system refused (seconds)."""

CALLS_AT_ONCE = 32
"""Most calls under way for one client."""


class Door:
    """Accepts clients on ``listener`` and answers them from ``orchestrator``."""

    def __init__(self, listener: socket.socket, orchestrator: Orchestrator) -> None:
        listener.settimeout(0)
        self._listener = listener
        self._orchestrator = orchestrator
        self._room = asyncio.Semaphore(MAX_CLIENTS)
        self._clients: set[asyncio.Task[None]] = set()

    async def run(self) -> None:
        """Accepts until cancelled."""
        loop = asyncio.get_running_loop()
        while True:
            await self._room.acquire()
            try:
                sock, _ = await loop.sock_accept(self._listener)
            except OSError as error:  # out of descriptors, most likely: others will hang up
                _log.warning("cannot accept a client: %s", error.strerror)
                self._room.release()
                await asyncio.sleep(ACCEPT_PAUSE)
                continue
            task = asyncio.create_task(self._client(sock))
            self._clients.add(task)
            task.add_done_callback(self._left)

    def _left(self, task: asyncio.Task[None]) -> None:
        self._clients.discard(task)
        self._room.release()

    async def _client(self, sock: socket.socket) -> None:
        channel = AsyncChannel(sock)
        try:
            await serve(channel, self._answer, at_once=CALLS_AT_ONCE)
        finally:
            channel.close()

    async def _answer(self, message: bytes) -> Reply:
        try:
            return Reply(await self._dispatch(message))
        except WrongStateError as error:
            raise refuse(Code.WRONG_STATE, str(error)) from None

    async def _dispatch(self, message: bytes) -> object:  # noqa: PLR0911 - one line a request
        request: object = parse_message(
            message,
            host.Call,
            host.GetEvidence,
            host.Launch,
            host.StartEnclave,
            host.StopEnclave,
            host.DestroyEnclave,
            host.ListEnclaves,
        )
        orchestrator = self._orchestrator
        match request:
            case host.Call():
                return await orchestrator.call(request)
            case host.GetEvidence():
                return await orchestrator.evidence(request)
            case host.Launch():
                return await orchestrator.launch(request)
            case host.StartEnclave(number):
                return await orchestrator.start(number)
            case host.StopEnclave(number):
                return await orchestrator.stop(number)
            case host.DestroyEnclave(number):
                return await orchestrator.destroy(number)
            case _:
                return host.EnclavesAre(orchestrator.enclaves())
