"""The HTTP requests behind one request to a host: how each is sent, which are sent again, what a refusal means.

Pure: generators yield requests and pauses and are sent answers; :mod:`casemate.client.http_transport` carries them, and
:mod:`casemate.client.rest` has the generators.

**What is sent twice.** A request that surely was not delivered, since no connection came to be, is tried again; so is
one that changes nothing, or nothing a second time (``is_repeatable``), when its answer was lost or the gateway asks for
patience. A sealed call is never sent again: its sequence number is used, and it may have had its effect.
"""

from collections.abc import Callable, Generator
from dataclasses import dataclass
from typing import Any, TypeVar

from casemate.client.errors import (
    GatewayBusyError,
    GatewayRefusedError,
    NoHostError,
    RoleRefusedError,
    TokenRefusedError,
)
from casemate.link.errors import PeerGoneError
from casemate.wire.encodings.json_object import JsonObject, parse_object
from casemate.wire.errors import WireError
from casemate.wire.messages.request import Request
from casemate.wire.messages.verbs import Route, target
from casemate.wire.protocol.faults import Code, FaultError, fault

BINARY = "application/octet-stream"
JSON = "application/json"
PROBLEM = "application/problem+json"
"""RFC 9457."""

MAX_JSON = 4 * 1024 * 1024
"""Longest JSON answer (bytes): a list of the 1024 enclaves that a host keeps account of takes some 500 KiB."""

MAX_PROBLEM = 64 * 1024
"""Longest answer to a request that failed (bytes)."""

MAX_ATTEMPTS = 4
"""Most times that one request is sent."""

FIRST_PAUSE = 0.1
"""Seconds before the second attempt; twice as long before each further one."""

LONGEST_PAUSE = 10.0
"""Most seconds that a gateway may ask to wait; a longer wait is the caller's decision."""

_UNAUTHORISED, _FORBIDDEN, _TOO_MANY, _UNAVAILABLE = 401, 403, 429, 503
_LONGEST_SHOWN = 500
"""Characters of a gateway's words in an error."""

T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class HttpRequest:
    """A request to a path below the gateway's URL."""

    method: str
    path: str
    accept: str = JSON
    body: bytes | None = None
    body_type: str = JSON
    idempotency_key: str | None = None
    """draft-ietf-httpapi-idempotency-key-header: the gateway does it once, however often it is sent."""
    is_repeatable: bool = False
    limit: int = MAX_JSON
    """Longest good answer accepted (bytes)."""


@dataclass(frozen=True, slots=True)
class HttpAnswer:
    """A gateway's answer."""

    status: int
    media_type: str
    """Without parameters, in lower case."""
    retry_after: str | None
    body: bytes


@dataclass(frozen=True, slots=True)
class Pause:
    """Wait before the next attempt."""

    seconds: float


Effect = HttpRequest | Pause
Exchange = Generator[Effect, Any, T]
"""Yields what to do: is sent an :class:`HttpAnswer` for a request and None for a pause, and thrown what went wrong."""


def sent_to(route: Route, request: Request[Any], **more: Any) -> HttpRequest:
    """The HTTP request that the table of verbs makes of a host's request; ``more`` are members that it does not say."""
    return HttpRequest(route.method, target(route, request), is_repeatable=route.method == "GET", **more)


def sent(request: HttpRequest, remaining: Callable[[], float]) -> Exchange[HttpAnswer]:
    """The answer to a request that is sent again where that is safe."""
    pause = FIRST_PAUSE
    for attempts_left in reversed(range(MAX_ATTEMPTS)):
        wait = pause
        try:
            answer: HttpAnswer = yield request
        except PeerGoneError as error:
            is_safe = request.is_repeatable or isinstance(error, NoHostError)
            if not is_safe or not attempts_left or wait >= remaining():
                raise
        else:
            if not (request.is_repeatable and attempts_left and answer.status in (_TOO_MANY, _UNAVAILABLE)):
                return answer
            wait = _patience(answer.retry_after)
            if wait > LONGEST_PAUSE or wait >= remaining():
                return answer
        yield Pause(wait)
        pause *= 2
    raise AssertionError("the last attempt returns or raises")  # pragma: no cover


def _patience(retry_after: str | None) -> float:
    """Seconds to wait; infinite where the gateway gives no number, since it gives one where trying again helps."""
    seconds = _seconds(retry_after)
    return float("inf") if seconds is None else max(seconds, FIRST_PAUSE)


def _seconds(retry_after: str | None) -> float | None:
    """The seconds that ``Retry-After`` says; None where it says none."""
    if retry_after is None or not retry_after.isascii() or not retry_after.isdigit() or len(retry_after) > 6:
        return None
    return float(retry_after)


def good(request: HttpRequest, answer: HttpAnswer) -> HttpAnswer:
    """The answer, if its status is 200 or 201 and its type is the wanted one."""
    if answer.status >= 400:
        raise refusal(answer)
    if answer.status not in (200, 201):
        got = f"{answer.status}, a redirect" if 300 <= answer.status < 400 else answer.status
        raise WireError("HTTP status", got=got, want="200 or 201: redirects are not followed")
    if answer.media_type != request.accept:
        raise WireError("HTTP Content-Type", got=repr(answer.media_type[:80]), want=request.accept)
    return answer


_REFUSALS: dict[int, type[GatewayRefusedError]] = {
    _UNAUTHORISED: TokenRefusedError,
    _FORBIDDEN: RoleRefusedError,
    _TOO_MANY: GatewayBusyError,
    _UNAVAILABLE: GatewayBusyError,
}


def refusal(answer: HttpAnswer) -> FaultError | GatewayRefusedError:
    """The error in a problem document (RFC 9457), or the best that can be said without one."""
    status, code, detail, request_id = answer.status, "", "", ""
    if answer.media_type == PROBLEM:
        try:
            body = parse_object("problem", answer.body, limit=MAX_PROBLEM)
            code, detail, request_id = (_word(body, name) for name in ("code", "detail", "request_id"))
            detail = detail or _word(body, "title")
        except WireError:
            code = ""
    if code in Code.__members__.values():
        return FaultError(fault(Code(code), detail, retry_after=_seconds(answer.retry_after) or 0.0))
    kind = _REFUSALS.get(status, GatewayRefusedError)
    return kind(status, code, detail or "no problem document: is a gateway of Casemate's there?", request_id)


def _word(body: JsonObject, name: str) -> str:
    return body.text(name)[:_LONGEST_SHOWN] if body.has(name) else ""


def object_of(what: str, answer: HttpAnswer) -> JsonObject:
    """The JSON object that an answer holds."""
    return parse_object(what, answer.body, limit=MAX_JSON)


def asked_for(request: HttpRequest, remaining: Callable[[], float]) -> Exchange[HttpAnswer]:
    """The good answer to a request, sent as often as is safe; else the error for what it is."""
    return good(request, (yield from sent(request, remaining)))
