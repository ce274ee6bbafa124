"""A peer over a socket: frames that have come and bytes that are still to go, and no call that waits.

So a hostile peer that stops in the middle of a frame, or stops reading, delays nothing but its own traffic.
"""

import select
import socket
from collections import deque
from collections.abc import Callable

from casemate.enclave.io.loop import Loop
from casemate.link.channel import ANCILLARY_SIZE, descriptors_of
from casemate.link.errors import PeerGoneError
from casemate.link.frame_assembler import FrameAssembler
from casemate.link.frames import HEADER_SIZE, unsent
from casemate.wire.errors import os_error_text

PIECE_SIZE = 64 * 1024
"""Most bytes taken from a peer at a time, so that one that never stops cannot keep the others waiting.

Python makes room for all of them before each reading: above 128 KiB the C library maps and unmaps memory for that.
"""

PIECE = bytearray(PIECE_SIZE)
"""What was read last, of any peer: memory that is asked for anew for each piece would be cleared and mapped each time.
Whoever has read into it takes all that it wants out of it before anything else is read."""

_DONT_WAIT = socket.MSG_DONTWAIT | getattr(socket, "MSG_NOSIGNAL", 0)
_ENDED = select.POLLHUP | select.POLLERR | select.POLLNVAL


class SocketPeer:
    """Frames over a stream socket whose other end may do anything.

    While the peer has bytes to take, nothing is read from it: who does not listen is not heard.

    Args:
        loop: serves it once :meth:`hear` says who takes its frames.
        name: who is there, for errors.
        sock: owned.
        limit: longest frame from this peer; see :class:`FrameAssembler`.
        descriptors: whether to accept descriptors; only a trusted peer may send them.
    """

    def __init__(self, loop: Loop, name: str, sock: socket.socket, *, limit: int, descriptors: bool = False) -> None:
        self._loop = loop
        self._name = name
        self._sock = sock
        self._assembler = FrameAssembler(limit)
        self._ancillary_size = ANCILLARY_SIZE if descriptors else 0
        self._outgoing = bytearray()
        self._on_frame: Callable[[bytes | None], None] | None = None
        self.descriptors: deque[int] = deque()
        """Descriptors in the order in which they came."""

    def hear(self, on_frame: Callable[[bytes | None], None]) -> None:
        """From now on, gives each frame to ``on_frame``; None for one that was too long."""
        self._on_frame = on_frame
        self._loop.watch(self)

    def fileno(self) -> int:
        """The socket's descriptor."""
        return self._sock.fileno()

    @property
    def backlog(self) -> int:
        """Bytes that the peer has yet to take."""
        return len(self._outgoing)

    def send(self, payload: bytes) -> None:
        """Sends a frame as far as it goes now; the rest follows as the peer reads."""
        frame = [len(payload).to_bytes(HEADER_SIZE, "little"), payload]
        if self._outgoing:
            self._outgoing += b"".join(frame)
            return
        for buffer in unsent([memoryview(part) for part in frame], self._send_some(frame)):
            self._outgoing += buffer
        self._loop.update(self)

    def wants(self) -> int:
        """Poll events: write while output is waiting, otherwise read."""
        return select.POLLOUT if self._outgoing else select.POLLIN

    def ready(self, events: int) -> None:
        """Raises :class:`PeerGoneError` when the peer has gone and all it said is taken."""
        if events & select.POLLOUT:
            self._flush()
        if events & select.POLLIN:
            self._receive()
        elif events & _ENDED:
            raise PeerGoneError(f"the {self._name} closed the link")

    def _flush(self) -> None:
        sent = -1
        while self._outgoing and sent != 0:
            with memoryview(self._outgoing) as view, view[:PIECE_SIZE] as piece:
                sent = self._send_some([piece])
            del self._outgoing[:sent]
        self._loop.update(self)

    def _send_some(self, buffers: list[bytes] | list[memoryview]) -> int:
        """How many bytes the peer's socket took; 0 where it is full."""
        try:
            return self._sock.sendmsg(buffers, [], _DONT_WAIT)
        except BlockingIOError:
            return 0
        except OSError as error:
            raise PeerGoneError(f"cannot send to the {self._name}: {os_error_text(error)}") from None

    def _receive(self) -> None:
        try:
            count, ancillary, _, _ = self._sock.recvmsg_into([PIECE], self._ancillary_size, _DONT_WAIT)
        except BlockingIOError:
            return
        except OSError as error:
            raise PeerGoneError(f"cannot hear the {self._name}: {os_error_text(error)}") from None
        self.descriptors += descriptors_of(ancillary)
        if count == 0:
            raise PeerGoneError(f"the {self._name} closed the link")
        take = self._on_frame
        if take is not None:  # nothing is polled before
            for frame in [*self._assembler.feed(memoryview(PIECE)[:count])]:
                take(frame)
