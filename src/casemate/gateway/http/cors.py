"""Cross-origin requests: pages of other servers are let in by their exact origin.

The Fetch standard, section 3.3 (CORS protocol). Credentials are never allowed: a token goes in a header that the page
sets, so no cookie of anybody's can speak for a page.
"""

from starlette.datastructures import Headers
from starlette.responses import Response
from starlette.types import Message, Scope, Send

from casemate.gateway.http.problems import ProblemError, Trouble

_METHODS = "GET, POST, DELETE"
_HEADERS = "Accept, Authorization, Content-Type, Idempotency-Key, Last-Event-ID, X-Request-Id"
_EXPOSED = "Retry-After, X-Request-Id, WWW-Authenticate"
_MAX_AGE = "600"
"""Seconds for which a browser may remember a preflight's answer."""


class Cors:
    """Lets pages of ``origins`` in. Without origins it answers no preflight and adds no header."""

    def __init__(self, origins: frozenset[str]) -> None:
        self._origins = origins

    def preflight(self, scope: Scope) -> Response | None:
        """The answer to a browser's preflight request; None for any other request.

        Which origin it is for, :meth:`sender` adds, as to every answer.

        Raises:
            ProblemError: the page's origin is not let in.
        """
        if scope["method"] != "OPTIONS":
            return None
        headers = Headers(scope=scope)
        origin = headers.get("origin")
        if origin is None or "access-control-request-method" not in headers:
            return None
        if origin not in self._origins:
            raise ProblemError(Trouble.ORIGIN_REFUSED, f"pages of {origin[:80]!r} are not let in; --cors-origin does")
        allowed = {
            "Access-Control-Allow-Methods": _METHODS,
            "Access-Control-Allow-Headers": _HEADERS,
            "Access-Control-Max-Age": _MAX_AGE,
        }
        if headers.get("access-control-request-private-network") == "true":
            allowed["Access-Control-Allow-Private-Network"] = "true"
        return Response(status_code=204, headers=allowed)

    def sender(self, scope: Scope, send: Send) -> Send:
        """Wraps ``send``: adds the headers that let the page read the answer."""
        if not self._origins:
            return send
        origin = Headers(scope=scope).get("origin")
        added = [(b"vary", b"Origin")]
        if origin in self._origins:
            added += [
                (b"access-control-allow-origin", origin.encode("latin-1")),
                (b"access-control-expose-headers", _EXPOSED.encode()),
            ]

        async def send_with_headers(message: Message) -> None:
            if message["type"] == "http.response.start":
                message["headers"] = [*message.get("headers", ()), *added]
            await send(message)

        return send_with_headers
