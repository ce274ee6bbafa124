"""Frames out of a stream whose bytes come in pieces of any size, and never any waiting."""

import io
from collections.abc import Iterator

from casemate.link.frames import HEADER_SIZE

SIZED = 2 * 1024 * 1024
"""Longest frame whose memory is asked for at once (bytes); a longer one's grows as it comes. The system gives memory
only as it is written to, so a peer that announces a frame and sends none of it costs next to nothing either way."""


class FrameAssembler:
    """Collects pieces and gives out whole frames.

    A frame longer than ``limit`` is thrown away as it arrives and given out as None, so a peer that announces one costs
    no memory and does not end the link.

    Every byte is copied once: out of its piece, to its place in the frame.
    """

    __slots__ = ("_frame", "_header", "_limit", "_missing", "_skip")

    def __init__(self, limit: int) -> None:
        self._limit = limit
        self._header = b""
        """Of a frame that has not come whole; shorter than :data:`HEADER_SIZE` while not even that has come."""
        self._frame = io.BytesIO()
        """What has come of its payload."""
        self._missing = 0
        """Bytes of its payload that have not come."""
        self._skip = 0

    def feed(self, piece: bytes | memoryview) -> Iterator[bytes | None]:
        """The frames that ``piece`` completes, in order; None for each one that is too long.

        Args:
            piece: whatever came; its memory may be used again once the iterator is at its end.
        """
        with memoryview(piece) as view:
            at = 0
            while at < len(view):
                if self._skip:
                    taken = min(self._skip, len(view) - at)
                    self._skip -= taken
                    at += taken
                elif self._missing:
                    taken = self._frame.write(view[at : at + self._missing])
                    self._missing -= taken
                    at += taken
                    if self._missing == 0:
                        yield self._done()
                else:
                    taken = min(HEADER_SIZE - len(self._header), len(view) - at)
                    self._header += view[at : at + taken]
                    at += taken
                    if len(self._header) == HEADER_SIZE:
                        size, self._header = int.from_bytes(self._header, "little"), b""
                        if size > self._limit:
                            self._skip = size
                            yield None
                        elif size <= len(view) - at:
                            yield bytes(view[at : at + size])
                            at += size
                        else:
                            self._frame, self._missing = io.BytesIO(bytes(min(size, SIZED))), size

    def _done(self) -> bytes:
        frame, self._frame = self._frame, io.BytesIO()
        return frame.getvalue()
