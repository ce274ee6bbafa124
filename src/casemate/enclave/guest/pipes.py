"""The two pipes to a guest, which may stop reading, stop writing, or write anything at all.

The enclave's ends never block: a guest that stops can hold up nothing but itself. The guest's ends do block.
"""

import os
import select
from collections import deque
from collections.abc import Callable

from casemate.enclave.io.loop import Loop
from casemate.enclave.io.socket_peer import PIECE, PIECE_SIZE
from casemate.link.frame_assembler import FrameAssembler
from casemate.link.frames import HEADER_SIZE, unsent


class FromGuest:
    """Frames out of the pipe that the guest writes to.

    Args:
        loop: is told when this wants something else; whoever made this has it watched.
        descriptor: owned by whoever made this.
        limit: longest frame; a longer one is given out as None.
        most: while so many frames wait to be taken no more are read, and the guest has to wait.
        on_frames: told that frames have come.
        on_end: told when the guest's end is closed and everything before that is read.
    """

    def __init__(
        self,
        loop: Loop,
        descriptor: int,
        *,
        limit: int,
        most: int,
        on_frames: Callable[[], None],
        on_end: Callable[[], None],
    ) -> None:
        os.set_blocking(descriptor, False)
        self._loop = loop
        self._descriptor = descriptor
        self._assembler = FrameAssembler(limit)
        self._most = most
        self._on_frames = on_frames
        self._on_end = on_end
        self.incoming: deque[bytes | None] = deque()
        """Frames in order; None for one that was too long."""

    def fileno(self) -> int:
        """The pipe's descriptor."""
        return self._descriptor

    def take(self) -> bytes | None:
        """Takes out the next frame."""
        frame = self.incoming.popleft()
        self._loop.update(self)
        return frame

    def wants(self) -> int:
        """Input, while there is room. The end of the pipe is input, too, and comes after all that the guest wrote."""
        return select.POLLIN if len(self.incoming) < self._most else 0

    def ready(self, _events: int) -> None:
        """Takes what has come. Where there is no room, only a closed end leads here: then a pipe's content at most."""
        try:
            count = os.readv(self._descriptor, [PIECE])
        except BlockingIOError:
            return
        if count == 0:
            self._on_end()
            return
        self.incoming += self._assembler.feed(memoryview(PIECE)[:count])
        if self.incoming:
            self._loop.update(self)
            self._on_frames()


class ToGuest:
    """Frames into the pipe that the guest reads from.

    Args:
        loop: is told when this wants something else; whoever made this has it watched.
        descriptor: owned by whoever made this.
        on_end: told when the guest reads no more.
    """

    def __init__(self, loop: Loop, descriptor: int, *, on_end: Callable[[], None]) -> None:
        os.set_blocking(descriptor, False)
        self._loop = loop
        self._descriptor = descriptor
        self._on_end = on_end
        self._outgoing = bytearray()

    def fileno(self) -> int:
        """The pipe's descriptor."""
        return self._descriptor

    @property
    def is_behind(self) -> bool:
        """Whether the guest has not read so much that something waits here."""
        return bool(self._outgoing)

    def send(self, payload: bytes) -> None:
        """Sends a frame as far as it goes now; the rest follows as the guest reads."""
        frame = [len(payload).to_bytes(HEADER_SIZE, "little"), payload]
        if self._outgoing:
            self._outgoing += b"".join(frame)
            return
        try:
            sent = os.writev(self._descriptor, frame)
        except BlockingIOError:
            sent = 0
        except OSError:
            self._on_end()
            return
        for buffer in unsent([memoryview(part) for part in frame], sent):
            self._outgoing += buffer
        self._loop.update(self)

    def wants(self) -> int:
        """Poll events: write while output is waiting."""
        return select.POLLOUT if self._outgoing else 0

    def ready(self, events: int) -> None:
        """Sends what can go; an end that the guest has closed is noticed here."""
        try:
            while self._outgoing:
                with memoryview(self._outgoing) as view, view[:PIECE_SIZE] as piece:
                    sent = os.write(self._descriptor, piece)
                del self._outgoing[:sent]
        except BlockingIOError:
            pass
        except OSError:
            self._on_end()
            return
        self._loop.update(self)
        if events & select.POLLERR:
            self._on_end()
