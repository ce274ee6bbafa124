"""A guest's output, of which the newest part is kept for readers at their own pace."""

import asyncio

KEPT = 256 * 1024
"""At least this many bytes are kept; older output is forgotten."""


class Console:
    """Output whose bytes are numbered from 0."""

    def __init__(self) -> None:
        self._kept = bytearray()
        self._start = 0
        self._news = asyncio.Event()
        self.ended = False

    @property
    def end(self) -> int:
        """The number of the next byte."""
        return self._start + len(self._kept)

    def put(self, byte: int) -> None:
        """Adds a byte."""
        self._kept.append(byte)
        if len(self._kept) > 2 * KEPT:
            self._start += len(self._kept) - KEPT
            del self._kept[:-KEPT]
        self._news.set()

    def close(self) -> None:
        """Marks the end of the output."""
        self.ended = True
        self._news.set()

    def read(self, start: int, most: int) -> tuple[int, bytes]:
        """The number of the first byte, and up to ``most`` bytes from ``start`` on, or from the oldest that is kept."""
        first = max(start, self._start)
        at = first - self._start
        return first, bytes(self._kept[at : at + most])

    async def wait(self, start: int) -> None:
        """Waits until there is a byte ``start``, or the output has ended."""
        while self.end <= start and not self.ended:
            self._news.clear()
            await self._news.wait()
