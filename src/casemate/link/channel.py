"""A blocking channel of frames over a stream socket, with descriptors and deadlines.

It calls sendmsg, recvmsg and poll alone, so a process behind a narrow seccomp filter can use it.
"""

import array
import os
import select
import socket
import time
from collections.abc import Sequence
from dataclasses import dataclass

from casemate.link.errors import PeerGoneError, TimedOutError
from casemate.link.frames import CHUNK_SIZE, HEADER_SIZE, MAX_DESCRIPTORS, MAX_FRAME, length, pieces
from casemate.wire.errors import os_error_text

ANCILLARY_SIZE = socket.CMSG_SPACE(MAX_DESCRIPTORS * array.array("i").itemsize)
CLOSED_ON_EXEC = getattr(socket, "MSG_CMSG_CLOEXEC", 0)
"""Received descriptors are closed on exec, or programs that are started meanwhile would inherit them. macOS has no such
flag."""

_DONT_WAIT = socket.MSG_DONTWAIT | getattr(socket, "MSG_NOSIGNAL", 0)


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
        for piece in pieces(payload, self._limit):
            left = piece
            while left:
                try:
                    sent = self._sock.sendmsg([left], ancillary, _DONT_WAIT)
                except BlockingIOError:
                    self._wait(self._writing, deadline)
                    continue
                except OSError as error:
                    raise PeerGoneError(f"cannot send: {os_error_text(error)}") from None
                ancillary = []
                left = left[sent:]

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
        run = bytearray()  # not a list of parts: a peer that sends single bytes would make each of them an object
        while len(run) < size:
            try:
                part, ancillary, _, _ = self._sock.recvmsg(
                    min(size - len(run), CHUNK_SIZE), ANCILLARY_SIZE, socket.MSG_DONTWAIT | CLOSED_ON_EXEC
                )
            except BlockingIOError:
                self._wait(self._reading, deadline)
                continue
            except OSError as error:
                raise PeerGoneError(f"cannot receive: {os_error_text(error)}") from None
            descriptors += descriptors_of(ancillary)
            if not part:
                raise PeerGoneError("the peer closed the link")
            if len(part) == size:
                return part
            run += part
        return bytes(run)

    @staticmethod
    def _wait(poll: select.poll, deadline: float | None) -> None:
        left = None if deadline is None else max(0.0, deadline - time.monotonic())
        if not poll.poll(None if left is None else left * 1000 + 1) or left == 0:
            raise TimedOutError("the peer did not answer in time")
