"""The asyncio client's own parts; :mod:`casemate.client.blocking_parts` has the same names for the blocking one.

The rest of both clients is written once, with ``await``, in :mod:`casemate.client.aio`.
"""

import asyncio
import contextlib
import time
from collections.abc import AsyncGenerator, AsyncIterable, AsyncIterator
from pathlib import Path

from casemate.client.address import Address
from casemate.client.streaming import Chunks as BlockingChunks
from casemate.client.streaming import Piece, cut, pieces
from casemate.client.transport import AsyncTransport
from casemate.link.errors import TimedOutError
from casemate.wire.protocol.call import MAX_CHUNK

Chunks = BlockingChunks | AsyncIterable[Piece]
"""The input of a stream: all of it, its pieces as they come, a binary file, or an asynchronous iterable of pieces."""


class Turns:
    """The calls of one session, one at a time: where two could overtake each other, the enclave would refuse one."""

    def __init__(self, *, keeps_order: bool) -> None:
        self._keeps_order = keeps_order
        self._turn = asyncio.Lock()

    @contextlib.asynccontextmanager
    async def turn(self, seconds: float) -> AsyncIterator[float]:
        """Waits for the calls before; gives the seconds that are left of ``seconds``."""
        if self._keeps_order:
            yield seconds
            return
        begin = time.monotonic()
        try:
            async with asyncio.timeout(seconds):
                await self._turn.acquire()
        except TimeoutError:
            raise TimedOutError(f"this session's calls before it took longer than {seconds:g} s") from None
        try:
            yield seconds - (time.monotonic() - begin)
        finally:
            self._turn.release()


async def read_pieces(chunks: Chunks) -> AsyncGenerator[bytes, None]:
    """The input in pieces of 1 to ``MAX_CHUNK`` bytes; a blocking file is read in a thread."""
    if isinstance(chunks, AsyncIterable):
        async for piece in chunks:
            for part in cut(piece):
                yield part
    elif hasattr(chunks, "read"):
        while piece := await asyncio.to_thread(chunks.read, MAX_CHUNK):
            for part in cut(piece):
                yield part
    else:
        for part in pieces(chunks):
            yield part


async def open_transport(where: Path | str, gateway: Address | None) -> AsyncTransport:
    """A transport to a gateway, or to the Unix socket ``where``."""
    if gateway is not None:
        from casemate.client.http_transport import AsyncHttpTransport

        return AsyncHttpTransport(gateway)
    from casemate.client.unix_transport import AsyncUnixTransport

    return await AsyncUnixTransport.connect(where)
