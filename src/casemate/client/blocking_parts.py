"""The blocking client's own parts; :mod:`casemate.client.asyncio_parts` has the same names for asyncio."""

import contextlib
from collections.abc import Generator, Iterator
from pathlib import Path

from casemate.client.address import Address
from casemate.client.streaming import Chunks as Chunks  # noqa: PLC0414 - the client takes it from here
from casemate.client.streaming import pieces
from casemate.client.transport import Transport


class Turns:
    """The calls of one session. A blocking client makes one at a time anyway."""

    def __init__(self, *, keeps_order: bool) -> None:
        del keeps_order

    @contextlib.contextmanager
    def turn(self, seconds: float) -> Iterator[float]:
        """Gives the seconds for a call: all of them."""
        yield seconds


def read_pieces(chunks: Chunks) -> Generator[bytes, None, None]:
    """The input in pieces of 1 to ``MAX_CHUNK`` bytes."""
    yield from pieces(chunks)


def open_transport(where: Path | str, gateway: Address | None) -> Transport:
    """A transport to a gateway, or to the Unix socket ``where``."""
    if gateway is not None:
        from casemate.client.http_transport import HttpTransport

        return HttpTransport(gateway)
    from casemate.client.unix_transport import UnixTransport

    return UnixTransport.connect(where)
