"""HTTP/1.1 inside a connection: requests out of bytes, responses to bytes, each bounded.

h11 does the protocol, as strictly as the gateway does: see :mod:`casemate.wire.encodings.http_framing`.
"""

from dataclasses import dataclass

import h11

from casemate.wire.encodings.http_framing import CLOSE, StrictConnection

MAX_HEAD = 16 * 1024
"""Longest request line with headers (bytes)."""

MAX_BODY = 1024 * 1024
"""Longest request body (bytes). It is held in the enclave's memory for each connection; longer arguments go through the
sealed channel."""


@dataclass(frozen=True, slots=True)
class Request:
    """A whole request."""

    method: str
    path: str
    """Without the query."""
    content_type: str
    """Lower case, without parameters; empty where there is none."""
    body: bytes


@dataclass(frozen=True, slots=True)
class Response:
    """A whole response."""

    status: int
    content_type: str
    body: bytes
    headers: tuple[tuple[str, str], ...] = ()


class RequestRefusedError(Exception):
    """These bytes are no request that is answered here; the connection ends with this status."""

    def __init__(self, status: int, words: str) -> None:
        super().__init__(words)
        self.status = status
        self.words = words


class HttpConversation:
    """The requests of one connection, one after the other: the next is read when the last has been answered."""

    def __init__(self) -> None:
        self._machine = StrictConnection(h11.SERVER, MAX_HEAD)
        self._request: h11.Request | None = None
        self._body = bytearray()
        self._wants_data = False
        self._has_ended = False
        self.must_end = False
        """No further request will come or be answered."""

    def take(self, data: bytes) -> None:
        """Takes what the client sent; nothing means that it will send no more."""
        if self._has_ended:
            return
        self._wants_data, self._has_ended = False, not data
        try:
            self._machine.receive_data(data)
        except h11.RemoteProtocolError:
            self.must_end = True

    def waits_with_more(self) -> bool:
        """Whether :meth:`next_request` can get further with what is here already."""
        return not self.must_end and not self._wants_data and bool(self._machine.trailing_data[0])

    def next_request(self) -> Request | bytes | None:
        """A whole request; or bytes to be sent before more can come; or None while it has not come whole.

        Raises:
            RequestRefusedError: the protocol or a limit is broken.
        """
        try:
            while not self.must_end:
                event = self._machine.next_event()
                match event:
                    case h11.Request():
                        self._begin(event)
                    case h11.Data():
                        self._collect(event.data)
                    case h11.EndOfMessage():
                        return self._whole()
                    case h11.ConnectionClosed():
                        self.must_end = True
                    case _:  # NEED_DATA: PAUSED cannot be, since a request that has come whole is answered at once
                        self._wants_data = True
                        return self._go_on() if self._machine.they_are_waiting_for_100_continue else None
        except h11.RemoteProtocolError as error:
            raise RequestRefusedError(
                error.error_status_hint, f"no HTTP/1.1 request: {self._machine.refusal}"
            ) from None
        return None

    def respond(self, response: Response) -> bytes:
        """The bytes of the response; after a refusal, or where the client wanted that, the last ones."""
        headers = [
            ("content-type", response.content_type),
            ("content-length", str(len(response.body))),
            ("cache-control", "no-store"),
            *response.headers,
        ]
        machine = self._machine
        if machine.our_state not in {h11.IDLE, h11.SEND_RESPONSE}:
            self.must_end = True
            return b""
        request = self._request
        # refused half-way: the rest of it is of no interest; or it is not sure where the next one begins
        if machine.their_state is not h11.DONE or (request is not None and CLOSE in request.headers):
            headers.append(("connection", "close"))
        is_head = request is not None and request.method == b"HEAD"
        parts = [machine.send(h11.Response(status_code=response.status, headers=headers, reason=_reason(response)))]
        parts.append(machine.send(h11.Data(data=b"" if is_head else response.body)))
        parts.append(machine.send(h11.EndOfMessage()))
        self._request = None
        self._body.clear()
        if self._is_answered():
            machine.start_next_cycle()
        else:
            self.must_end = True
        return b"".join(part for part in parts if part)

    def _is_answered(self) -> bool:
        return self._machine.our_state is h11.DONE and self._machine.their_state is h11.DONE

    def _go_on(self) -> bytes | None:
        return self._machine.send(h11.InformationalResponse(status_code=100, headers=[], reason=b"Continue"))

    def _begin(self, request: h11.Request) -> None:
        self._request = request
        for name, value in request.headers:
            if name == b"content-length" and int(value) > MAX_BODY:
                raise RequestRefusedError(413, f"the body has {int(value)} bytes, at most {MAX_BODY} are taken here")

    def _collect(self, data: bytes) -> None:
        self._body += data
        if len(self._body) > MAX_BODY:
            raise RequestRefusedError(413, f"the body has more than {MAX_BODY} bytes")

    def _whole(self) -> Request | None:
        request = self._request
        if request is None:
            return None
        content_type = b"".join(value for name, value in request.headers if name == b"content-type")
        return Request(
            method=request.method.decode("ascii"),
            path=request.target.decode("ascii").partition("?")[0],
            content_type=content_type.decode("latin-1").partition(";")[0].strip().lower(),
            body=bytes(self._body),
        )


def _reason(response: Response) -> bytes:
    return _REASONS.get(response.status, b"")


_REASONS = {
    200: b"OK", 400: b"Bad Request", 403: b"Forbidden", 404: b"Not Found", 405: b"Method Not Allowed",
    409: b"Conflict", 413: b"Content Too Large", 414: b"URI Too Long", 415: b"Unsupported Media Type",
    422: b"Unprocessable Content", 431: b"Request Header Fields Too Large", 500: b"Internal Server Error",
    501: b"Not Implemented", 502: b"Bad Gateway", 503: b"Service Unavailable", 504: b"Gateway Timeout",
    505: b"HTTP Version Not Supported", 507: b"Insufficient Storage",
}  # fmt: skip
