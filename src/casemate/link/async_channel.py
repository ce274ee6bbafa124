"""The same frames for asyncio, with descriptors (which asyncio's streams cannot carry)."""

import asyncio
import contextlib
import os
import socket
from collections.abc import Callable, Sequence

from casemate.link.channel import ANCILLARY_SIZE, CHUNK_SIZE, Frame, descriptors_of, rights
from casemate.link.errors import PeerGoneError
from casemate.link.frames import HEADER_SIZE, MAX_FRAME, header, length

_NO_SIGNAL = getattr(socket, "MSG_NOSIGNAL", 0)


class AsyncChannel:
    """Frames over ``sock``, which it owns. One task may receive while others send; sends take turns."""

    def __init__(self, sock: socket.socket, *, limit: int = MAX_FRAME) -> None:
        sock.settimeout(0)
        self._sock = sock
        self._limit = limit
        self._turn = asyncio.Lock()
        self._waiting: set[asyncio.Future[None]] = set()
        self._sending: set[asyncio.Task[None]] = set()

    def close(self) -> None:
        """Closes the socket, and wakes whoever waits on it with :class:`PeerGoneError`."""
        if self._sock.fileno() >= 0:
            loop = asyncio.get_running_loop()
            loop.remove_reader(self._sock)
            loop.remove_writer(self._sock)
            with contextlib.suppress(OSError):
                self._sock.shutdown(socket.SHUT_RDWR)
            self._sock.close()
        for waiting in self._waiting:
            if not waiting.done():
                waiting.set_exception(PeerGoneError("the link is closed"))

    async def send(self, payload: bytes, descriptors: Sequence[int] = ()) -> None:
        """Sends one frame, or raises :class:`PeerGoneError`.

        A frame that has begun is finished, even if whoever sends it is cancelled: half a frame would ruin the link.
        """
        sending = asyncio.create_task(self._send(header(payload, self._limit) + payload, [*map(os.dup, descriptors)]))
        self._sending.add(sending)
        sending.add_done_callback(self._sent)
        await asyncio.shield(sending)

    async def _send(self, frame: bytes, descriptors: list[int]) -> None:
        view = memoryview(frame)
        ancillary = rights(descriptors)
        try:
            async with self._turn:
                while view:
                    try:
                        sent = self._sock.sendmsg([view[:CHUNK_SIZE]], ancillary, _NO_SIGNAL)
                    except BlockingIOError:
                        await self._writable()
                        continue
                    except OSError as error:
                        raise PeerGoneError(f"cannot send: {error.strerror}") from None
                    ancillary = []
                    view = view[sent:]
        finally:
            for number in descriptors:
                os.close(number)

    def _sent(self, sending: asyncio.Task[None]) -> None:
        self._sending.discard(sending)
        if not sending.cancelled():
            sending.exception()  # seen: whoever sent it may be gone

    async def receive(self) -> Frame:
        """Receives one whole frame.

        Raises:
            PeerGoneError: the peer closed the link or died.
            WireError: the frame is longer than this link allows.
        """
        descriptors: list[int] = []
        try:
            size = length(await self._exactly(HEADER_SIZE, descriptors), self._limit)
            return Frame(await self._exactly(size, descriptors), tuple(descriptors))
        except BaseException:
            for number in descriptors:
                os.close(number)
            raise

    async def _exactly(self, size: int, descriptors: list[int]) -> bytes:
        parts: list[bytes] = []
        while size:
            try:
                part, ancillary, _, _ = self._sock.recvmsg(min(size, CHUNK_SIZE), ANCILLARY_SIZE)
            except BlockingIOError:
                await self._readable()
                continue
            except OSError as error:
                raise PeerGoneError(f"cannot receive: {error.strerror}") from None
            descriptors += descriptors_of(ancillary)
            if not part:
                raise PeerGoneError("the peer closed the link")
            parts.append(part)
            size -= len(part)
        return b"".join(parts)

    async def _readable(self) -> None:
        loop = asyncio.get_running_loop()
        await self._until(lambda ready: loop.add_reader(self._sock, _settle, ready), loop.remove_reader)

    async def _writable(self) -> None:
        loop = asyncio.get_running_loop()
        await self._until(lambda ready: loop.add_writer(self._sock, _settle, ready), loop.remove_writer)

    async def _until(
        self, watch: Callable[[asyncio.Future[None]], None], unwatch: Callable[[socket.socket], bool]
    ) -> None:
        if self._sock.fileno() < 0:
            raise PeerGoneError("the link is closed")
        ready: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._waiting.add(ready)
        watch(ready)
        try:
            await ready
        finally:
            self._waiting.discard(ready)
            if self._sock.fileno() >= 0:
                unwatch(self._sock)


def _settle(future: asyncio.Future[None]) -> None:
    if not future.done():
        future.set_result(None)
