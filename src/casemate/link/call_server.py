"""Accepts clients at a listening socket, a limited number at a time, and answers their calls."""

import asyncio
import logging
import socket
from collections.abc import Awaitable, Callable

from casemate.link.async_channel import AsyncChannel
from casemate.link.calls import Reply, serve
from casemate.link.channel import enlarge_send_buffer
from casemate.link.frames import MAX_FRAME
from casemate.process.ownership import PlaceError, check_client
from casemate.wire.errors import os_error_text

_log = logging.getLogger(__name__)

ACCEPT_PAUSE = 0.1
"""How long to wait before accepting again after the system refused (seconds), such as for want of descriptors."""


class CallServer:
    """Accepts clients at ``listener`` and answers each one's numbered calls.

    Args:
        listener: a listening socket; owned.
        greet: called for each client; gives what answers it, as for :func:`casemate.link.calls.serve`.
        abandons: as for :func:`casemate.link.calls.serve`.
        most: clients at a time; the next one waits in the socket's backlog.
        at_once: calls under way for one client.
        limit: longest frame (bytes).
    """

    def __init__(
        self,
        listener: socket.socket,
        greet: Callable[[], Callable[[bytes], Awaitable[Reply]]],
        *,
        most: int,
        at_once: int,
        limit: int = MAX_FRAME,
        abandons: Callable[[bytes], bool] = lambda _: False,
    ) -> None:
        listener.settimeout(0)
        self._listener = listener
        self._greet = greet
        self._at_once = at_once
        self._limit = limit
        self._abandons = abandons
        self._room = asyncio.Semaphore(most)
        self._clients: set[asyncio.Task[None]] = set()
        self._accepting: asyncio.Task[None] | None = None

    async def run(self) -> None:
        """Accepts until cancelled or drained."""
        self._accepting = asyncio.create_task(self._accept())
        try:
            await asyncio.wait({self._accepting})
        finally:
            self._accepting.cancel()

    async def drain(self, patience: float) -> None:
        """Accepts nobody and takes no question any more; returns when those under way are answered.

        Who connects meanwhile waits in the socket's backlog, for the next one who listens there.

        Args:
            patience: seconds; after them, what is under way is given up.
        """
        if self._accepting is not None:
            self._accepting.cancel()
        clients = set(self._clients)
        for client in clients:
            client.cancel()  # `serve` finishes the answers that it has begun
        if clients:
            await asyncio.wait(clients, timeout=patience)
        for client in clients:
            client.cancel()

    async def _accept(self) -> None:
        loop = asyncio.get_running_loop()
        while True:
            await self._room.acquire()
            try:
                sock, _ = await loop.sock_accept(self._listener)
            except OSError as error:  # out of descriptors, most likely
                _log.warning("cannot accept a client: %s", os_error_text(error))
                self._room.release()
                await asyncio.sleep(ACCEPT_PAUSE)
                continue
            try:
                check_client(sock)
            except (PlaceError, OSError) as error:
                _log.warning("a client is not let in: %s", error)
                sock.close()
                self._room.release()
                continue
            task = asyncio.create_task(self._client(sock))
            self._clients.add(task)
            task.add_done_callback(self._left)

    def _left(self, task: asyncio.Task[None]) -> None:
        self._clients.discard(task)
        self._room.release()

    async def _client(self, sock: socket.socket) -> None:
        enlarge_send_buffer(sock)
        channel = AsyncChannel(sock, limit=self._limit)
        try:
            await serve(channel, self._greet(), at_once=self._at_once, abandons=self._abandons)
        finally:
            channel.close()
