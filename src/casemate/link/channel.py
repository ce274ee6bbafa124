"""A blocking channel of frames over a stream socket, with descriptors and deadlines.

It calls sendmsg, recvmsg and poll alone, so a process behind a narrow seccomp filter can use it.
"""

import array
import contextlib
import io
import os
import select
import socket
import time
from collections.abc import Sequence
from dataclasses import dataclass

from casemate.link.errors import PeerGoneError, TimedOutError
from casemate.link.frames import (
    AT_ONCE,
    CHUNK_SIZE,
    HEADER_SIZE,
    MAX_DESCRIPTORS,
    MAX_FRAME,
    SEND_BUFFER,
    buffers,
    length,
    unsent,
)
from casemate.wire.errors import os_error_text

ANCILLARY_SIZE = socket.CMSG_SPACE(MAX_DESCRIPTORS * array.array("i").itemsize)
CLOSED_ON_EXEC = getattr(socket, "MSG_CMSG_CLOEXEC", 0)
"""Received descriptors are closed on exec, or programs that are started meanwhile would inherit them. macOS has no such
flag."""

_DONT_WAIT = int(socket.MSG_DONTWAIT) | getattr(socket, "MSG_NOSIGNAL", 0)
_DONT_WAIT_TO_RECEIVE = int(socket.MSG_DONTWAIT) | CLOSED_ON_EXEC


@dataclass(frozen=True, slots=True)
class Frame:
    """A received frame. The receiver owns its descriptors and has to close them."""

    payload: bytes
    descriptors: tuple[int, ...] = ()
    prefix: bytes = b""
    """The frame's first bytes, where the receiver wants them apart from the payload."""


def descriptors_of(ancillary: Sequence[tuple[int, int, bytes]]) -> list[int]:
    """The descriptors in what recvmsg gave beside the data."""
    found: list[int] = []
    for level, kind, raw in ancillary:
        if level == socket.SOL_SOCKET and kind == socket.SCM_RIGHTS:
            numbers = array.array("i")
            numbers.frombytes(raw[: len(raw) - len(raw) % numbers.itemsize])
            found += numbers
    return found


def rights(descriptors: Sequence[int]) -> list[tuple[int, int, bytes]]:
    """The ancillary data that makes sendmsg pass ``descriptors``."""
    return [(socket.SOL_SOCKET, socket.SCM_RIGHTS, array.array("i", descriptors).tobytes())] if descriptors else []


def receive_into(
    sock: socket.socket, buffer: memoryview, ancillary_size: int, flags: int, descriptors: list[int]
) -> int:
    """Receives into ``buffer``, and appends what descriptors come; how many bytes there were.

    Raises:
        BlockingIOError: there is nothing yet.
        PeerGoneError: the peer closed the link or died.
    """
    try:
        count, ancillary, _, _ = sock.recvmsg_into([buffer], ancillary_size, flags)
    except BlockingIOError:
        raise
    except OSError as error:
        raise PeerGoneError(f"cannot receive: {os_error_text(error)}") from None
    descriptors += descriptors_of(ancillary)
    if count == 0:
        raise PeerGoneError("the peer closed the link")
    return count


def enlarge_send_buffer(sock: socket.socket) -> None:
    """Has the system take up to :data:`SEND_BUFFER` bytes from this socket before its peer reads, or what it allows."""
    with contextlib.suppress(OSError):  # macOS refuses what is too much; the socket then keeps its size
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, SEND_BUFFER)


class Channel:
    """Frames over ``sock``, which it owns. Not safe for two threads at a time."""

    def __init__(self, sock: socket.socket, *, limit: int = MAX_FRAME) -> None:
        self._sock = sock
        self._limit = limit
        self._reading = select.poll()
        self._reading.register(sock, select.POLLIN)
        self._writing = select.poll()
        self._writing.register(sock, select.POLLOUT)

    def fileno(self) -> int:
        """The socket's descriptor, for polling several channels."""
        return self._sock.fileno()

    def close(self) -> None:
        """Closes the socket; the peer sees its end."""
        self._sock.close()

    def send(self, payload: bytes, descriptors: Sequence[int] = (), *, timeout: float | None = None) -> None:
        """Sends one frame within ``timeout`` seconds.

        Raises:
            PeerGoneError, TimedOutError: as they say; the channel is of no use after either.
        """
        deadline = None if timeout is None else time.monotonic() + timeout
        ancillary = rights(descriptors)
        left = buffers(payload, self._limit)
        while left:
            try:
                sent = self._sock.sendmsg(left[:AT_ONCE], ancillary, _DONT_WAIT)
            except BlockingIOError:
                self._wait(self._writing, deadline)
                continue
            except OSError as error:
                raise PeerGoneError(f"cannot send: {os_error_text(error)}") from None
            ancillary = []
            left = unsent(left, sent)

    def receive(self, *, timeout: float | None = None) -> Frame:
        """Receives one whole frame within ``timeout`` seconds.

        Raises:
            PeerGoneError, TimedOutError: as they say; the channel is of no use after either.
            WireError: the frame is longer than this link allows.
        """
        deadline = None if timeout is None else time.monotonic() + timeout
        descriptors: list[int] = []
        try:
            size = length(self._exactly(HEADER_SIZE, deadline, descriptors), self._limit)
            return Frame(self._exactly(size, deadline, descriptors), tuple(descriptors))
        except BaseException:
            for number in descriptors:
                os.close(number)
            raise

    def _exactly(self, size: int, deadline: float | None, descriptors: list[int]) -> bytes:
        whole = io.BytesIO(bytes(size))  # what is received into it becomes the result, without a copy
        with whole.getbuffer() as buffer:
            done = 0
            while done < size:
                try:  # no name for the part: a view that outlives the loop would have the result copied
                    done += receive_into(
                        self._sock,
                        buffer[done : done + CHUNK_SIZE],
                        ANCILLARY_SIZE,
                        _DONT_WAIT_TO_RECEIVE,
                        descriptors,
                    )
                except BlockingIOError:
                    self._wait(self._reading, deadline)
        return whole.getvalue()

    @staticmethod
    def _wait(poll: select.poll, deadline: float | None) -> None:
        left = None if deadline is None else max(0.0, deadline - time.monotonic())
        if not poll.poll(None if left is None else left * 1000 + 1) or left == 0:
            raise TimedOutError("the peer did not answer in time")
