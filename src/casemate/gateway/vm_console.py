"""`/v1/vms/{id}/console`: what a guest prints, in one piece or as server-sent events."""

import asyncio
import base64
import re
from collections.abc import AsyncIterator
from typing import Annotated, Any

from fastapi import APIRouter, Header, Query
from starlette.responses import StreamingResponse

from casemate.gateway.events import EVENT_STREAM, KEEP_ALIVE, encoded, served
from casemate.gateway.house import VmHouse
from casemate.gateway.openapi import operation
from casemate.gateway.parameters import VmId
from casemate.gateway.problems import ProblemError, Trouble
from casemate.gateway.routes import StrictRoute
from casemate.gateway.vm_asking import ask
from casemate.gateway.vm_documents import MAX_SAFE, ConsoleDocument, printed
from casemate.gateway.vms import ONE
from casemate.host.hypervisor.console import Console
from casemate.wire.access_tokens import Role
from casemate.wire.messages.vms import ConsoleIs, ReadConsole

GATHER = 0.05
"""Seconds for which bytes are gathered into one event: a guest prints them one by one."""

PIECE = 16 * 1024
"""Most bytes of one event."""

_OFFSET = re.compile(r"\d{1,15}", re.ASCII)
_ABOUT = """\
Server-sent events: a `console` for each piece that the guest prints, `{"start": ..., "text": ..., "content": ...}`,
whose id is the number of the next byte; `Last-Event-ID` goes on from there. The last 256 KiB are kept: `gap` says how
many bytes were forgotten before this reader came to them. `end` is the last: the VM is gone, or the gateway is about
to end. Needs a token of any role.
"""

Start = Annotated[int, Query(ge=0, le=MAX_SAFE, description="The number of the first byte that is wanted.")]


class ConsoleStreams:
    """All who follow consoles."""

    def __init__(self, vms: VmHouse, *, most: int) -> None:
        self._vms = vms
        self._most = most
        self._readers = 0
        self._closing = asyncio.Event()

    def close(self) -> None:
        """Ends every stream, so that none holds up the end of the process."""
        self._closing.set()

    def open(self, number: int, start: int) -> AsyncIterator[bytes]:
        """One reader's stream, from byte ``start`` on; FaultError where there is no such VM."""
        console = self._vms.console(number)
        if self._readers >= self._most:
            raise ProblemError(Trouble.RATE_LIMITED, f"{self._readers} readers follow consoles already")
        return self._follow(console, start)

    async def _follow(self, console: Console, start: int) -> AsyncIterator[bytes]:
        self._readers += 1  # here and not in `open`: what is never begun has no end, either
        at = min(start, console.end)
        try:
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
        finally:
            self._readers -= 1

    async def _news(self, console: Console, at: int) -> bool:
        """Waits for more, or the end; false where nothing has come for a while."""
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


def console_routes(vms: VmHouse, streams: ConsoleStreams) -> APIRouter:
    """The routes."""
    routes = APIRouter(route_class=StrictRoute, prefix="/v1/vms/{id}/console", tags=["vms"])

    @routes.get("", **operation("read_vm_console", Role.CALL, *ONE))
    async def read(id: VmId, start: Start = 0) -> ConsoleDocument:  # noqa: A002 - the path's own word
        """What a guest has printed, from a byte on: at most 64 KiB of it. Needs a token of any role."""
        return printed(await ask(vms, ReadConsole(id, start), ConsoleIs))

    says = operation("follow_vm_console", Role.CALL, *ONE)
    says["responses"][200] = {"description": "Events, until either side ends.", "content": {EVENT_STREAM: {}}}

    @routes.get("/events", response_class=StreamingResponse, description=_ABOUT, **says)
    async def follow(
        id: VmId,  # noqa: A002 - the path's own word
        start: Start = 0,
        last_event_id: Annotated[str | None, Header(description="The id of the last event that was read.")] = None,
    ) -> StreamingResponse:
        found = None if last_event_id is None else _OFFSET.fullmatch(last_event_id)
        return served(streams.open(id, start if found is None else int(found[0])))

    return routes


def _piece(first: int, content: bytes) -> dict[str, object]:
    text = content.decode(errors="replace")
    return {"start": first, "text": text, "content": base64.b64encode(content).decode()}
