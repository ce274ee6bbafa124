"""Connections that are kept waiting: each has its time, and there are only so many.

uvicorn reads HTTP/1.1 with h11. What it leaves to a proxy in front is done here: a time limit for the head of a
request, a limit on connections that makes room for newcomers, a problem document for what is no HTTP.
"""

import asyncio
import json
from collections import OrderedDict
from typing import Any

import h11
from uvicorn.protocols.http.h11_impl import H11Protocol

from casemate.gateway.problems import MEDIA_TYPE, TYPE_PREFIX
from casemate.wire.faults import Code

HEAD_TIMEOUT = 10.0
"""How long the head of a request may take from its first byte, and the first byte of a new connection (seconds)."""

IDLE_TIMEOUT = 75
"""How long a connection may wait between two requests (seconds)."""

LINGER = 10.0
"""How long the rest of a body is thrown away once its request was refused (seconds), so that the refusal is read."""

WRITE_TIMEOUT = 30.0
"""How long a client may take no bytes at all while some wait for it (seconds)."""

MOST_HELD = 64 * 1024
"""More than this is sent without waiting for what else is written (bytes)."""

MAX_HEAD = 32 * 1024
"""Longest head of a request (bytes)."""


class Waiting:
    """The connections without a request under way, the one that has waited longest first."""

    def __init__(self, most: int) -> None:
        self._most = most
        self._all = 0
        self._idle: OrderedDict[PatientProtocol, None] = OrderedDict()

    def arrived(self, connection: "PatientProtocol") -> None:
        """One more. At the limit, whoever has waited longest is hung up on; if all are busy, the newcomer."""
        self._all += 1
        self._idle[connection] = None
        if self._all > self._most:
            longest, _ = self._idle.popitem(last=False)
            longest.transport.abort()

    def left(self, connection: "PatientProtocol") -> None:
        """One less."""
        self._all -= 1
        self._idle.pop(connection, None)

    def busy(self, connection: "PatientProtocol") -> None:
        """A request of its has begun."""
        self._idle.pop(connection, None)

    def idle(self, connection: "PatientProtocol") -> None:
        """It waits for its next request."""
        self._idle[connection] = None
        self._idle.move_to_end(connection)


class Corked:
    """A transport that sends what is written in one turn of the event loop in one go: an answer's head and its body.

    Each send costs the kernel as much as h11 takes to make it, and wakes the client.
    """

    def __init__(self, transport: asyncio.Transport, loop: asyncio.AbstractEventLoop) -> None:
        self._transport = transport
        self._loop = loop
        self._held: list[bytes] = []
        self._size = 0

    def __getattr__(self, name: str) -> Any:
        """Everything else is the transport's own."""
        return getattr(self._transport, name)

    def write(self, data: bytes) -> None:
        """Sends it soon."""
        if not data:
            return
        if not self._held:
            self._loop.call_soon(self._send)
        self._held.append(data)
        self._size += len(data)
        if self._size > MOST_HELD:
            self._send()

    def close(self) -> None:
        """Sends what is held, then closes."""
        self._send()
        self._transport.close()

    def abort(self) -> None:
        """Closes at once."""
        self._held.clear()
        self._transport.abort()

    def _send(self) -> None:
        if self._held:
            data = self._held[0] if len(self._held) == 1 else b"".join(self._held)
            self._held.clear()
            self._size = 0
            self._transport.write(data)


class PatientProtocol(H11Protocol):
    """One connection. Made with ``waiting`` bound: uvicorn knows how to make the rest."""

    def __init__(self, *arguments: Any, waiting: Waiting, **named: Any) -> None:
        super().__init__(*arguments, **named)
        self._waiting = waiting
        self._head_timer: asyncio.TimerHandle | None = None
        self._write_timer: asyncio.TimerHandle | None = None
        self._linger_timer: asyncio.TimerHandle | None = None
        self._gone = False

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        """The client has connected, and has not said anything yet."""
        super().connection_made(Corked(transport, self.loop))  # type: ignore[arg-type]
        self._expect_head()
        self._waiting.arrived(self)

    def connection_lost(self, exc: Exception | None) -> None:
        """The connection has ended."""
        self._gone = True
        self._waiting.left(self)
        self._stop_timers()
        super().connection_lost(exc)

    def data_received(self, data: bytes) -> None:
        """Some bytes of a request."""
        if self.transport.is_closing():
            return
        if self.conn.their_state is h11.IDLE:
            self._expect_head()
        super().data_received(data)

    def handle_events(self) -> None:
        """Takes what h11 has understood; called for bytes that came, and for those that had waited their turn."""
        super().handle_events()
        if self._linger_timer is not None and self.conn.their_state is not h11.SEND_BODY:
            self._linger_timer.cancel()  # the rest has come: the connection may be used again
            self._linger_timer = None
        if self.conn.their_state is not h11.IDLE and not self._gone:
            self._stop_waiting_for_head()
            if not self.cycle.response_complete:
                self._waiting.busy(self)

    def on_response_complete(self) -> None:
        """An answer has been given to the server's side of the socket."""
        unread = self.conn.their_state is h11.SEND_BODY
        super().on_response_complete()
        if self._gone or self.transport.is_closing():
            return
        if unread:
            self._linger_timer = self.loop.call_later(LINGER, self.transport.abort)
        elif self.conn.their_state is h11.IDLE and self.conn.trailing_data[0]:
            self._expect_head()  # half of the next one came along
        if self.cycle.response_complete:
            self._waiting.idle(self)

    def send_400_response(self, msg: str) -> None:
        """The refusal of what is no HTTP."""
        if self.conn.our_state is not h11.IDLE:  # an answer is under way: there is no place for another
            self.transport.abort()
            return
        body = json.dumps(
            {
                "type": f"{TYPE_PREFIX}{Code.MALFORMED}",
                "title": "Bad Request",
                "status": 400,
                "detail": msg,
                "code": str(Code.MALFORMED),
                "instance": "",
                "request_id": "",
            }
        ).encode()
        headers = [(b"content-type", MEDIA_TYPE.encode()), (b"content-length", b"%d" % len(body))]
        headers += [*self.server_state.default_headers, (b"connection", b"close")]
        for event in (h11.Response(status_code=400, headers=headers), h11.Data(data=body), h11.EndOfMessage()):
            self.transport.write(self.conn.send(event) or b"")
        self.transport.close()

    def pause_writing(self) -> None:
        """The client takes bytes more slowly than they are made."""
        super().pause_writing()
        if self._write_timer is None:
            self._write_timer = self.loop.call_later(WRITE_TIMEOUT, self.transport.abort)

    def resume_writing(self) -> None:
        """The client has caught up."""
        super().resume_writing()
        if self._write_timer is not None:
            self._write_timer.cancel()
            self._write_timer = None

    def _expect_head(self) -> None:
        if self._head_timer is None:
            self._head_timer = self.loop.call_later(HEAD_TIMEOUT, self._head_is_late)

    def _head_is_late(self) -> None:
        self._head_timer = None
        if self.conn.their_state is h11.IDLE:
            self.transport.abort()

    def _stop_waiting_for_head(self) -> None:
        if self._head_timer is not None:
            self._head_timer.cancel()
            self._head_timer = None

    def _stop_timers(self) -> None:
        for timer in (self._head_timer, self._write_timer, self._linger_timer):
            if timer is not None:
                timer.cancel()
