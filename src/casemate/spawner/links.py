"""The spawner's sockets: whole messages and their descriptors, sent and received without waiting for a peer."""

import os
import socket
from collections import deque
from collections.abc import Iterator, Sequence

from casemate.link.channel import ANCILLARY_SIZE, descriptors_of, rights
from casemate.link.errors import PeerGoneError
from casemate.link.frame_assembler import FrameAssembler
from casemate.link.frames import header
from casemate.wire.encodings.message import encode_message
from casemate.wire.errors import WireError, os_error_text

FRAME_LIMIT = 64 * 1024
"""Longest frame on the spawner's links (bytes): its messages are short."""

_PIECE_SIZE = 16 * 1024
_DONT_WAIT = socket.MSG_DONTWAIT | getattr(socket, "MSG_NOSIGNAL", 0)


class SpawnerLink:
    """The link to one peer of the spawner's: the chip, or an enclave, which may try to make the spawner wait.

    Args:
        sock: owned.
        takes_descriptors: whether the peer may pass descriptors; they then queue up in :attr:`descriptors`.
    """

    def __init__(self, sock: socket.socket, *, takes_descriptors: bool) -> None:
        self._sock = sock
        self._assembler = FrameAssembler(FRAME_LIMIT)
        self._ancillary_size = ANCILLARY_SIZE if takes_descriptors else 0
        self.descriptors: deque[int] = deque()
        """Descriptors in the order in which they came. Who takes one out must close it."""

    def fileno(self) -> int:
        """The socket's descriptor."""
        return self._sock.fileno()

    def close(self) -> None:
        """Closes the socket and descriptors that nobody took."""
        self._sock.close()
        while self.descriptors:
            os.close(self.descriptors.popleft())

    def receive(self) -> Iterator[bytes]:
        """The frames that have arrived completely.

        Raises:
            PeerGoneError: the peer has closed the link.
            WireError: a frame is longer than any message.
        """
        try:
            piece, ancillary, _, _ = self._sock.recvmsg(_PIECE_SIZE, self._ancillary_size, _DONT_WAIT)
        except BlockingIOError:
            return
        except OSError as error:
            raise PeerGoneError(f"cannot receive: {os_error_text(error)}") from None
        self.descriptors += descriptors_of(ancillary)
        if not piece:
            raise PeerGoneError("the peer closed the link")
        for frame in self._assembler.feed(piece):
            if frame is None:
                raise WireError("frame", got="a longer one", want=f"at most {FRAME_LIMIT} bytes")
            yield frame

    def send(self, message: object, descriptors: Sequence[int] = ()) -> None:
        """Sends a message at once.

        Raises:
            PeerGoneError: the peer is gone, or does not read: nothing is kept to be sent later.
        """
        payload = encode_message(message)
        frame = header(payload, FRAME_LIMIT) + payload
        try:
            sent = self._sock.sendmsg([frame], rights(descriptors), _DONT_WAIT)
        except OSError as error:
            raise PeerGoneError(f"cannot send: {os_error_text(error)}") from None
        if sent != len(frame):
            raise PeerGoneError("the peer does not read")
