"""The gateway's REST API: how each question becomes HTTP requests, and what their answers mean.

Pure: :func:`exchanges` yields requests and pauses and is sent answers; :mod:`casemate.client.http_transport` carries
them. One table, :data:`WRITTEN`, holds all of it for both clients.

**What is sent twice.** A request that surely was not delivered, since no connection came to be, is tried again; so is
one that changes nothing, or nothing a second time (``is_repeatable``), when its answer was lost or the gateway asks for
patience. A sealed call is never sent again: its sequence number is used, and it may have had its effect.
"""

import hashlib
import secrets
from collections.abc import Callable, Generator
from dataclasses import dataclass
from typing import Any, TypeVar, cast

from casemate.client.asking import Ask, GetMachine, MachineDescription
from casemate.client.errors import (
    GatewayBusyError,
    GatewayRefusedError,
    NoHostError,
    RoleRefusedError,
    TokenRefusedError,
)
from casemate.link.errors import PeerGoneError
from casemate.wire.call import MAX_SEALED
from casemate.wire.errors import WireError
from casemate.wire.faults import Code, FaultError, fault
from casemate.wire.json_object import JsonObject, parse_object
from casemate.wire.json_text import MAX_INTEGER, encode_json
from casemate.wire.lifecycle import State
from casemate.wire.message import encode_message, parse_message
from casemate.wire.messages import host
from casemate.wire.pem import parse_chain

BINARY = "application/octet-stream"
JSON = "application/json"
PROBLEM = "application/problem+json"
"""RFC 9457."""

MAX_JSON = 4 * 1024 * 1024
"""Longest JSON answer (bytes): a list of the 1024 enclaves that a host keeps account of takes some 500 KiB."""

MAX_PROBLEM = 64 * 1024
"""Longest answer to a request that failed (bytes)."""

MAX_EVIDENCE = 2 * 1024 * 1024
"""Longest evidence (bytes): a quote, and collateral of up to 1 MiB."""

MAX_ATTEMPTS = 4
"""Most times that one request is sent."""

FIRST_PAUSE = 0.1
"""Seconds before the second attempt; twice as long before each further one."""

LONGEST_PAUSE = 10.0
"""Most seconds that a gateway may ask to wait; a longer wait is the caller's decision."""

_MAX_ENCLAVES = 65_536
_UNAUTHORISED, _FORBIDDEN, _NOT_FOUND, _TOO_MANY, _UNAVAILABLE = 401, 403, 404, 429, 503
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
    """What came back."""

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


def exchanges(ask: Ask[T], remaining: Callable[[], float]) -> Exchange[T]:
    """All that one question takes.

    Args:
        ask: the question.
        remaining: seconds that are left for it.

    Raises:
        FaultError: the host refuses.
        GatewayRefusedError: the gateway does, for a reason of its own.
        WireError: an answer is malformed, too long, of another type, or a redirect.
        CasemateError: what was thrown in, where there is nothing safe to do about it.
    """
    answer = yield from WRITTEN[type(ask.question)](ask.question, remaining)
    return cast("T", answer)


def _launch(question: host.Launch, remaining: Callable[[], float]) -> Exchange[host.Launched]:
    """Puts the image, unless the gateway has it, and launches it once, however often that is sent."""
    digest = hashlib.sha256(question.sgxs)
    digest.update(question.sigstruct)
    image = digest.hexdigest()
    asked = HttpRequest("GET", f"/v1/images/{image}", is_repeatable=True)
    known = yield from _sent(asked, remaining)
    if known.status == _NOT_FOUND:
        body = encode_message(host.PutImage(question.name, question.sgxs, question.sigstruct))
        put = HttpRequest("POST", "/v1/images", body=body, body_type=BINARY, is_repeatable=True)
        kept = _object("image", _good(put, (yield from _sent(put, remaining))))
        if kept.text("image") != image:
            raise WireError("image", got="another image's name", want=image)
        del body, put  # as long as the image itself
    else:
        _good(asked, known)
    wanted = encode_json({"image": image, "name": question.name})
    made = HttpRequest("POST", "/v1/enclaves", body=wanted, idempotency_key=secrets.token_hex(16), is_repeatable=True)
    shown = _enclave(_object("enclave", _good(made, (yield from _sent(made, remaining)))))
    return host.Launched(shown.enclave, shown.mr_enclave)


def _evidence(question: host.GetEvidence, remaining: Callable[[], float]) -> Exchange[host.EvidenceIs]:
    path = f"/v1/enclaves/{question.enclave}/evidence?nonce={question.nonce.hex()}"
    request = HttpRequest("GET", path, accept=BINARY, is_repeatable=True, limit=MAX_EVIDENCE)
    answer = _good(request, (yield from _sent(request, remaining)))
    return parse_message(answer.body, host.EvidenceIs)


def _call(question: host.Call, remaining: Callable[[], float]) -> Exchange[host.Answer]:
    path = f"/v1/enclaves/{question.enclave}/calls"
    body = encode_message(question.envelope)
    request = HttpRequest("POST", path, accept=BINARY, body=body, body_type=BINARY, limit=MAX_SEALED)
    answer = _good(request, (yield from _sent(request, remaining)))
    return host.Answer(answer.body)


def _list(_question: host.ListEnclaves, remaining: Callable[[], float]) -> Exchange[host.EnclavesAre]:
    request = HttpRequest("GET", "/v1/enclaves", is_repeatable=True)
    body = _object("enclaves", _good(request, (yield from _sent(request, remaining))))
    return host.EnclavesAre(tuple(_enclave(each) for each in body.children("enclaves", limit=_MAX_ENCLAVES)))


def _start(question: host.StartEnclave, remaining: Callable[[], float]) -> Exchange[host.EnclaveIs]:
    return (yield from _lever(HttpRequest("POST", f"/v1/enclaves/{question.enclave}/start"), remaining))


def _stop(question: host.StopEnclave, remaining: Callable[[], float]) -> Exchange[host.EnclaveIs]:
    return (yield from _lever(HttpRequest("POST", f"/v1/enclaves/{question.enclave}/stop"), remaining))


def _destroy(question: host.DestroyEnclave, remaining: Callable[[], float]) -> Exchange[host.EnclaveIs]:
    return (yield from _lever(HttpRequest("DELETE", f"/v1/enclaves/{question.enclave}"), remaining))


def _lever(request: HttpRequest, remaining: Callable[[], float]) -> Exchange[host.EnclaveIs]:
    return _enclave(_object("enclave", _good(request, (yield from _sent(request, remaining)))))


def _machine(_question: GetMachine, remaining: Callable[[], float]) -> Exchange[MachineDescription]:
    request = HttpRequest("GET", "/v1/machine", is_repeatable=True)
    body = _object("machine", _good(request, (yield from _sent(request, remaining))))
    chain = parse_chain("machine.root_certificate", body.text("root_certificate").encode())
    if len(chain) != 1:
        raise WireError("machine.root_certificate", got=f"{len(chain)} certificates", want="the root's alone")
    return MachineDescription(
        platform=body.text("platform"),
        runtime_digest=body.hexadecimal("runtime_digest", 32),
        seeded=body.flag("seeded"),
        root_certificate=chain[0].der,
        version=body.text("version"),
    )


WRITTEN: dict[type, Callable[[Any, Callable[[], float]], Exchange[object]]] = {
    host.Launch: _launch,
    host.GetEvidence: _evidence,
    host.Call: _call,
    host.ListEnclaves: _list,
    host.StartEnclave: _start,
    host.StopEnclave: _stop,
    host.DestroyEnclave: _destroy,
    GetMachine: _machine,
}
"""Each question's HTTP."""


def _sent(request: HttpRequest, remaining: Callable[[], float]) -> Exchange[HttpAnswer]:
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
    """Seconds to wait; without a number of them, which a gateway gives where trying again has a point: for ever."""
    if retry_after is None or not retry_after.isascii() or not retry_after.isdigit() or len(retry_after) > 6:  # noqa: PLR2004 - a week is enough
        return float("inf")
    return max(float(retry_after), FIRST_PAUSE)


def _good(request: HttpRequest, answer: HttpAnswer) -> HttpAnswer:
    """The answer, if it is a good one of the right type."""
    if answer.status >= 400:  # noqa: PLR2004 - client and server errors
        raise refusal(answer)
    if answer.status not in (200, 201):
        got = f"{answer.status}, a redirect" if 300 <= answer.status < 400 else answer.status  # noqa: PLR2004
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
        return FaultError(fault(Code(code), detail))
    kind = _REFUSALS.get(status, GatewayRefusedError)
    return kind(status, code, detail or "no problem document: is a gateway of Casemate's there?", request_id)


def _word(body: JsonObject, name: str) -> str:
    return body.text(name)[:_LONGEST_SHOWN] if body.has(name) else ""


def _object(what: str, answer: HttpAnswer) -> JsonObject:
    return parse_object(what, answer.body, limit=MAX_JSON)


def _enclave(body: JsonObject) -> host.EnclaveIs:
    """One enclave; members that this version does not know are a later gateway's."""
    try:
        state = State(body.text("state"))
    except ValueError:
        raise WireError("enclave.state", got="another word", want=" or ".join(State)) from None
    return host.EnclaveIs(
        enclave=body.uint("id", MAX_INTEGER),
        name=body.text("name"),
        mr_enclave=body.hexadecimal("mr_enclave", 32),
        mr_signer=body.hexadecimal("mr_signer", 32),
        isv_prod_id=body.uint("isv_prod_id", 0xFFFF),
        isv_svn=body.uint("isv_svn", 0xFFFF),
        debug=body.flag("debug"),
        state=state,
        reason=body.text("reason"),
        image=body.hexadecimal("image", 32),
    )
