"""Request bodies: read piece by piece, with a limit on their size and on the time that the client may take."""

import asyncio
from collections.abc import Mapping

from starlette.requests import ClientDisconnect, Request

from casemate.gateway.http.active_requests import ActiveRequest
from casemate.gateway.http.problems import ProblemError, Trouble

JSON = "application/json"
BINARY = "application/octet-stream"

MAX_JSON = 1024 * 1024
"""Longest JSON body (bytes)."""

PATIENCE = 15.0
"""How long a body may take beside what its size allows (seconds)."""

SLOWEST = 64 * 1024
"""The rate below which a body is not waited for (bytes a second): else a few bytes an hour would hold a connection."""

_CLOSE = {"Connection": "close"}


MAX_HELD = 384 * 1024 * 1024
"""Most bytes of bodies in memory together: a few of the largest images, and thousands of calls."""


class BodyMemory:
    """The memory (bytes) that the bodies of all requests under way share."""

    def __init__(self, most: int = MAX_HELD) -> None:
        self._most = most
        self._held = 0

    def take(self, size: int) -> None:
        """Reserves that many bytes more, or refuses the request."""
        if self._held + size > self._most:
            said = f"the bodies of requests under way take {self._held} bytes of {self._most} already"
            raise ProblemError(Trouble.RATE_LIMITED, said, headers=_CLOSE)
        self._held += size

    def give_back(self, size: int) -> None:
        self._held -= size


class MemoryShare:
    """One request's part of :class:`BodyMemory`, given back when the request is over."""

    def __init__(self, memory: BodyMemory) -> None:
        self._memory = memory
        self._held = 0

    def take(self, size: int) -> None:
        """Reserves that many bytes more, or refuses the request."""
        self._memory.take(size)
        self._held += size

    def give_back(self) -> None:
        """Gives back all that the request has reserved."""
        self._memory.give_back(self._held)
        self._held = 0


async def read_body(request: Request, *, media_type: str, limit: int) -> bytes:
    """The whole body of a request.

    Args:
        request: whose body nobody has begun to read.
        media_type: what its Content-Type has to name; parameters are passed over.
        limit: the longest body (bytes).

    Raises:
        ProblemError: another type or a content coding (415), too long (413), too slow (408), or the memory for all
            bodies is used up (429).
        ClientDisconnect: the client is gone.
    """
    fields = dict(reversed(request.scope["headers"]))  # the first of each name counts
    _check_media_type(fields, media_type)
    if int(fields.get(b"content-length", b"0")) > limit:  # h11 has seen to it that this is a number
        raise _too_large(limit)
    loop = asyncio.get_running_loop()
    start = loop.time()
    share: MemoryShare = request.scope["state"]["share"]
    body = bytearray()  # and no list of pieces: a client that sends single bytes would make each of them an object
    try:
        with ActiveRequest.of(request.scope).that_may_end():
            async with asyncio.timeout_at(start + PATIENCE) as patience:
                more = True
                while more:
                    message = await request.receive()
                    if message["type"] == "http.disconnect":
                        raise ClientDisconnect
                    piece, more = message["body"], message["more_body"]
                    if len(body) + len(piece) > limit:
                        raise _too_large(limit)
                    share.take(len(piece))
                    body += piece
                    if len(body) >= SLOWEST:  # a small one needs no more
                        patience.reschedule(start + PATIENCE + len(body) / SLOWEST)
        return bytes(body)
    except TimeoutError:
        detail = (
            f"{len(body)} bytes in {loop.time() - start:.0f} s; want at least {SLOWEST} a second after {PATIENCE:g} s"
        )
        raise ProblemError(Trouble.BODY_TOO_SLOW, detail, headers=_CLOSE) from None


def _check_media_type(fields: Mapping[bytes, bytes], wanted: str) -> None:
    """Refuses a body of another media type, or with a content encoding."""
    given = fields.get(b"content-type", b"none").decode("latin-1")
    if given.partition(";")[0].strip().lower() != wanted:
        raise ProblemError(Trouble.MEDIA_TYPE_REFUSED, f"Content-Type is {given[:80]!r}, want {wanted}")
    coding = fields.get(b"content-encoding", b"identity").decode("latin-1")
    if coding.lower() != "identity":
        raise ProblemError(Trouble.MEDIA_TYPE_REFUSED, f"Content-Encoding is {coding[:80]!r}, want none")


def _too_large(limit: int) -> ProblemError:
    return ProblemError(Trouble.BODY_TOO_LARGE, f"the body is longer than {limit} bytes")
