"""Requests over HTTP/1.1 with httpcore, blocking and for asyncio (``docs/adr/0014-httpcore.md`` says why httpcore).

Each request has a deadline, kept at httpcore's network seam, so that a gateway that sends a byte now and then cannot
hold a client longer. Answers are read up to the length that each request allows and never unpacked: no Accept-Encoding
is sent, and no Content-Encoding is accepted.
"""

import asyncio
import contextlib
import ssl
import time
from collections.abc import AsyncIterator, Iterator
from dataclasses import dataclass
from typing import Any, TypeVar

import httpcore

from casemate.client.address import Address
from casemate.client.errors import NoHostError, TlsRefusedError, host_refusal
from casemate.client.http_exchange import MAX_PROBLEM, Effect, HttpAnswer, HttpRequest, Pause
from casemate.client.http_streams import AsyncBackend, PunctualBackend
from casemate.client.rest import exchanges
from casemate.client.transport import seconds_for
from casemate.link.errors import PeerGoneError, TimedOutError
from casemate.wire.errors import WireError
from casemate.wire.messages.request import Request
from casemate.wire.protocol.faults import FaultError

KEEP_ALIVE = 4.0
"""Seconds for which an idle connection is kept: less than servers keep theirs (uvicorn: 5)."""

MAX_CONNECTIONS = 64
"""Most connections of one asyncio client; requests beyond them wait for one."""

_PART = 256 * 1024
"""A body goes out in parts of this size (bytes)."""

_AGENT = b"casemate"
_REDACTED = b"[token]"
A = TypeVar("A")


@dataclass(frozen=True, slots=True)
class _Deadline:
    """When the time for a request is over."""

    request: str
    seconds: float
    at: float

    @classmethod
    def of(cls, request: Request[Any], timeout: float | None) -> "_Deadline":
        seconds = seconds_for(request, timeout)
        return cls(type(request).__name__, seconds, time.monotonic() + seconds)

    def remaining(self) -> float:
        return self.at - time.monotonic()

    def missed(self) -> TimedOutError:
        return TimedOutError(f"no answer to {self.request} within {self.seconds:g} s")


class HttpTransport:
    """One request at a time over one connection, which is made when it is needed and kept for the next."""

    keeps_order = True

    def __init__(self, address: Address) -> None:
        self._gateway = _Gateway(address)
        self._deadline = _Deadline("nothing", 0, 0)
        self._backend = PunctualBackend(self._remaining)
        self._connection: httpcore.HTTPConnection | None = None
        self._is_closed = False

    def close(self) -> None:
        """Hangs up."""
        self._is_closed = True
        self._hang_up()

    def answer(self, request: Request[A], timeout: float | None = None) -> A:
        """The host's answer."""
        if self._is_closed:
            raise PeerGoneError("this client is closed")
        self._deadline = _Deadline.of(request, timeout)
        steps = exchanges(request, self._deadline.remaining)
        try:
            effect = next(steps)
            while True:
                try:
                    answer = self._perform(effect)
                except PeerGoneError as error:
                    effect = steps.throw(error)
                else:
                    effect = steps.send(answer)
        except StopIteration as done:
            value: A = done.value
            return value
        except FaultError as error:
            raise host_refusal(error.fault) from None

    def _remaining(self) -> float:
        return self._deadline.remaining()

    def _perform(self, effect: Effect) -> HttpAnswer | None:
        if isinstance(effect, Pause):
            time.sleep(effect.seconds)
            return None
        return self._answer(effect)

    def _answer(self, request: HttpRequest) -> HttpAnswer:
        gateway = self._gateway
        asked = httpcore.Request(
            request.method,
            gateway.url(request),
            headers=gateway.headers(request),
            content=_body(request),
            extensions=_timeouts(self._deadline),
        )
        with (
            gateway.translated(self._deadline),
            contextlib.closing(self._connected().handle_request(asked)) as response,
        ):
            reading = _Reading(gateway, request, response)
            for part in response.iter_stream():
                reading.add(part)
            return reading.done()

    def _connected(self) -> httpcore.HTTPConnection:
        """The connection of the last request if it is as good as new, or one that is still to be made.

        One connection needs no pool, which would take a sixth of the client's time for a call.
        """
        connection = self._connection
        if connection is None or not connection.is_available() or connection.has_expired():
            self._hang_up()
            connection = self._connection = httpcore.HTTPConnection(
                self._gateway.origin,
                ssl_context=self._gateway.tls,
                keepalive_expiry=KEEP_ALIVE,
                network_backend=self._backend,
            )
        return connection

    def _hang_up(self) -> None:
        connection, self._connection = self._connection, None
        if connection is not None:
            connection.close()


class AsyncHttpTransport:
    """Many requests under way, each on a connection of its own; so they may arrive in any order."""

    keeps_order = False

    def __init__(self, address: Address) -> None:
        self._gateway = _Gateway(address)
        self._pool = httpcore.AsyncConnectionPool(
            ssl_context=address.tls,
            max_connections=MAX_CONNECTIONS,
            max_keepalive_connections=MAX_CONNECTIONS,
            keepalive_expiry=KEEP_ALIVE,
            network_backend=AsyncBackend(),
        )
        self._asking: set[asyncio.Task[Any]] = set()
        self._closed = asyncio.Event()

    async def close(self) -> None:
        """Hangs up; requests under way fail."""
        self._closed.set()
        asking = list(self._asking)
        for task in asking:
            task.cancel()
        await asyncio.gather(*asking, return_exceptions=True)
        await self._pool.aclose()

    async def answer(self, request: Request[A], timeout: float | None = None) -> A:
        """The host's answer."""
        if self._closed.is_set():
            raise PeerGoneError("this client is closed")
        asking = asyncio.create_task(self._asked(request, _Deadline.of(request, timeout)))
        self._asking.add(asking)
        asking.add_done_callback(self._asking.discard)
        try:
            return await asking
        except asyncio.CancelledError:
            task = asyncio.current_task()
            if self._closed.is_set() and (task is None or not task.cancelling()):
                raise PeerGoneError("this client was closed while it waited") from None
            raise

    async def _asked(self, request: Request[A], deadline: _Deadline) -> A:
        steps = exchanges(request, deadline.remaining)
        try:
            async with asyncio.timeout(deadline.seconds):
                effect = next(steps)
                while True:
                    try:
                        answer = await self._perform(effect, deadline)
                    except PeerGoneError as error:
                        effect = steps.throw(error)
                    else:
                        effect = steps.send(answer)
        except StopIteration as done:
            value: A = done.value
            return value
        except FaultError as error:
            raise host_refusal(error.fault) from None
        except TimeoutError:
            raise deadline.missed() from None

    async def _perform(self, effect: Effect, deadline: _Deadline) -> HttpAnswer | None:
        if isinstance(effect, Pause):
            await asyncio.sleep(effect.seconds)
            return None
        return await self._answer(effect, deadline)

    async def _answer(self, request: HttpRequest, deadline: _Deadline) -> HttpAnswer:
        gateway = self._gateway
        with gateway.translated(deadline):
            async with self._pool.stream(
                request.method,
                gateway.url(request),
                headers=gateway.headers(request),
                content=_async_body(request),
                extensions=_timeouts(deadline),
            ) as response:
                reading = _Reading(gateway, request, response)
                async for part in response.aiter_stream():
                    reading.add(part)
                return reading.done()


class _Gateway:
    """The common parts of all requests to one gateway."""

    def __init__(self, address: Address) -> None:
        self._address = address
        base = address.base
        self.origin = httpcore.Origin(base.scheme.encode(), base.host.encode(), base.port)
        self.tls = address.tls
        self._common = [(b"Host", address.base.authority.encode()), (b"User-Agent", _AGENT)]
        self._token = None if address.token is None else address.token.reveal().encode()
        if self._token is not None:
            self._common.append((b"Authorization", b"Bearer " + self._token))

    def url(self, request: HttpRequest) -> httpcore.URL:
        return httpcore.URL(
            scheme=self.origin.scheme,
            host=self.origin.host,
            port=self.origin.port,
            target=f"{self._address.base.prefix}{request.path}".encode(),
        )

    def headers(self, request: HttpRequest) -> list[tuple[bytes, bytes]]:
        headers = [*self._common, (b"Accept", request.accept.encode())]
        if request.body is not None:
            headers.append((b"Content-Type", request.body_type.encode()))
        if request.method != "GET":
            headers.append((b"Content-Length", str(len(request.body or b"")).encode()))
        if request.idempotency_key is not None:
            headers.append((b"Idempotency-Key", request.idempotency_key.encode()))
        return headers

    def without_token(self, words: bytes) -> bytes:
        """A gateway's words for an error message, should it repeat what it was given."""
        return words if self._token is None else words.replace(self._token, _REDACTED)

    @contextlib.contextmanager
    def translated(self, deadline: _Deadline) -> Iterator[None]:
        """Raises httpcore's errors as Casemate's."""
        try:
            yield
        except httpcore.TimeoutException:
            raise deadline.missed() from None
        except (httpcore.ConnectError, httpcore.UnsupportedProtocol) as error:
            raise self._unreached(error) from None
        except httpcore.RemoteProtocolError as error:
            # httpcore raises the same for a gateway that died half-way and for one that does not speak HTTP
            if error.__cause__ is None or str(error).startswith("peer closed connection"):
                raise PeerGoneError(f"the gateway at {self._address} hung up before its answer was whole") from None
            raise WireError("HTTP answer", got=f"something else ({error})"[:200], want="HTTP/1.1") from None
        except (httpcore.NetworkError, httpcore.ProtocolError) as error:
            raise PeerGoneError(f"the connection to {self._address} broke: {error}"[:300]) from None

    def _unreached(self, error: Exception) -> NoHostError | TlsRefusedError:
        """Why no connection came to be."""
        cause: BaseException | None = error
        while cause is not None:
            if isinstance(cause, ssl.SSLCertVerificationError):
                return TlsRefusedError(f"the certificate of {self._address} is not trusted: {cause.verify_message}")
            if isinstance(cause, ssl.SSLError):
                return TlsRefusedError(f"{self._address} speaks no TLS that is accepted here: {cause.reason}")
            cause = cause.__cause__ or cause.__context__
        return NoHostError(f"no gateway at {self._address}: {error}"[:300])


class _Reading:
    """An answer while it comes, never longer than its request allows."""

    def __init__(self, gateway: _Gateway, request: HttpRequest, response: httpcore.Response) -> None:
        self._gateway = gateway
        self._status = response.status
        self._is_good = response.status < 400
        self._limit = request.limit if self._is_good else MAX_PROBLEM
        self._headers = {name.lower(): value for name, value in response.headers}
        self._body = bytearray()
        encoding = self._headers.get(b"content-encoding", b"identity")
        if encoding.lower() != b"identity":
            raise WireError("HTTP Content-Encoding", got=ascii(encoding[:80]), want="none: none was offered")

    def add(self, part: bytes) -> None:
        self._body += part
        if len(self._body) > self._limit:
            raise WireError("HTTP answer", got=f"more than {self._limit} bytes", want=f"at most {self._limit}")

    def done(self) -> HttpAnswer:
        body = bytes(self._body)
        return HttpAnswer(
            status=self._status,
            media_type=self._text(b"content-type").partition(";")[0].strip().lower(),
            retry_after=self._text(b"retry-after") or None,
            body=body if self._is_good else self._gateway.without_token(body),
        )

    def _text(self, name: bytes) -> str:
        return self._headers.get(name, b"").decode("ascii", "replace")


def _timeouts(deadline: _Deadline) -> dict[str, Any]:
    return {"timeout": dict.fromkeys(("connect", "read", "write", "pool"), max(deadline.remaining(), 0.0))}


def _body(request: HttpRequest) -> bytes | Iterator[bytes]:
    body = request.body or b""
    return body if len(body) <= _PART else _parts(body)


def _async_body(request: HttpRequest) -> bytes | AsyncIterator[bytes]:
    body = request.body or b""
    return body if len(body) <= _PART else _async_parts(body)


def _parts(body: bytes) -> Iterator[bytes]:
    view = memoryview(body)
    for begin in range(0, len(body), _PART):
        yield bytes(view[begin : begin + _PART])


async def _async_parts(body: bytes) -> AsyncIterator[bytes]:
    for part in _parts(body):
        yield part
