"""The fast path: the most frequent requests go past the framework, which documents them and would answer the same.

FastAPI's routing, dependencies and serialisation take twice as long as all that a call needs of the gateway.
"""

import re
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass

from starlette.requests import Request
from starlette.responses import Response
from starlette.types import ASGIApp, Receive, Scope, Send

from casemate.wire.protocol.function_name import NAME

CALLS = "/v1/enclaves/{id}/calls"
CALLS_BY_NAME = "/v1/functions/{name}/calls"
_CALLS = re.compile(rf"/v1/enclaves/(0|[1-9][0-9]{{0,14}})/calls|/v1/functions/({NAME})/calls", re.ASCII)


Handler = Callable[[Request], Awaitable[Response]]
CallHandler = Callable[[int | str, Request], Awaitable[Response]]
"""Given an enclave's number, or a function's name."""


@dataclass(frozen=True, slots=True)
class _Taken:
    """Stands in the scope in place of the framework's route: the request log reads its path."""

    path: str


class FastPath:
    """Wraps ``app``: these POST requests go to handlers directly; every role may make them.

    Args:
        app: answers everything else; its own routes for these paths answer alike.
        exact: handlers by path.
        call: for sealed calls.
    """

    def __init__(self, app: ASGIApp, exact: Mapping[str, Handler], call: CallHandler) -> None:
        self._app = app
        self._exact = {path: (handler, _Taken(path)) for path, handler in exact.items()}
        self._call = call
        self._taken_by_number, self._taken_by_name = _Taken(CALLS), _Taken(CALLS_BY_NAME)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """ASGI 3."""
        if scope["method"] == "POST":
            path: str = scope["path"]
            if (exact := self._exact.get(path)) is not None:
                handler, scope["route"] = exact
                response = await handler(Request(scope, receive))
                return await response(scope, receive, send)
            if (found := _CALLS.fullmatch(path)) is not None:
                number, name = found.groups()
                scope["route"] = self._taken_by_number if name is None else self._taken_by_name
                response = await self._call(name or int(number), Request(scope, receive))
                return await response(scope, receive, send)
        return await self._app(scope, receive, send)
