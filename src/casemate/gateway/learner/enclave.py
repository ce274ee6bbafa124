"""`/enclave`: the learner's form. JSON in the clear, which the operator can read; every answer says so."""

from typing import Any, TypeVar

from fastapi import APIRouter
from fastapi.exceptions import RequestValidationError
from pydantic import ValidationError
from starlette.requests import Request
from starlette.responses import Response

from casemate.gateway.http.active_requests import ActiveRequest
from casemate.gateway.http.bodies import JSON
from casemate.gateway.http.fast_path import Handler
from casemate.gateway.http.openapi import json_body, operation
from casemate.gateway.http.problems import ProblemError, Trouble
from casemate.gateway.http.routes import StrictRequest, StrictRoute
from casemate.gateway.learner.documents import (
    VISIBILITY,
    Asked,
    ComputeAnswer,
    ComputeRequest,
    EcallAnswer,
    EcallRequest,
    OcallAnswer,
    OcallRequest,
    SealAnswer,
    SealRequest,
    UnsealAnswer,
    UnsealRequest,
)
from casemate.gateway.learner.shared_enclave import SharedEnclave, its_result
from casemate.gateway.v1.documents import Document
from casemate.wire.encodings.json_text import encode_json, parse_json
from casemate.wire.messages.host import EnclaveIs
from casemate.wire.protocol.access_tokens import Role
from casemate.wire.protocol.call import MAX_OUTPUT
from casemate.wire.protocol.faults import Code

USED = (Code.UNAVAILABLE, Code.LAUNCH_REFUSED, Code.WRONG_STATE, Code.LOST, Code.BUSY, Code.TIMED_OUT, *json_body())
_CALLED = (
    *USED,
    Code.ARGUMENTS_REFUSED,
    Code.RESULT_REFUSED,
    Code.GUEST_ERROR,
    Code.FUNCTION_REFUSED,
    Code.GUEST_CRASHED,
    Code.TIME_LIMIT,
    Code.MEMORY_LIMIT,
    Code.OUTPUT_LIMIT,
    Code.OCALL_REFUSED,
)


D = TypeVar("D", bound=Document)


def learner_routes(learner: SharedEnclave) -> APIRouter:
    routes = APIRouter(route_class=StrictRoute, prefix="/enclave", tags=["learner"])
    ecall_says = operation("ecall", Role.CALL, *_CALLED, Code.UNKNOWN_ENCLAVE, Code.ENTRY_UNKNOWN)

    @routes.post("/compute", response_model=ComputeAnswer, **operation("compute", Role.CALL, *_CALLED))
    async def compute(asked: ComputeRequest, request: Request) -> Response:
        """Computes something in the learner's enclave, which is launched at its first use.

        The enclave checks the input by its measured schema. Needs a token of any role.
        """
        return await computed(learner, ActiveRequest.of(request.scope), asked)

    @routes.post(
        "/ecall",
        response_model=EcallAnswer,
        **ecall_says,
    )
    async def ecall(asked: EcallRequest, request: Request) -> Response:
        """Enters an enclave at an entry point whose manifest says `plain`. Needs a token of any role."""
        return await called(learner, ActiveRequest.of(request.scope), asked)

    @routes.post("/ocall", **operation("ocall", Role.CALL, *_CALLED))
    async def ocall(asked: OcallRequest, request: Request) -> OcallAnswer:
        """Has the learner's enclave ask its untrusted host, and shows both sides. Needs a token of any role."""
        enclave = await learner.enclave()
        with its_result():
            arguments = {"question": asked.question, "message": asked.message}
            said = await learner.members(ActiveRequest.of(request.scope), enclave, "ask_host", arguments)
            return OcallAnswer(
                **about(enclave),
                enclave_asked=Asked(ocall=asked.question, arguments=said.value("asked")),
                host_answered=said.value("answered"),
                enclave_concluded=said.text("concluded"),
            )

    @routes.post("/seal", **operation("seal", Role.CALL, *_CALLED))
    async def seal(asked: SealRequest, request: Request) -> SealAnswer:
        """Seals data with a key that only the learner's enclave (or its developer's) can derive, on this chip alone.

        Needs a token of any role.
        """
        enclave = await learner.enclave()
        with its_result():
            said = await learner.members(
                ActiveRequest.of(request.scope), enclave, "seal", {"data": asked.data, "policy": asked.policy}
            )
            return SealAnswer(**about(enclave), sealed=said.text("sealed"), policy=asked.policy)

    @routes.post("/unseal", **operation("unseal", Role.CALL, *_CALLED, Trouble.UNSEAL_REFUSED))
    async def unseal(asked: UnsealRequest, request: Request) -> UnsealAnswer:
        """Opens what `/enclave/seal` gave; nothing tells whether it is the newest. Needs a token of any role."""
        enclave, visit = await learner.enclave(), ActiveRequest.of(request.scope)
        with its_result():
            said = await learner.members(visit, enclave, "unseal", {"sealed": asked.sealed})
            if said.has("refused"):
                raise ProblemError(
                    Trouble.UNSEAL_REFUSED,
                    "the enclave does not open this: it was changed, or is no sealed text, or another enclave's or "
                    f"chip's ({said.text('refused')[:80]})",
                )
            data = parse_json("sealed data", said.text("json").encode(), limit=MAX_OUTPUT, round_integers=True)
            return UnsealAnswer(**about(enclave), data=data)

    return routes


async def computed(learner: SharedEnclave, visit: ActiveRequest, asked: ComputeRequest) -> Response:
    """The answer to ``/enclave/compute``, with or without the framework."""
    enclave = await learner.enclave()
    output = await learner.output(visit, enclave, asked.function, asked.input)
    return _with_result(about(enclave) | {"function": asked.function}, output)


async def called(learner: SharedEnclave, visit: ActiveRequest, asked: EcallRequest) -> Response:
    """The answer to ``/enclave/ecall``, with or without the framework."""
    enclave = await learner.named(asked.enclave)
    output = await learner.output(visit, enclave, asked.entry, asked.arguments)
    return _with_result(about(enclave) | {"entry": asked.entry}, output)


def shortcuts_of(learner: SharedEnclave) -> dict[str, Handler]:
    """Both, for requests that come past the framework."""

    async def compute(request: Request) -> Response:
        return await computed(learner, ActiveRequest.of(request.scope), await _body_of(request, ComputeRequest))

    async def ecall(request: Request) -> Response:
        return await called(learner, ActiveRequest.of(request.scope), await _body_of(request, EcallRequest))

    return {"/enclave/compute": compute, "/enclave/ecall": ecall}


async def _body_of(request: Request, document: type[D]) -> D:
    asked = await StrictRequest(request.scope, request.receive).json()
    try:
        return document.model_validate(asked)
    except ValidationError as error:
        wrong = [{**each, "loc": ("body", *each["loc"])} for each in error.errors()]
        raise RequestValidationError(wrong) from None


def _with_result(members: dict[str, Any], output: bytes) -> Response:
    """JSON whose last member is the function's result as it came: it has been parsed, and is not encoded anew."""
    return Response(encode_json(members)[:-1] + b',"result":' + output + b"}", media_type=JSON)


def about(enclave: EnclaveIs) -> dict[str, Any]:
    """The members that every answer has: which enclave this is, and that the operator can read the call."""
    return {
        "enclave": enclave.enclave,
        "mrenclave": enclave.mr_enclave.hex(),
        "seen_by": "operator",
        "visibility": VISIBILITY,
    }
