"""Answers HTTP requests: ``GET /`` describes the enclave, ``POST /entry/NAME`` calls an entry point.

Errors are RFC 9457 problem details. A caller proves an Ed25519 key by its client certificate in the handshake; what
that key may call is decided in :mod:`casemate.enclave.entry.calls`, as for all calls.
"""

import math
from collections.abc import Hashable
from typing import Protocol

from casemate.enclave.boot import Program
from casemate.enclave.entry.answer import Answer
from casemate.enclave.tls.http import Request, Response
from casemate.wire.encodings.json_text import Json, encode_json, parse_json
from casemate.wire.protocol.call import MAX_OUTPUT, Refusal
from casemate.wire.protocol.faults import Code, Fault, FaultError, fault
from casemate.wire.protocol.manifest import ANYONE
from casemate.wire.protocol.sandbox_layers import SandboxLayers
from casemate.wire.protocol.sandbox_layers_json import layers_document

JSON = "application/json"
PROBLEM = "application/problem+json"
ENTRY_PATH = "/entry/"

_STATUS = {
    Code.MALFORMED: 400,
    Code.ARGUMENTS_REFUSED: 422,
    Code.CALLER_REFUSED: 403,
    Code.ENTRY_UNKNOWN: 404,
    Code.BUSY: 503,
    Code.UNAVAILABLE: 503,
    Code.TIMED_OUT: 504,
    Code.TIME_LIMIT: 504,
    Code.OCALL_REFUSED: 502,
    Code.STATE_CONFLICT: 409,
    Code.STOPPED_BY_MONITOR: 409,
    Code.STATE_ROLLED_BACK: 409,
    Code.STATE_REFUSED: 409,
    Code.STATE_LIMIT: 507,
}
"""The HTTP status of a refusal. Codes that are not in here are failures of the function: 500."""

_FUNCTION_REFUSED = 422
"""The status of a function's own refusal: the request was understood, and the same one is refused again."""

_TITLES = {
    400: "Malformed", 403: "Caller refused", 404: "Not found", 405: "Method not allowed", 409: "Conflict",
    413: "Too large", 415: "Unsupported media type", 422: "Arguments refused", 500: "The call failed",
    502: "The host did not answer", 503: "Not now", 504: "Out of time", 507: "The state is full",
}  # fmt: skip


class Calling(Protocol):
    """What runs calls: :class:`casemate.enclave.entry.calls.Calls`."""

    async def call(self, name: str, arguments: bytes, public_key: bytes | None, party: Hashable) -> Answer:
        """What one call of an entry point came to; :class:`FaultError` where it is refused."""


class Answers:
    """Answers the requests of all connections."""

    def __init__(self, program: Program, layers: SandboxLayers, calls: Calling) -> None:
        manifest = program.image.manifest
        self._calls = calls
        self._entries = frozenset(entry.name for entry in manifest.entries)
        self._about = encode_json(
            {
                "name": manifest.name,
                "mrenclave": program.identity.measurement.hex(),
                "debug": program.debug,
                "layers": layers_document(layers),
                "entries": [
                    {
                        "name": entry.name,
                        "callers": "anyone" if entry.callers is ANYONE else "named",
                        "stream": entry.stream,
                    }
                    for entry in manifest.entries
                ],
            }
        )

    async def answer(self, request: Request, public_key: bytes | None, party: Hashable) -> Response:
        """The response to a request by the client with that Ed25519 key, or with none.

        ``party`` is whose call it is, for what it may meet in a guest.
        """
        if request.path == "/":
            if request.method not in {"GET", "HEAD"}:
                return _not_allowed(request, "GET, HEAD")
            return Response(200, JSON, self._about)
        return await self._call(request, public_key, party)

    async def _call(self, request: Request, public_key: bytes | None, party: Hashable) -> Response:
        name = request.path.removeprefix(ENTRY_PATH)
        if name == request.path or name not in self._entries:
            return problem(404, Code.ENTRY_UNKNOWN, f"{request.path[:128]!r} is no path here: GET / tells which are")
        if request.method != "POST":
            return _not_allowed(request, "POST")
        if request.content_type != JSON:
            return problem(415, Code.MALFORMED, f"the body is {request.content_type[:64]!r}, want {JSON}")
        try:
            said = (await self._calls.call(name, request.body, public_key, party)).said
        except FaultError as error:
            return _refusal(error.fault)
        return _refused_by_function(said) if isinstance(said, Refusal) else Response(200, JSON, said)


def problem(status: int, code: Code, detail: str, *headers: tuple[str, str]) -> Response:
    """A refusal as problem details (RFC 9457)."""
    return Response(status, PROBLEM, encode_json(_members(status, code, detail)), headers)


def _members(status: int, code: Code, detail: str) -> dict[str, Json]:
    return {
        "type": f"urn:casemate:problem:{code}",
        "title": _TITLES.get(status, "Refused"),
        "status": status,
        "detail": detail,
        "code": code.value,
    }


def _refused_by_function(refusal: Refusal) -> Response:
    """Problem details with a member ``error`` more: the function's own refusal."""
    details: Json = parse_json("details", refusal.details, limit=MAX_OUTPUT)
    members = _members(_FUNCTION_REFUSED, Code.FUNCTION_REFUSED, refusal.reason) | {
        "title": "The function refuses",
        "error": {"code": refusal.code, "reason": refusal.reason, "details": details},
    }
    return Response(_FUNCTION_REFUSED, PROBLEM, encode_json(members))


def defect() -> Response:
    """The answer to a request that met a defect of the enclave's."""
    return _refusal(fault(Code.INTERNAL, "a defect of the enclave's; nothing more is told"))


def _refusal(refused: Fault) -> Response:
    later = (("retry-after", str(math.ceil(refused.retry_ms / 1000))),) if refused.retry_ms else ()
    return problem(_STATUS.get(refused.code, 500), refused.code, refused.reason, *later)


def _not_allowed(request: Request, allowed: str) -> Response:
    return problem(
        405, Code.MALFORMED, f"{request.method[:32]} is not for {request.path}: {allowed}", ("allow", allowed)
    )
