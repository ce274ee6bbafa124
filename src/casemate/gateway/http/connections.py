"""HTTP/1.1 connections with time limits, a limit on their number, and problem documents for malformed requests.

uvicorn parses HTTP/1.1 with h11 and leaves the rest to a proxy in front. This module adds what such a proxy does: a
time limit for the head of a request, a limit on connections that makes room for new ones, and a problem document for
malformed HTTP.
"""

import asyncio
import socket
from collections.abc import Callable
from http import HTTPStatus
from typing import Any

import h11
from uvicorn.protocols.http.h11_impl import H11Protocol, RequestResponseCycle

from casemate.gateway.http.active_requests import ActiveRequest, EndReason
from casemate.gateway.http.problems import MEDIA_TYPE, STATUS, Trouble, problem_text
from casemate.gateway.http.waiting import Place, Waiting
from casemate.wire.encodings.http_framing import VERSION_REFUSED, StrictConnection
from casemate.wire.protocol.faults import Code

HEAD_TIMEOUT = 10.0
"""How long the head of a request may take from its first byte, and the first byte of a new connection (seconds)."""

IDLE_TIMEOUT = 75
"""How long a connection may wait between two requests (seconds)."""

LINGER = 10.0
"""How long the rest of a refused request's body is read and discarded (seconds), so that the client reads the
refusal."""

WRITE_TIMEOUT = 30.0
"""How long a client may read nothing while bytes are waiting for it (seconds)."""

STALLED = 5.0
"""A client that has read nothing for this long counts as idle, even while its request is under way (seconds)."""

FAREWELL = 2.0
"""How long input is read and discarded after malformed HTTP (seconds), so that the client reads the refusal."""

MOST_HELD = 64 * 1024
"""A corked transport that holds more than this sends at once (bytes)."""

MAX_HEAD = 32 * 1024
"""Longest head of a request (bytes)."""

_ESTABLISHED = 1
"""TCP_ESTABLISHED, as tcpi_state of TCP_INFO has it (Linux, net/tcp_states.h): neither side has closed."""


class Corked:
    """A transport that joins all writes of one turn of the event loop, such as a response's head and body, in one send.

    Each send takes the kernel as long as h11 takes to encode it, and wakes the client.
    """

    def __init__(self, transport: asyncio.Transport, loop: asyncio.AbstractEventLoop) -> None:
        self._transport = transport
        self._loop = loop
        self._held: list[bytes] = []
        self._size = 0

    def __getattr__(self, name: str) -> Any:
        """Passes everything else on to the wrapped transport."""
        return getattr(self._transport, name)

    def write(self, data: bytes) -> None:
        """Holds the bytes until the event loop's next turn; sends at once what exceeds ``MOST_HELD``."""
        if not data:
            return
        if not self._held:
            self._loop.call_soon(self._send)
        self._held.append(data)
        self._size += len(data)
        if self._size > MOST_HELD:
            self._send()

    def close(self) -> None:
        """Sends the held bytes, then closes."""
        self._send()
        self._transport.close()

    def write_eof(self) -> None:
        """Sends the held bytes and the end of the stream."""
        self._send()
        self._transport.write_eof()

    def abort(self) -> None:
        self._held.clear()
        self._transport.abort()

    def _send(self) -> None:
        if self._held:
            data = self._held[0] if len(self._held) == 1 else b"".join(self._held)
            self._held.clear()
            self._size = 0
            self._transport.write(data)


class PatientProtocol(H11Protocol):
    """One HTTP/1.1 connection with time limits; ``place`` counts it among all connections of the server."""

    def __init__(
        self, *arguments: Any, waiting: Waiting, place: Place, malformed: Callable[[], None], **named: Any
    ) -> None:
        super().__init__(*arguments, **named)
        self.conn: StrictConnection = StrictConnection(h11.SERVER, MAX_HEAD)
        self._waiting = waiting
        self._place = place
        self._malformed = malformed
        self._head_timer: asyncio.TimerHandle | None = None
        self._write_timer: asyncio.TimerHandle | None = None
        self._linger_timer: asyncio.TimerHandle | None = None
        self._unsent = 0
        self._silent = 0.0
        self._gone = False
        self._refused = False

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        """Starts the time limit for the first request's head."""
        super().connection_made(Corked(transport, self.loop))  # type: ignore[arg-type]
        self._place.connected = True
        self._place.hang_up = transport.abort
        self._expect_head()

    def connection_lost(self, exc: Exception | None) -> None:
        self._gone = True
        self._waiting.left(self._place)
        self._stop_timers()
        if (visit := self._visit()) is not None:
            visit.end(EndReason.CLIENT_LEFT)
        super().connection_lost(exc)

    def data_received(self, data: bytes) -> None:
        if self._refused or self.transport.is_closing():
            return
        was_idle = self.conn.their_state is h11.IDLE
        super().data_received(data)
        if was_idle and self.conn.their_state is h11.IDLE:  # most heads come whole, and need no timer
            self._expect_head()

    def handle_events(self) -> None:
        """Handles the events that h11 has parsed, from new bytes or from bytes of a pipelined request."""
        super().handle_events()
        if self._linger_timer is not None and self.conn.their_state is not h11.SEND_BODY:
            self._linger_timer.cancel()  # the refused request's body is complete: the connection may be used again
            self._linger_timer = None
        if self.conn.their_state is not h11.IDLE and not self._gone:
            self._stop_waiting_for_head()
            if self._is_answering and not self._silent:
                self._waiting.busy(self._place)

    def on_response_complete(self) -> None:
        """Called when a response has been written to the transport."""
        unread = self.conn.their_state is h11.SEND_BODY
        super().on_response_complete()
        if self._gone or self.transport.is_closing():
            return
        if unread:
            self._linger_timer = self.loop.call_later(LINGER, self.transport.abort)
        elif self.conn.their_state is h11.IDLE and self.conn.trailing_data[0]:
            self._expect_head()  # the first bytes of the next request are already here
        if self.cycle.response_complete:
            self._waiting.idle(self._place)

    def send_400_response(self, _msg: str) -> None:
        """Sends a problem document for a malformed head, or for a malformed body if no response has begun."""
        self._malformed()
        self._stop_waiting_for_head()
        cycle = self.cycle if self._is_answering else None
        if self.conn.our_state not in (h11.IDLE, h11.SEND_RESPONSE) or (cycle is not None and cycle.response_started):
            self.transport.close()  # a response has begun, so a second one would be malformed
            return
        code = Trouble.VERSION_REFUSED if self.conn.status == VERSION_REFUSED else Code.MALFORMED
        request_id = ""
        if cycle is not None:
            request_id = self._give_up(cycle.scope["state"], STATUS[code])
            cycle.disconnected = True
            cycle.message_event.set()
        path = b"" if cycle is None else cycle.scope["raw_path"]
        body = problem_text(code, self.conn.refusal, path=path, request_id=request_id)
        headers = [(b"content-type", MEDIA_TYPE.encode()), (b"content-length", b"%d" % len(body))]
        headers += [*self.server_state.default_headers, (b"connection", b"close")]
        phrase = HTTPStatus(STATUS[code]).phrase.encode()
        self.transport.write(self.conn.send(h11.Response(status_code=STATUS[code], headers=headers, reason=phrase)))
        if cycle is None or cycle.scope["method"] != "HEAD":
            self.transport.write(self.conn.send(h11.Data(data=body)))
        self._say_farewell()

    def shutdown(self) -> None:
        if self._refused:
            self.transport.close()
        else:
            super().shutdown()

    def look_for_its_end(self) -> None:
        """Closes the connection if the client has, where pipelined requests keep the transport from reading that."""
        if self._is_answering and self.flow.read_paused:
            connection = self.transport.get_extra_info("socket")
            state = connection.getsockopt(socket.IPPROTO_TCP, socket.TCP_INFO, 1)[0]
            if state != _ESTABLISHED:
                self.transport.abort()

    def pause_writing(self) -> None:
        """Called when the client reads more slowly than the response is written."""
        super().pause_writing()
        if self._write_timer is None:
            self._unsent = self.transport.get_write_buffer_size()
            self._watch_writing()

    def resume_writing(self) -> None:
        super().resume_writing()
        if self._write_timer is not None:
            self._write_timer.cancel()
            self._write_timer = None
        self._takes_bytes()

    @property
    def _is_answering(self) -> bool:
        cycle: RequestResponseCycle | None = self.cycle  # None before the first request; uvicorn's types omit that
        return cycle is not None and not cycle.response_complete

    def _visit(self) -> ActiveRequest | None:
        """The request under way, once the edge has registered it."""
        if not self._is_answering:
            return None
        visit: ActiveRequest | None = self.cycle.scope["state"].get("visit")
        return visit

    def _give_up(self, state: dict[str, Any], status: int) -> str:
        """Marks a request as ended without a response; returns its number, if it has one."""
        state["refused"] = status
        visit = self._visit()
        if visit is None:
            return ""
        visit.end(EndReason.BROKEN)
        return str(state["request_id"])

    def _say_farewell(self) -> None:
        self._refused = True
        self._waiting.idle(self._place)
        if self.transport.can_write_eof():
            self.transport.write_eof()
            self._linger_timer = self.loop.call_later(FAREWELL, self.transport.abort)
            self.flow.resume_reading()
        else:
            self.transport.close()

    def _watch_writing(self) -> None:
        self._write_timer = self.loop.call_later(min(STALLED, WRITE_TIMEOUT), self._look_at_writing)

    def _look_at_writing(self) -> None:
        left = self.transport.get_write_buffer_size()
        if left < self._unsent:
            self._takes_bytes()
        else:
            self._silent += min(STALLED, WRITE_TIMEOUT)
            self._waiting.idle(self._place, first=True)
        self._unsent = left
        if self._silent >= WRITE_TIMEOUT:
            self.transport.abort()
        else:
            self._watch_writing()

    def _takes_bytes(self) -> None:
        if self._silent and not self._gone:
            self._silent = 0.0
            if self._is_answering:
                self._waiting.busy(self._place)

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
