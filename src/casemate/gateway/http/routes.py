"""Routes that check the role first, and read JSON bodies by the rules that the enclave applies, too."""

from collections.abc import Callable, Coroutine
from typing import Any

from fastapi.routing import APIRoute
from starlette.requests import Request
from starlette.responses import Response

from casemate.gateway.http.bodies import JSON, MAX_JSON, read_body
from casemate.gateway.http.problems import ProblemError, Trouble
from casemate.gateway.http.roles import check_role, needed_role
from casemate.wire.encodings.json_text import parse_json
from casemate.wire.errors import WireError


class StrictRequest(Request):
    """A request whose JSON body must be I-JSON (RFC 7493)."""

    async def body(self) -> bytes:
        """The body, ``application/json`` of at most :data:`MAX_JSON` bytes."""
        if not hasattr(self, "_body"):
            self._body = await read_body(self, media_type=JSON, limit=MAX_JSON)
        return self._body

    async def json(self) -> Any:
        try:
            return parse_json("body", await self.body(), limit=MAX_JSON)
        except WireError as error:
            raise ProblemError(Trouble.REQUEST_REFUSED, str(error)) from None


class StrictRoute(APIRoute):
    """A route that checks the token's role before anything else, and reads JSON bodies strictly."""

    def get_route_handler(self) -> Callable[[Request], Coroutine[Any, Any, Response]]:
        """Wraps FastAPI's handler: role, query and strict body come first."""
        answer = super().get_route_handler()
        needed = needed_role(self.openapi_extra)

        async def strict(request: Request) -> Response:
            if needed is not None:
                check_role(request.scope["state"]["token"], needed)
            _check_query(request)
            return await answer(StrictRequest(request.scope, request.receive))

        return strict


def _check_query(request: Request) -> None:
    """Refuses a query that gives a parameter twice: readers differ on which one counts."""
    if b"&" in request.scope["query_string"]:
        names = [name for name, _ in request.query_params.multi_items()]
        if len(set(names)) != len(names):
            raise ProblemError(Trouble.REQUEST_REFUSED, "a parameter of the query is given twice")
