"""Frames over a socket for asyncio, with descriptors, which asyncio's own streams cannot carry."""

import asyncio
import contextlib
import io
import os
import socket
from collections.abc import Sequence

from casemate.link.channel import ANCILLARY_SIZE, CLOSED_ON_EXEC, Frame, descriptors_of, receive_into, rights
from casemate.link.errors import PeerGoneError
from casemate.link.frames import AT_ONCE, CHUNK_SIZE, HEADER_SIZE, MAX_FRAME, buffers, length, unsent
from casemate.wire.errors import os_error_text

READ_AHEAD = 16 * 1024
"""Bytes that are read at a time where frames bring no descriptors."""

_NO_SIGNAL = getattr(socket, "MSG_NOSIGNAL", 0)


class AsyncChannel:
    """Frames over ``sock``, which it owns. One task may receive while others send; sends take turns.

    Args:
        sock: owned.
        limit: longest frame that may come (bytes).
        descriptors: whether frames may bring descriptors. If not, the kernel drops those that a peer sends anyway, and
            a short frame is read in one call, together with what follows it.
    """

    def __init__(self, sock: socket.socket, *, limit: int = MAX_FRAME, descriptors: bool = True) -> None:
        sock.settimeout(0)
        self._sock = sock
        self._limit = limit
        self._ancillary_size, self._least = (ANCILLARY_SIZE, 0) if descriptors else (0, READ_AHEAD)
        self._ahead = b""
        self._turn = asyncio.Lock()
        self._waiting: set[asyncio.Future[None]] = set()
        self._reader: asyncio.Future[None] | None = None
        self._is_watched = False
        self._sending: set[asyncio.Task[None]] = set()

    @property
    def has_backlog(self) -> bool:
        """Whether the peer has yet to take a frame that was begun."""
        return bool(self._sending)

    def close(self) -> None:
        """Closes the socket; tasks that wait on it get a :class:`PeerGoneError`."""
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

        A frame that has begun is finished even if the sending task is cancelled: half a frame would ruin the link.
        """
        sending = self._begin(payload, descriptors)
        if sending is None:
            await asyncio.sleep(0)  # other tasks get their turn, however fast the peer reads
        else:
            await asyncio.shield(sending)

    def post(self, payload: bytes) -> None:
        """Sends one frame without waiting: what the socket does not take at once follows by itself.

        Nothing here bounds how much is under way: the caller does. If the peer goes before it has taken everything, the
        task that receives is told.

        Raises:
            PeerGoneError: the peer is known to be gone.
        """
        self._begin(payload, ())

    def _begin(self, payload: bytes, descriptors: Sequence[int]) -> asyncio.Task[None] | None:
        """Begins to send a frame, behind all that are under way; the task that sends the rest, None where none is left.

        Tasks start in the order in which they were made, and the lock is given out in the order in which it was asked
        for, so frames never mix and keep the order in which they were begun.
        """
        frame = buffers(payload, self._limit)
        if not self._sending:  # no frame is under way, and most fit into the socket's buffer: no task is needed
            sent = self._send_some(frame, rights(descriptors))
            frame = unsent(frame, sent)
            if not frame:
                return None
            if sent:
                descriptors = ()
        sending = asyncio.create_task(self._send(frame, [*map(os.dup, descriptors)]))
        self._sending.add(sending)
        sending.add_done_callback(self._sent)
        return sending

    async def _send(self, frame: list[memoryview], descriptors: list[int]) -> None:
        ancillary = rights(descriptors)
        try:
            async with self._turn:
                left = frame
                while left:
                    sent = self._send_some(left, ancillary)
                    if sent == 0:
                        await self._writable()
                        continue
                    ancillary = []
                    left = unsent(left, sent)
        finally:
            for number in descriptors:
                os.close(number)

    def _send_some(self, frame: list[memoryview], ancillary: list[tuple[int, int, bytes]]) -> int:
        """How many bytes of a frame were sent; 0 if the socket's buffer is full."""
        try:
            return self._sock.sendmsg(frame[:AT_ONCE], ancillary, _NO_SIGNAL)
        except BlockingIOError:
            return 0
        except OSError as error:
            raise PeerGoneError(f"cannot send: {os_error_text(error)}") from None

    def _sent(self, sending: asyncio.Task[None]) -> None:
        self._sending.discard(sending)
        if not sending.cancelled():
            sending.exception()  # retrieved, or asyncio would report it: the sender may be cancelled

    async def receive(self, *, prefix: int = 0) -> Frame:
        """Receives one whole frame.

        Args:
            prefix: how many of its first bytes are given apart; a large payload need not be copied for that. A frame
                that is shorter has a short prefix and no payload.

        Raises:
            PeerGoneError: the peer closed the link or died.
            WireError: the frame is longer than this link allows.
        """
        descriptors: list[int] = []
        try:
            size = length(await self._exactly(HEADER_SIZE, descriptors), self._limit)
            if size > READ_AHEAD:
                apart = await self._exactly(prefix, descriptors)
                payload = await self._exactly(size - prefix, descriptors)
            else:
                whole = await self._exactly(size, descriptors)
                apart, payload = whole[:prefix], whole[prefix:]
            return Frame(payload, tuple(descriptors), apart)
        except BaseException:
            for number in descriptors:
                os.close(number)
            raise

    async def _exactly(self, size: int, descriptors: list[int]) -> bytes:
        part, self._ahead = self._ahead[:size], self._ahead[size:]
        if len(part) == size:
            return part
        if size > READ_AHEAD:
            return await self._large(size, part, descriptors)
        run = bytearray(part)  # not a list of parts: a peer that sends single bytes would make each of them an object
        while (left := size - len(run)) > 0:
            most = max(min(left, CHUNK_SIZE), self._least)
            try:
                part, ancillary, _, _ = self._sock.recvmsg(most, self._ancillary_size, CLOSED_ON_EXEC)
            except BlockingIOError:
                await self._readable()
                continue
            except OSError as error:
                raise PeerGoneError(f"cannot receive: {os_error_text(error)}") from None
            descriptors += descriptors_of(ancillary)
            if not part:
                raise PeerGoneError("the peer closed the link")
            self._ahead = part[left:]
            if left == size and len(part) >= size:
                return part[:size]
            run += part[:left]
        return bytes(run)

    async def _large(self, size: int, begun: bytes, descriptors: list[int]) -> bytes:
        """Receives as :meth:`_exactly` does, into a buffer that becomes the result: an image is not copied again."""
        whole = io.BytesIO(bytes(size))  # nothing of it is in memory until it is written to
        with whole.getbuffer() as buffer:
            buffer[: len(begun)] = begun
            done = len(begun)
            while done < size:
                try:  # no name for the part: a view that outlives the loop would have the result copied
                    done += receive_into(
                        self._sock,
                        buffer[done : done + CHUNK_SIZE],
                        self._ancillary_size,
                        CLOSED_ON_EXEC,
                        descriptors,
                    )
                except BlockingIOError:
                    await self._readable()
        return whole.getvalue()

    async def _readable(self) -> None:
        """Waits until there is something to read. The reader stays registered, so a busy link registers it once."""
        if self._sock.fileno() < 0:
            raise PeerGoneError("the link is closed")
        loop = asyncio.get_running_loop()
        self._reader = ready = loop.create_future()
        if not self._is_watched:
            loop.add_reader(self._sock.fileno(), self._can_read)  # asyncio would ask a socket for its addresses
            self._is_watched = True
        self._waiting.add(ready)
        try:
            await ready
        finally:
            self._waiting.discard(ready)
            self._reader = None

    def _can_read(self) -> None:
        if self._reader is not None:
            _settle(self._reader)
        else:  # no task reads now: the loop would call this again and again
            asyncio.get_running_loop().remove_reader(self._sock.fileno())
            self._is_watched = False

    async def _writable(self) -> None:
        number = self._sock.fileno()
        if number < 0:
            raise PeerGoneError("the link is closed")
        loop = asyncio.get_running_loop()
        ready: asyncio.Future[None] = loop.create_future()
        self._waiting.add(ready)
        loop.add_writer(number, _settle, ready)
        try:
            await ready
        finally:
            self._waiting.discard(ready)
            if self._sock.fileno() >= 0:
                loop.remove_writer(number)


def _settle(future: asyncio.Future[None]) -> None:
    if not future.done():
        future.set_result(None)
