"""uvicorn as one task of the host's event loop, on inherited sockets and without signal handlers of its own."""

import asyncio
import logging
import socket
import ssl
import time
from collections.abc import Callable, Sequence
from email.utils import formatdate

from starlette.types import ASGIApp
from uvicorn import Config, Server

from casemate.gateway.http.connections import IDLE_TIMEOUT, MAX_HEAD, PatientProtocol
from casemate.gateway.http.waiting import Acceptor, Place, Waiting

BACKLOG = 1024
"""Most connections that the kernel queues until they are accepted."""


def _nothing() -> None:
    return


SECURITY_HEADERS = (
    ("X-Content-Type-Options", "nosniff"),
    ("X-Frame-Options", "DENY"),
    ("Referrer-Policy", "no-referrer"),
    ("Cross-Origin-Resource-Policy", "same-origin"),
    ("Cache-Control", "no-store"),
)
"""Sent with every response. No HSTS: it would force HTTPS on every other server on a browser's ``localhost``."""


class HttpServer(Server):
    """Serves an app on listening sockets until :meth:`drain`.

    Args:
        app: the ASGI application.
        connections: the most at one time.
        tls: for HTTPS.
        malformed: called for each malformed request.
        each_second: called about once a second.
    """

    def __init__(
        self,
        app: ASGIApp,
        *,
        connections: int,
        tls: ssl.SSLContext | None,
        malformed: Callable[[], None] = _nothing,
        each_second: Callable[[], None] = _nothing,
    ) -> None:
        super().__init__(
            Config(
                app,
                http=PatientProtocol,
                ws="none",
                lifespan="off",
                interface="asgi3",
                log_config=None,
                access_log=False,
                server_header=False,
                proxy_headers=False,  # the client's address is its socket's: headers of proxies do not change it
                headers=[*SECURITY_HEADERS],
                timeout_keep_alive=IDLE_TIMEOUT,
                h11_max_incomplete_event_size=MAX_HEAD,
            )
        )
        # Below this level, clients can fill the log with malformed requests, and uvicorn advises operators to install
        # packages.
        logging.getLogger("uvicorn.error").setLevel(logging.ERROR)
        self._tls = tls
        self._waiting = Waiting(connections)
        self._malformed = malformed
        self._each_second = each_second
        self._told = asyncio.Event()

    def drain(self, patience: float) -> None:
        """Accepts no new connections, finishes requests under way for at most ``patience`` seconds, then ends."""
        self.config.timeout_graceful_shutdown = max(1, round(patience))
        self.should_exit = True
        self._told.set()

    async def run_on(self, sockets: Sequence[socket.socket]) -> None:
        """Serves until drained."""
        await self._serve([*sockets])

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        """Starts accepting. Replaces uvicorn's way, which counts connections only after their TLS handshake."""
        await self.lifespan.startup()
        await self.on_tick(0)
        acceptors = []
        for listener in sockets or []:
            listener.listen(BACKLOG)
            acceptors.append(Acceptor(listener, self._protocol, self._waiting, self._tls))
        self.servers = acceptors  # type: ignore[assignment] # uvicorn only closes these
        self.started = True

    async def main_loop(self) -> None:
        """Updates the Date header once a second; uvicorn's own loop wakes ten times as often."""
        while not self.should_exit:
            date = (b"date", formatdate(time.time(), usegmt=True).encode())
            self.server_state.default_headers = [date, *self.config.encoded_headers]
            self._look_around()
            try:
                async with asyncio.timeout(1):
                    await self._told.wait()
            except TimeoutError:
                continue

    def _look_around(self) -> None:
        self._each_second()
        for connection in [*self.server_state.connections]:
            if isinstance(connection, PatientProtocol):
                connection.look_for_its_end()

    def _protocol(self, place: Place) -> PatientProtocol:
        return PatientProtocol(
            config=self.config,
            server_state=self.server_state,
            app_state={},
            waiting=self._waiting,
            place=place,
            malformed=self._malformed,
        )
