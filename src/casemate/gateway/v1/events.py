"""`/v1/events`: this machine's events as server-sent events (WHATWG HTML, section 9.2)."""

import asyncio
import json
import re
import secrets
from collections.abc import AsyncIterator, Callable
from typing import Annotated, Any

from fastapi import APIRouter, Header
from starlette.requests import Request
from starlette.responses import StreamingResponse
from starlette.types import Receive, Scope, Send

from casemate.gateway.host_api import HostApi
from casemate.gateway.http.active_requests import ActiveRequest
from casemate.gateway.http.openapi import operation
from casemate.gateway.http.problems import Trouble
from casemate.gateway.http.rate_limits import AtOnce
from casemate.gateway.http.routes import StrictRoute
from casemate.gateway.v1.enclaves import shown
from casemate.host.events import Event, MachineEvent
from casemate.wire.protocol.access_tokens import Role

KEEP_ALIVE = 15.0
"""Seconds without an event until a comment is sent, so that proxies keep the connection and lost readers are
noticed."""

EVENT_STREAM = "text/event-stream"
_ID = re.compile(r"([0-9a-f]{16})-(0|[1-9]\d{0,14})", re.ASCII)

_ABOUT = """\
Server-sent events. `enclaves` comes first, with all enclaves as they are now, unless `Last-Event-ID` names an event
after which to go on; then an `enclave` for each change of an enclave's state, and a `machine` for what happens to the
machine, as `{"text": ...}`. Where this reader was too slow, `gap` says that events are missing: list the enclaves anew.
`end` is the last: the gateway is about to end. Needs a token of any role.
"""


class EventStreams:
    """The streams of all readers. Event numbers restart with each process, so ids contain the process's name."""

    def __init__(self, host: HostApi, *, most: int) -> None:
        self._host = host
        self._places = AtOnce(each=share_of(most), together=most, what="readers of {} follow the events")
        self._process = secrets.token_hex(8)
        self._closing = asyncio.Event()

    def close(self) -> None:
        """Ends every stream, so that none delays the end of the process."""
        self._closing.set()

    def open(self, visit: ActiveRequest, last_id: str | None) -> AsyncIterator[bytes]:
        """One reader's stream. It holds a place until its request is over."""
        take_place(self._places, visit)
        return self._follow(last_id)

    async def _follow(self, last_id: str | None) -> AsyncIterator[bytes]:
        found = None if last_id is None else _ID.fullmatch(last_id)
        last = self._host.events.last
        if found is not None and found[1] == self._process:
            last = min(last, int(found[2]))
        else:
            enclaves = [shown(enclave).model_dump(mode="json") for enclave in self._host.enclaves()]
            yield encoded("enclaves", {"enclaves": enclaves}, f"{self._process}-{last}")
        async for event in self._until_closing(last):
            if event is None:
                yield b": still here\n\n"
                continue
            if event.number != last + 1:
                yield encoded("gap", {"missed": event.number - last - 1}, None)
            last = event.number
            yield self._of(event)
        yield encoded("end", {}, None)

    async def _until_closing(self, last: int) -> AsyncIterator[Event | None]:
        """Yields events, and None for each interval without one."""
        news = self._host.events.since(last)
        closing: asyncio.Future[Any] = asyncio.ensure_future(self._closing.wait())
        coming: asyncio.Future[Any] = asyncio.ensure_future(anext(news))
        try:
            while not self._closing.is_set():
                await asyncio.wait({coming, closing}, timeout=KEEP_ALIVE, return_when=asyncio.FIRST_COMPLETED)
                if coming.done():
                    event = coming.result()
                    coming = asyncio.ensure_future(anext(news))
                    yield event
                elif not closing.done():
                    yield None
        finally:
            for waiting in (closing, coming):
                waiting.cancel()
            await asyncio.wait({closing, coming})

    def _of(self, event: Event) -> bytes:
        name = f"{self._process}-{event.number}"
        at = event.at.isoformat()
        if isinstance(event.what, MachineEvent):
            return encoded("machine", {"at": at, "text": event.what.text}, name)
        return encoded("enclave", {"at": at, "enclave": shown(event.what).model_dump(mode="json")}, name)


def event_routes(streams: EventStreams) -> APIRouter:
    """The route."""
    routes = APIRouter(route_class=StrictRoute, tags=["machine"])
    says = operation("events", Role.CALL, Trouble.REQUEST_REFUSED)
    says["responses"][200] = {"description": "Events, until either side ends.", "content": {EVENT_STREAM: {}}}

    @routes.get("/v1/events", response_class=StreamingResponse, description=_ABOUT, **says)
    async def follow(
        request: Request,
        last_event_id: Annotated[str | None, Header(description="The id of the last event that was read.")] = None,
    ) -> StreamingResponse:
        return served(request, lambda visit: streams.open(visit, last_event_id))

    return routes


def share_of(most: int) -> int:
    """Most places that one token may hold: a quarter, and at least one if there are any."""
    return min(most, max(1, most // 4))


def take_place(places: AtOnce, visit: ActiveRequest) -> None:
    """Takes a place that is given back when the request is over."""
    key, name = (b"", "nobody") if visit.token is None else (visit.token.digest, f"token {visit.token.name}")
    places.take(key, name)
    visit.at_end(lambda: places.give_back(key))


class _EventStream(StreamingResponse):
    """A streaming response that can be ended at any time, even while no event comes."""

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """ASGI 3."""
        with ActiveRequest.of(scope).that_may_end():
            await super().__call__(scope, receive, send)


async def _nothing() -> AsyncIterator[bytes]:
    pieces: tuple[bytes, ...] = ()
    for piece in pieces:
        yield piece


def served(request: Request, opened: Callable[[ActiveRequest], AsyncIterator[bytes]]) -> StreamingResponse:
    """The response that carries events as they come; a HEAD request gets none."""
    visit = ActiveRequest.of(request.scope)
    events = _nothing() if visit.is_head else opened(visit)
    headers = {"X-Accel-Buffering": "no"}  # otherwise nginx buffers events
    return _EventStream(events, media_type=EVENT_STREAM, headers=headers)


def encoded(kind: str, data: dict[str, object], name: str | None) -> bytes:
    """One encoded event with ``name`` as its id. JSON on one line needs one ``data`` line."""
    lines = [f"event: {kind}", f"data: {json.dumps(data, separators=(',', ':'))}"]
    if name is not None:
        lines.insert(0, f"id: {name}")
    return ("\n".join(lines) + "\n\n").encode()
