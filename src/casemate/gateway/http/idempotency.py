"""Idempotency-Key: a client that lost the answer may ask again, and nothing is done twice.

After draft-ietf-httpapi-idempotency-key-header: the key belongs to one token, one path and one body. Answers are kept
in memory, for a while; a machine that was started anew has forgotten them.
"""

import asyncio
import hashlib
import json
import time
from collections import Counter, OrderedDict
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import Annotated

from fastapi import Header
from pydantic import BaseModel
from starlette.requests import Request
from starlette.responses import Response

from casemate.gateway.http.problems import ProblemError, Trouble

LIFETIME = 24 * 60 * 60.0
"""How long an answer is kept (seconds)."""

MAX_ANSWERS = 1024
"""Most answers that are kept; the oldest of the token that has most goes first."""

_LONG = 1024 * 1024
"""A body beyond this (bytes) is hashed in a thread of its own."""

IdempotencyKey = Annotated[
    str | None,
    Header(
        pattern="^[!-~]{1,128}$",
        description="Anything unique, such as a UUID. With the same key, the same request is answered from memory.",
    ),
]
KEY_RULE = (Trouble.IDEMPOTENCY_CONFLICT, Trouble.REQUEST_REFUSED)
"""The refusals of requests with an idempotency key."""

Work = Callable[[], Awaitable[tuple[str, BaseModel]]]
"""Does the thing, once: where what was made is found, and its document."""


@dataclass(slots=True)
class _Kept:
    body: bytes
    """SHA-256 of the request's body."""
    until: float
    answer: "asyncio.Future[Response]"


class Idempotency:
    """Remembers answers by key and token. ``clock`` returns monotonic seconds."""

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._kept: OrderedDict[tuple[bytes, str, str], _Kept] = OrderedDict()

    async def once(self, request: Request, key: str | None, body: bytes, work: Work) -> Response:
        """The answer to a request that makes something: 201 with a Location, from memory if the key was used before.

        A second request with the same key waits for the first. Only successes are kept: what failed may be tried again.

        Raises:
            ProblemError: the key was used with another body.
        """
        if key is None:
            return await _created(work)
        digest = await _digest(body)
        name = (request.scope["state"]["token"].digest, request.url.path, key)
        self._forget()
        while (kept := self._kept.get(name)) is not None:
            if kept.body != digest:
                detail = f"Idempotency-Key {key[:40]!r} was used with another body"
                raise ProblemError(Trouble.IDEMPOTENCY_CONFLICT, detail)
            try:
                first = await asyncio.shield(kept.answer)
            except asyncio.CancelledError:
                if kept.answer.cancelled():
                    continue  # the first one failed: this one does it
                raise
            return Response(first.body, first.status_code, headers=dict(first.headers))
        self._make_room()
        answer: asyncio.Future[Response] = asyncio.get_running_loop().create_future()
        self._kept[name] = _Kept(digest, self._clock() + LIFETIME, answer)
        try:
            made = await _created(work)
        except BaseException:
            del self._kept[name]
            answer.cancel()
            raise
        answer.set_result(made)
        return made

    def _forget(self) -> None:
        """Drops the answers that are too old; the oldest come first."""
        now = self._clock()
        for name, kept in [*self._kept.items()]:
            if kept.until >= now or not kept.answer.done():
                return
            del self._kept[name]

    def _make_room(self) -> None:
        """Drops one answer if there are too many: the oldest of the token that has most. What is under way stays."""
        if len(self._kept) >= MAX_ANSWERS:
            answered = [name for name, kept in self._kept.items() if kept.answer.done()]
            if answered:
                ((most, _),) = Counter(token for token, _, _ in answered).most_common(1)
                del self._kept[next(name for name in answered if name[0] == most)]


async def _created(work: Work) -> Response:
    location, document = await work()
    return Response(
        json.dumps(document.model_dump(mode="json"), separators=(",", ":")).encode(),
        201,
        headers={"Location": location},
        media_type="application/json",
    )


async def _digest(body: bytes) -> bytes:
    if len(body) <= _LONG:
        return hashlib.sha256(body).digest()
    return (await asyncio.to_thread(hashlib.sha256, body)).digest()
