"""The connections beneath httpcore: a request goes out in one piece, and the blocking client's deadline is kept.

httpcore writes the head of a request and its body one after the other. Each write is a system call and wakes the
gateway, which can do nothing with a head alone. Here, what is written waits until the answer is read.
"""

import contextlib
import ssl
from collections.abc import Callable, Iterable
from typing import Any

import httpcore

MOST_HELD = 64 * 1024
"""A stream that holds more than this sends at once (bytes)."""


class _Unsent:
    """What was written and not sent."""

    def __init__(self) -> None:
        self._parts: list[bytes] = []
        self._size = 0

    def add(self, data: bytes) -> bool:
        """Takes bytes; returns whether they have become too many to wait."""
        self._parts.append(data)
        self._size += len(data)
        return self._size > MOST_HELD

    def taken(self) -> bytes:
        """All bytes, which are the caller's to send."""
        data = b"".join(self._parts)
        self._parts.clear()
        self._size = 0
        return data


class PunctualBackend(httpcore.SyncBackend):
    """Blocking connections on which nothing takes longer than is left of the request's time."""

    def __init__(self, remaining: Callable[[], float]) -> None:
        self._remaining = remaining

    def connect_tcp(
        self,
        host: str,
        port: int,
        timeout: float | None = None,
        local_address: str | None = None,
        socket_options: Iterable[httpcore.SOCKET_OPTION] | None = None,
    ) -> httpcore.NetworkStream:
        stream = super().connect_tcp(host, port, timeout, local_address, socket_options)
        return _PunctualStream(stream, self._remaining)


class _PunctualStream(httpcore.NetworkStream):
    """A connection whose every read and write ends with the request's time: httpcore's own limit starts anew each."""

    def __init__(self, stream: httpcore.NetworkStream, remaining: Callable[[], float]) -> None:
        self._stream = stream
        self._remaining = remaining
        self._unsent = _Unsent()

    def read(self, max_bytes: int, timeout: float | None = None) -> bytes:
        del timeout
        with contextlib.suppress(httpcore.WriteError):  # as httpcore: a gateway that hung up may have answered before
            self._send()
        return self._stream.read(max_bytes, self._left(httpcore.ReadTimeout))

    def write(self, buffer: bytes, timeout: float | None = None) -> None:
        del timeout
        if self._unsent.add(buffer):
            self._send()

    def close(self) -> None:
        self._stream.close()

    def start_tls(
        self, ssl_context: ssl.SSLContext, server_hostname: str | None = None, timeout: float | None = None
    ) -> httpcore.NetworkStream:
        return _PunctualStream(self._stream.start_tls(ssl_context, server_hostname, timeout), self._remaining)

    def get_extra_info(self, info: str) -> Any:
        return self._stream.get_extra_info(info)

    def _send(self) -> None:
        if data := self._unsent.taken():
            self._stream.write(data, self._left(httpcore.WriteTimeout))

    def _left(self, error: type[Exception]) -> float:
        left = self._remaining()
        if left <= 0:
            raise error
        return left


class AsyncBackend(httpcore.AnyIOBackend):
    """Connections for asyncio. A request's deadline is kept around all of it, by :func:`asyncio.timeout`."""

    async def connect_tcp(
        self,
        host: str,
        port: int,
        timeout: float | None = None,
        local_address: str | None = None,
        socket_options: Iterable[httpcore.SOCKET_OPTION] | None = None,
    ) -> httpcore.AsyncNetworkStream:
        return _AsyncStream(await super().connect_tcp(host, port, timeout, local_address, socket_options))


class _AsyncStream(httpcore.AsyncNetworkStream):
    def __init__(self, stream: httpcore.AsyncNetworkStream) -> None:
        self._stream = stream
        self._unsent = _Unsent()

    async def read(self, max_bytes: int, timeout: float | None = None) -> bytes:
        with contextlib.suppress(httpcore.WriteError):  # as httpcore: a gateway that hung up may have answered before
            await self._send(timeout)
        return await self._stream.read(max_bytes, timeout)

    async def write(self, buffer: bytes, timeout: float | None = None) -> None:
        if self._unsent.add(buffer):
            await self._send(timeout)

    async def aclose(self) -> None:
        await self._stream.aclose()

    async def start_tls(
        self,
        ssl_context: ssl.SSLContext,
        server_hostname: str | None = None,
        timeout: float | None = None,
    ) -> httpcore.AsyncNetworkStream:
        return _AsyncStream(await self._stream.start_tls(ssl_context, server_hostname, timeout))

    def get_extra_info(self, info: str) -> Any:
        return self._stream.get_extra_info(info)

    async def _send(self, seconds: float | None) -> None:
        if data := self._unsent.taken():
            await self._stream.write(data, seconds)
