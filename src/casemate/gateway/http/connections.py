"""Connections that are kept waiting: each has its time, and there are only so many.

uvicorn reads HTTP/1.1 with h11. What it leaves to a proxy in front is done here: a time limit for the head of a
request, a limit on connections that makes room for newcomers, a problem document for what is no HTTP.
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
"""How long the rest of a body is thrown away once its request was refused (seconds), so that the refusal is read."""

WRITE_TIMEOUT = 30.0
"""How long a client may take no bytes at all while some wait for it (seconds)."""

STALLED = 5.0
"""A client that has taken none for so long counts as one that waits, whatever it has asked for (seconds)."""

FAREWELL = 2.0
"""How long what comes is thrown away after the refusal of what is no HTTP (seconds), so that the refusal is read."""

MOST_HELD = 64 * 1024
"""More than this is sent without waiting for what else is written (bytes)."""

MAX_HEAD = 32 * 1024
"""Longest head of a request (bytes)."""

_ESTABLISHED = 1
"""TCP_ESTABLISHED, as tcpi_state of TCP_INFO has it (Linux, net/tcp_states.h): neither side has closed."""


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

    def write_eof(self) -> None:
        """Sends what is held, and that nothing comes after it."""
        self._send()
        self._transport.write_eof()

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
    """One connection. Made with its place, and who counts: uvicorn knows how to make the rest."""

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
        """The client has connected, and has not said anything yet."""
        super().connection_made(Corked(transport, self.loop))  # type: ignore[arg-type]
        self._place.connected = True
        self._place.hang_up = transport.abort
        self._expect_head()

    def connection_lost(self, exc: Exception | None) -> None:
        """The connection has ended."""
        self._gone = True
        self._waiting.left(self._place)
        self._stop_timers()
        if (visit := self._visit()) is not None:
            visit.end(EndReason.CLIENT_LEFT)
        super().connection_lost(exc)

    def data_received(self, data: bytes) -> None:
        """Some bytes of a request."""
        if self._refused or self.transport.is_closing():
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
            if self._is_answering and not self._silent:
                self._waiting.busy(self._place)

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
            self._waiting.idle(self._place)

    def send_400_response(self, _msg: str) -> None:
        """The refusal of what is no HTTP: of a head, or of a body whose request has no answer yet."""
        self._malformed()
        self._stop_waiting_for_head()
        cycle = self.cycle if self._is_answering else None
        if self.conn.our_state not in (h11.IDLE, h11.SEND_RESPONSE) or (cycle is not None and cycle.response_started):
            self.transport.close()  # there is an answer, or half of one: no place for another
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
        """The server ends."""
        if self._refused:
            self.transport.close()
        else:
            super().shutdown()

    def look_for_its_end(self) -> None:
        """Hangs up where the client has, and nothing is read that would tell: more requests of its own are waiting."""
        if self._is_answering and self.flow.read_paused:
            connection = self.transport.get_extra_info("socket")
            state = connection.getsockopt(socket.IPPROTO_TCP, socket.TCP_INFO, 1)[0]
            if state != _ESTABLISHED:
                self.transport.abort()

    def pause_writing(self) -> None:
        """The client takes bytes more slowly than they are made."""
        super().pause_writing()
        if self._write_timer is None:
            self._unsent = self.transport.get_write_buffer_size()
            self._watch_writing()

    def resume_writing(self) -> None:
        """The client has caught up."""
        super().resume_writing()
        if self._write_timer is not None:
            self._write_timer.cancel()
            self._write_timer = None
        self._takes_bytes()

    @property
    def _is_answering(self) -> bool:
        cycle: RequestResponseCycle | None = self.cycle  # none before the first request, whatever uvicorn declares
        return cycle is not None and not cycle.response_complete

    def _visit(self) -> ActiveRequest | None:
        """The request that is under way, once the edge has seen it."""
        if not self._is_answering:
            return None
        visit: ActiveRequest | None = self.cycle.scope["state"].get("visit")
        return visit

    def _give_up(self, state: dict[str, Any], status: int) -> str:
        """Has nobody answer a request any more; its number, if it has one already."""
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
