"""What a guest has printed: the last of it, for readers at their own pace."""

import asyncio

KEPT = 256 * 1024
"""Bytes, at least; older output is forgotten."""


class Console:
    """Bytes numbered from 0, of which the last are kept."""

    def __init__(self) -> None:
        self._kept = bytearray()
        self._start = 0
        self._news = asyncio.Event()
        self.ended = False
        """Nothing more will come."""

    @property
    def end(self) -> int:
        """The number of the next byte."""
        return self._start + len(self._kept)

    def put(self, byte: int) -> None:
        """One more."""
        self._kept.append(byte)
        if len(self._kept) > 2 * KEPT:
            self._start += len(self._kept) - KEPT
            del self._kept[:-KEPT]
        self._news.set()

    def close(self) -> None:
        """Nothing more will come."""
        self.ended = True
        self._news.set()

    def read(self, start: int, most: int) -> tuple[int, bytes]:
        """Up to ``most`` bytes from ``start`` on, or from the oldest that is kept; with the number of the first."""
        first = max(start, self._start)
        at = first - self._start
        return first, bytes(self._kept[at : at + most])

    async def wait(self, start: int) -> None:
        """Until there is a byte ``start``, or the end."""
        while self.end <= start and not self.ended:
            self._news.clear()
            await self._news.wait()
