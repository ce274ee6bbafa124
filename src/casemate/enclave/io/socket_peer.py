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
from casemate.link.frames import HEADER_SIZE
from casemate.wire.errors import os_error_text

PIECE_SIZE = 64 * 1024
"""Most bytes taken from a peer at a time, so that one that never stops cannot keep the others waiting.

Python makes room for all of them before each reading: above 128 KiB the C library maps and unmaps memory for that.
"""

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
        self._outgoing += len(payload).to_bytes(HEADER_SIZE, "little")
        self._outgoing += payload
        self._flush()

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
        try:
            while self._outgoing:
                with memoryview(self._outgoing) as view, view[:PIECE_SIZE] as piece:
                    sent = self._sock.sendmsg([piece], [], _DONT_WAIT)
                del self._outgoing[:sent]
        except BlockingIOError:
            pass
        except OSError as error:
            raise PeerGoneError(f"cannot send to the {self._name}: {os_error_text(error)}") from None
        self._loop.update(self)

    def _receive(self) -> None:
        try:
            piece, ancillary, _, _ = self._sock.recvmsg(PIECE_SIZE, self._ancillary_size, _DONT_WAIT)
        except BlockingIOError:
            return
        except OSError as error:
            raise PeerGoneError(f"cannot hear the {self._name}: {os_error_text(error)}") from None
        self.descriptors += descriptors_of(ancillary)
        if not piece:
            raise PeerGoneError(f"the {self._name} closed the link")
        take = self._on_frame
        if take is not None:  # nothing is polled before
            for frame in self._assembler.feed(piece):
                take(frame)
