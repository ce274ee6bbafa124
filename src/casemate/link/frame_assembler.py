"""Frames out of a stream whose bytes come in pieces of any size, and never any waiting."""

from collections.abc import Iterator

from casemate.link.frames import HEADER_SIZE


class FrameAssembler:
    """Collects pieces and gives out whole frames.

    A frame longer than ``limit`` is thrown away as it arrives and given out as None, so a peer that announces one costs
    no memory and does not end the link.
    """

    __slots__ = ("_collected", "_limit", "_skip")

    def __init__(self, limit: int) -> None:
        self._limit = limit
        self._collected = bytearray()
        self._skip = 0

    def feed(self, piece: bytes) -> Iterator[bytes | None]:
        """The frames that ``piece`` completes, in order; None for each one that is too long."""
        skipped = min(self._skip, len(piece))
        self._skip -= skipped
        collected = self._collected
        collected += piece[skipped:]
        while len(collected) >= HEADER_SIZE:
            size = int.from_bytes(collected[:HEADER_SIZE], "little")
            end = HEADER_SIZE + size
            if size > self._limit:
                self._skip = max(0, end - len(collected))
                del collected[:end]
                yield None
            elif len(collected) >= end:
                with memoryview(collected) as view:
                    frame = bytes(view[HEADER_SIZE:end])
                del collected[:end]
                yield frame
            else:
                return
