"""`/v1/vms/{id}/console/events`: a guest's console output as server-sent events."""

import asyncio
import base64
import re
from collections.abc import AsyncIterator
from typing import Annotated, Any

from fastapi import APIRouter, Header
from starlette.requests import Request
from starlette.responses import StreamingResponse

from casemate.gateway.host_api import VmHostApi
from casemate.gateway.http.active_requests import ActiveRequest
from casemate.gateway.http.openapi import operation
from casemate.gateway.http.problems import Trouble
from casemate.gateway.http.rate_limits import AtOnce
from casemate.gateway.http.routes import StrictRoute
from casemate.gateway.v1.events import EVENT_STREAM, KEEP_ALIVE, encoded, served, share_of, take_place
from casemate.gateway.v1.parameters import VmId
from casemate.gateway.v1.vm.routes import Start
from casemate.host.vm.console import Console
from casemate.wire.protocol.access_tokens import Role
from casemate.wire.protocol.faults import Code

GATHER = 0.05
"""Seconds for which output is gathered into one event: a guest prints byte by byte."""

PIECE = 16 * 1024
"""Most bytes of one event."""

_OFFSET = re.compile(r"0|[1-9]\d{0,14}", re.ASCII)
_ABOUT = """\
Server-sent events: a `console` for each piece that the guest prints, `{"start": ..., "text": ..., "content": ...}`,
whose id is the number of the next byte; `Last-Event-ID` goes on from there. The last 256 KiB are kept: `gap` says how
many bytes were forgotten before this reader came to them. `end` is the last: the VM is gone, or the gateway is about
to end. Needs a token of any role.
"""


class ConsoleStreams:
    """The streams of all readers that follow consoles."""

    def __init__(self, vms: VmHostApi, *, most: int) -> None:
        self._vms = vms
        self._places = AtOnce(each=share_of(most), together=most, what="readers of {} follow consoles")
        self._closing = asyncio.Event()

    def close(self) -> None:
        """Ends every stream, so that none delays the end of the process."""
        self._closing.set()

    def console(self, number: int) -> Console:
        """The console of one VM; FaultError if there is no such VM."""
        return self._vms.console(number)

    def open(self, visit: ActiveRequest, console: Console, start: int) -> AsyncIterator[bytes]:
        """One reader's stream from byte ``start`` on. It holds a place until its request is over."""
        take_place(self._places, visit)
        return self._follow(console, start)

    async def _follow(self, console: Console, start: int) -> AsyncIterator[bytes]:
        at = min(start, console.end)
        while not self._closing.is_set():
            first, content = console.read(at, PIECE)
            if first != at:
                yield encoded("gap", {"missed": first - at}, None)
            at = first + len(content)
            if content:
                yield encoded("console", _piece(first, content), str(at))
            elif console.ended:
                break
            elif not await self._news(console, at):
                yield b": still here\n\n"
        yield encoded("end", {"gone": console.ended}, None)

    async def _news(self, console: Console, at: int) -> bool:
        """Waits for output or its end; false after a while without either."""
        coming: asyncio.Future[Any] = asyncio.ensure_future(console.wait(at))
        closing: asyncio.Future[Any] = asyncio.ensure_future(self._closing.wait())
        try:
            done, _ = await asyncio.wait({coming, closing}, timeout=KEEP_ALIVE, return_when=asyncio.FIRST_COMPLETED)
            if done == {coming}:
                await asyncio.wait({closing}, timeout=GATHER)
            return bool(done)
        finally:
            coming.cancel()
            closing.cancel()
            await asyncio.wait({coming, closing})


def console_routes(streams: ConsoleStreams) -> APIRouter:
    """The route."""
    routes = APIRouter(route_class=StrictRoute, prefix="/v1/vms/{id}/console", tags=["vms"])

    says = operation("follow_vm_console", Role.CALL, Code.UNKNOWN_VM, Trouble.REQUEST_REFUSED)
    says["responses"][200] = {"description": "Events, until either side ends.", "content": {EVENT_STREAM: {}}}

    @routes.get("/events", response_class=StreamingResponse, description=_ABOUT, **says)
    async def follow(
        id: VmId,
        request: Request,
        start: Start = 0,
        last_event_id: Annotated[str | None, Header(description="The id of the last event that was read.")] = None,
    ) -> StreamingResponse:
        found = None if last_event_id is None else _OFFSET.fullmatch(last_event_id)
        at = start if found is None else int(found[0])
        console = streams.console(id)
        return served(request, lambda visit: streams.open(visit, console, at))

    return routes


def _piece(first: int, content: bytes) -> dict[str, object]:
    text = content.decode(errors="replace")
    return {"start": first, "text": text, "content": base64.b64encode(content).decode()}
