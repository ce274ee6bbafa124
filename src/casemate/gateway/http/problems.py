"""Refusals over HTTP as problem details (RFC 9457): one status and one code for each reaction a caller can have."""

import json
from collections.abc import Mapping
from enum import StrEnum
from http import HTTPStatus
from typing import TypedDict

from starlette.exceptions import HTTPException
from starlette.responses import Response
from starlette.types import Scope

from casemate.wire.encodings.json_text import Json
from casemate.wire.protocol.faults import Code

MEDIA_TYPE = "application/problem+json"
TYPE_PREFIX = "urn:casemate:problem:"

MAX_DETAIL = 2048
"""Longest words of a refusal (characters)."""


class Refused(TypedDict):
    """A function's own refusal, as the manifest declares it."""

    code: str
    reason: str
    details: Json


class Trouble(StrEnum):
    """The codes of the gateway's own refusals; those of the host are :class:`casemate.wire.protocol.faults.Code`."""

    BODY_TOO_LARGE = "body-too-large"
    BODY_TOO_SLOW = "body-too-slow"  # the request's body arrived at less than the slowest rate that is waited for
    HOST_REFUSED = "host-refused"  # the Host header names another machine (DNS rebinding)
    IDEMPOTENCY_CONFLICT = "idempotency-conflict"  # the key was used with another request
    MEDIA_TYPE_REFUSED = "media-type-refused"
    METHOD_REFUSED = "method-refused"
    NOT_ACCEPTABLE = "not-acceptable"
    NOT_FOUND = "not-found"  # the gateway has no such path
    ORIGIN_REFUSED = "origin-refused"  # a browser's preflight from a page that was not let in
    RATE_LIMITED = "rate-limited"
    REQUEST_REFUSED = "request-refused"  # parameters or JSON body are not as the OpenAPI document says
    ROLE_REFUSED = "role-refused"  # the token is valid, but its role does not allow this
    TOKEN_UNKNOWN = "token-unknown"  # noqa: S105 - a code
    TOKEN_WANTED = "token-wanted"  # noqa: S105 - a code
    VERSION_REFUSED = "version-refused"  # the request is of another version of HTTP than 1.0 or 1.1
    UNSEAL_REFUSED = "unseal-refused"  # no sealed text, a changed one, or one of another enclave


STATUS: Mapping[Code | Trouble, int] = {
    Code.MALFORMED: 400,
    Code.LAUNCH_REFUSED: 422,
    Code.UNKNOWN_ENCLAVE: 404,
    Code.UNKNOWN_IMAGE: 404,
    Code.WRONG_STATE: 409,
    Code.LOST: 503,
    Code.BUSY: 429,
    Code.TIMED_OUT: 504,
    Code.CANNOT_OPEN: 409,
    Code.SESSION_UNKNOWN: 409,
    Code.SEQUENCE_USED: 409,
    Code.ENTRY_UNKNOWN: 404,
    Code.CALLER_REFUSED: 403,
    Code.ARGUMENTS_REFUSED: 422,
    Code.RESULT_REFUSED: 502,
    Code.GUEST_ERROR: 422,  # most functions throw at arguments: a program must not try again as after a 5xx
    Code.FUNCTION_REFUSED: 422,
    Code.GUEST_CRASHED: 502,
    Code.TIME_LIMIT: 422,
    Code.MEMORY_LIMIT: 422,
    Code.OUTPUT_LIMIT: 422,
    Code.PEER_REFUSED: 502,
    Code.CALL_CYCLE: 508,
    Code.CALL_DEPTH: 508,
    Code.OCALL_REFUSED: 502,
    Code.REPORT_REFUSED: 502,
    Code.INTERNAL: 500,
    Code.STATE_ROLLED_BACK: 409,
    Code.STATE_REFUSED: 409,
    Code.STATE_CONFLICT: 409,
    Code.STATE_LIMIT: 422,
    Code.STOPPED_BY_MONITOR: 409,
    Code.STREAM_UNKNOWN: 404,
    Code.UNKNOWN_VM: 404,
    Code.FIRMWARE_REFUSED: 422,
    Code.RMP_FAULT: 409,
    Code.UNAVAILABLE: 503,
    Trouble.BODY_TOO_LARGE: 413,
    Trouble.BODY_TOO_SLOW: 408,
    Trouble.HOST_REFUSED: 421,
    Trouble.IDEMPOTENCY_CONFLICT: 422,
    Trouble.MEDIA_TYPE_REFUSED: 415,
    Trouble.METHOD_REFUSED: 405,
    Trouble.NOT_ACCEPTABLE: 406,
    Trouble.NOT_FOUND: 404,
    Trouble.ORIGIN_REFUSED: 403,
    Trouble.RATE_LIMITED: 429,
    Trouble.REQUEST_REFUSED: 422,
    Trouble.ROLE_REFUSED: 403,
    Trouble.TOKEN_UNKNOWN: 401,
    Trouble.TOKEN_WANTED: 401,
    Trouble.VERSION_REFUSED: 505,
    Trouble.UNSEAL_REFUSED: 422,
}
"""The table in docs/gateway.md."""

RETRY_AFTER = "1"
"""Seconds after which what was busy or lost may be asked again."""

_RETRY = (429, 503)


class ProblemError(HTTPException):
    """A refusal with its code. It is an ``HTTPException`` because the framework passes those through."""

    def __init__(self, code: Code | Trouble, detail: str, *, headers: Mapping[str, str] | None = None) -> None:
        super().__init__(STATUS[code], detail, headers)
        self.code = code


class FunctionProblemError(ProblemError):
    """A function's own refusal of a call in the clear: the problem document has it as its member ``error``.

    Args:
        error: the declared error's code and reason, and the details that go with it.
    """

    def __init__(self, error: Refused) -> None:
        super().__init__(Code.FUNCTION_REFUSED, error["reason"])
        self.error = error


def problem_response(
    scope: Scope,
    code: Code | Trouble,
    detail: str,
    *,
    headers: Mapping[str, str] | None = None,
    error: Refused | None = None,
) -> Response:
    """The answer that refuses a request. It repeats nothing of the request but its path and number.

    Args:
        scope: the request's.
        code: why.
        detail: the same for people.
        headers: of the answer, besides its own.
        error: the function's, where it is the function that refuses.
    """
    status = STATUS[code]
    request_id = scope["state"]["request_id"]
    text = problem_text(code, detail, path=scope.get("raw_path", b"/"), request_id=request_id, error=error)
    said = {} if headers is None else dict(headers)
    if status in _RETRY:
        said.setdefault("Retry-After", RETRY_AFTER)
    return Response(
        text,
        status,
        headers=said,
        media_type=MEDIA_TYPE,
    )


def problem_text(
    code: Code | Trouble, detail: str, *, path: bytes, request_id: str, error: Refused | None = None
) -> bytes:
    """The problem document as JSON."""
    status = STATUS[code]
    document: dict[str, object] = {
        "type": f"{TYPE_PREFIX}{code}",
        "title": HTTPStatus(status).phrase,
        "status": status,
        "detail": detail[:MAX_DETAIL],
        "code": str(code),
        "instance": path.decode("ascii", "replace")[:MAX_DETAIL],
        "request_id": request_id,
    }
    if error is not None:
        document["error"] = error
    return json.dumps(document, separators=(",", ":")).encode("utf-8", "replace")
