"""How errors are answered: one mapping from exceptions to problem details."""

import math
from collections.abc import Iterable, Mapping

from fastapi import APIRouter, FastAPI
from fastapi.exceptions import RequestValidationError
from starlette.exceptions import HTTPException
from starlette.requests import ClientDisconnect, Request
from starlette.responses import Response
from starlette.routing import Route
from starlette.types import Receive, Scope, Send

from casemate.gateway.http.problems import FunctionProblemError, ProblemError, Trouble, problem_response
from casemate.wire.errors import CasemateError, WireError
from casemate.wire.protocol.faults import Code, Fault, FaultError
from casemate.wire.protocol.lifecycle import WrongStateError

_METHOD_NOT_ALLOWED = 405
_FRAMEWORK_WORDS: Mapping[int, Trouble] = {
    404: Trouble.NOT_FOUND,
    405: Trouble.METHOD_REFUSED,
    413: Trouble.BODY_TOO_LARGE,
    415: Trouble.MEDIA_TYPE_REFUSED,
}


def _told(
    error: Exception,
) -> tuple[Code | Trouble, str, Mapping[str, str] | None]:
    match error:
        case ProblemError():
            return error.code, error.detail, error.headers
        case FaultError() if error.fault.code is not Code.INTERNAL:
            return error.fault.code, error.fault.reason, _retry_after(error.fault)
        case WireError():
            return Code.MALFORMED, str(error), None
        case WrongStateError():
            return Code.WRONG_STATE, str(error), None
        case RequestValidationError():
            return Trouble.REQUEST_REFUSED, _what_is_wrong(error), None
        case HTTPException() if error.status_code in _FRAMEWORK_WORDS:
            return _FRAMEWORK_WORDS[error.status_code], error.detail, error.headers
        case HTTPException():
            return Trouble.REQUEST_REFUSED, error.detail, error.headers
        case FaultError():
            said = f"what lies behind the gateway failed: {error.fault.reason}"
            return Code.INTERNAL, f"{said}; the gateway's log has a line under this request's number", None
        case _:
            return Code.INTERNAL, "a defect of the gateway's; its log tells more under this request's number", None


def _retry_after(fault: Fault) -> Mapping[str, str] | None:
    """The header that says when to try again, where the fault does."""
    return {"Retry-After": str(math.ceil(fault.retry_ms / 1000))} if fault.retry_ms else None


def _what_is_wrong(error: RequestValidationError) -> str:
    """The place and reason of a body's refusal, without its values, which may be secrets."""
    found = [f"{'.'.join(str(part) for part in wrong['loc'])}: {wrong['msg']}" for wrong in error.errors()]
    return "; ".join(found[:8])


def refusal(scope: Scope, error: Exception) -> Response:
    """The answer to a request that ended in ``error``; the request log gets the code, and the trace of a defect."""
    code, detail, headers = _told(error)
    scope["state"]["code"] = str(code)
    if code is Code.INTERNAL:
        scope["state"]["error"] = error
    refused = error.error if isinstance(error, FunctionProblemError) else None
    return problem_response(scope, code, detail, headers=headers, error=refused)


def refuse_alike(app: FastAPI, routers: Iterable[APIRouter]) -> None:
    """Gives the app's and the framework's own refusals the same form.

    Args:
        app: whose errors these are.
        routers: all of its routes: Allow names the methods of every route of a path, not those of its first alone.
    """
    methods: dict[str, set[str]] = {}
    for router in routers:
        for route in router.routes:
            if isinstance(route, Route):
                methods.setdefault(route.path, set()).update(route.methods or ())

    async def refuse(request: Request, error: Exception) -> Response:
        answer = refusal(request.scope, error)
        if answer.status_code == _METHOD_NOT_ALLOWED:
            path = str(getattr(request.scope.get("route"), "path", ""))
            allowed = methods.get(path, {"GET"})
            answer.headers["Allow"] = ", ".join(sorted(allowed | ({"HEAD"} if "GET" in allowed else set())))
        return answer

    async def fall_silent(_request: Request, _error: Exception) -> Response:
        return _Nothing()

    app.add_exception_handler(ClientDisconnect, fall_silent)
    for kind in (HTTPException, RequestValidationError, CasemateError, Exception):
        app.add_exception_handler(kind, refuse)


class _Nothing(Response):
    """The answer to a client that has gone: nothing is sent."""

    async def __call__(self, _scope: Scope, _receive: Receive, _send: Send) -> None:
        return
