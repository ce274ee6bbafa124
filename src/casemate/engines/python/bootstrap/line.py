"""The two pipes of a guest, and the frames on them: see :mod:`casemate.engines.frames`.

Both pipes block. While this reads, nothing else of the guest runs: that is how a guest rests between calls, and how
``context.ocall`` returns an answer.
"""

import os
from typing import Any, NamedTuple

from casemate.engines.frames import CALL_SIZE, PREFIX_SIZE, FrameKind
from casemate.engines.python.bootstrap.json_text import decode, encode
from casemate.engines.python.bootstrap.limits import BROKEN_FRAME, BROKEN_PIPE

_HEADER_SIZE = PREFIX_SIZE + 1 + CALL_SIZE
_READ_SIZE = 64 * 1024


class Frame(NamedTuple):
    """A frame from the enclave."""

    kind: int
    call: bytes
    body: bytes

    def opened(self) -> tuple[dict[str, Any], bytes]:
        """The head of a body of two parts, and the text behind it."""
        size = int.from_bytes(self.body[:4], "little")
        return decode(self.body[4 : 4 + size]), self.body[4 + size :]


class Line:
    """Reads and writes frames.

    Args:
        reading: the descriptor that the enclave writes to.
        writing: the descriptor that it reads from.
    """

    def __init__(self, reading: int, writing: int) -> None:
        self._reading = reading
        self._writing = writing
        self._ahead = b""
        """Read, and not yet taken."""

    def receive(self) -> Frame:
        """The next frame. The process ends where the enclave has gone."""
        header = self._take(_HEADER_SIZE)
        size = int.from_bytes(header[:PREFIX_SIZE], "little") - 1 - CALL_SIZE
        if size < 0:
            os._exit(BROKEN_FRAME)
        return Frame(header[PREFIX_SIZE], header[PREFIX_SIZE + 1 :], self._take(size))

    def send(self, kind: FrameKind, call: bytes, body: bytes = b"") -> None:
        """Sends a frame."""
        rest = memoryview(b"".join(((1 + CALL_SIZE + len(body)).to_bytes(4, "little"), bytes((kind,)), call, body)))
        while rest:
            try:
                rest = rest[os.write(self._writing, rest) :]
            except OSError:
                os._exit(BROKEN_PIPE)

    def send_head(self, kind: FrameKind, call: bytes, head: object, text: bytes = b"") -> None:
        """Sends a frame of two parts."""
        encoded = encode(head).encode()
        self.send(kind, call, b"".join((len(encoded).to_bytes(4, "little"), encoded, text)))

    def _take(self, size: int) -> bytes:
        ahead = self._ahead
        if len(ahead) < size:
            pieces, missing = [ahead], size - len(ahead)
            while missing > 0:
                piece = os.read(self._reading, max(missing, _READ_SIZE))
                if not piece:
                    os._exit(0)
                pieces.append(piece)
                missing -= len(piece)
            ahead = b"".join(pieces)
        self._ahead = ahead[size:]
        return ahead[:size]
