"""Routes for evidence, collateral and sealed calls, whose content the gateway cannot read.

Evidence and calls are asked of an enclave by its number, or of a function by its name. A call by name goes to the
enclave that has its session, which is the replaced one while that ends.
"""

from collections.abc import Coroutine
from typing import Any

from fastapi import APIRouter
from starlette.requests import Request
from starlette.responses import Response

from casemate.gateway.host_api import HostApi
from casemate.gateway.http.active_requests import ActiveRequest
from casemate.gateway.http.bodies import BINARY, JSON, read_body
from casemate.gateway.http.fast_path import CallHandler
from casemate.gateway.http.openapi import Bytes, binary, operation
from casemate.gateway.http.problems import ProblemError, Trouble
from casemate.gateway.http.routes import StrictRoute
from casemate.gateway.v1.documents import EvidenceDocument
from casemate.gateway.v1.parameters import EnclaveId, FunctionName, Nonce, negotiated
from casemate.gateway.v1.verb_routes import ByHand, Documents, add_verbs
from casemate.wire.encodings.message import encode_message, parse_message
from casemate.wire.messages.host import Call, EvidenceIs, GetEvidence
from casemate.wire.messages.presented_evidence import evidence_document
from casemate.wire.messages.verbs import CALL_VERBS, routes_of
from casemate.wire.protocol.access_tokens import Role
from casemate.wire.protocol.call import MAX_SEALED, Envelope
from casemate.wire.protocol.faults import Code

MAX_ENVELOPE = MAX_SEALED + 1024
"""Longest encoded sealed call (bytes)."""

_ENVELOPE = "An encoded `Envelope`: a request sealed to the enclave's attested key, and what it is bound to."
_ANSWER = binary(200, "The sealed response, which whoever made the request can open.")
_EVIDENCE: dict[int | str, Any] = {
    200: {
        "description": "The evidence: an encoded `EvidenceIs`, or JSON.",
        "content": {
            BINARY: {"schema": {"type": "string", "format": "binary"}},
            JSON: {"schema": {"$ref": "#/components/schemas/EvidenceDocument"}},
        },
    }
}


def call_routes(host: HostApi) -> APIRouter:
    """The routes."""
    routes = APIRouter(route_class=StrictRoute, tags=["calls"])
    relay = relay_of(host)
    by_hand: dict[type, ByHand] = {GetEvidence: _evidence(host), Call: _call(relay)}
    add_verbs(routes, CALL_VERBS, host, Documents({}), by_hand)
    _add_by_name(routes, host, relay)
    collateral_says = operation("collateral", Role.CALL, Code.UNAVAILABLE)
    collateral_says["responses"][200] = {
        "description": "QuoteCollateralV3, as the vendor signed it.",
        "content": {JSON: {"schema": {"type": "object"}}},
    }

    @routes.get("/v1/collateral", response_model=None, **collateral_says)
    async def collateral() -> Response:
        """The simulated vendor's signed TCB info, identities and revocation lists. Needs a token of any role."""
        return Response(host.collateral(), media_type=JSON)

    return routes


def _evidence(host: HostApi) -> ByHand:
    async def evidence(id: EnclaveId, nonce: Nonce, request: Request) -> Response:
        """A fresh quote over the challenger's nonce, with its collateral; JSON if Accept asks for it.

        Needs a token of any role.
        """
        return await _negotiated_evidence(request, host.evidence(GetEvidence(id, bytes.fromhex(nonce))))

    return ByHand(evidence, {"response_class": Bytes}, refusals=(Trouble.NOT_ACCEPTABLE,), responses=_EVIDENCE)


async def _negotiated_evidence(request: Request, asking: Coroutine[None, None, EvidenceIs]) -> Response:
    """Evidence in the form that Accept asks for."""
    try:
        wanted = negotiated(request, BINARY, JSON)
    except ProblemError:
        asking.close()
        raise
    with ActiveRequest.of(request.scope).that_may_end():
        found = await asking
    if wanted == JSON:
        return Response(EvidenceDocument.model_validate(evidence_document(found)).model_dump_json(), media_type=JSON)
    return Bytes(encode_message(found))


def _call(relay: CallHandler) -> ByHand:
    async def call(id: EnclaveId, request: Request) -> Response:
        """Relays a sealed call. Needs a token of any role."""
        return await relay(id, request)

    return ByHand(
        call,
        {"response_class": Bytes},
        body=_ENVELOPE,
        responses=_ANSWER,
    )


def _add_by_name(routes: APIRouter, host: HostApi, relay: CallHandler) -> None:
    """The same for functions by their names."""
    evidence_route, call_route = (routes_of(CALL_VERBS)[request] for request in (GetEvidence, Call))
    evidence_says = operation(
        "function_evidence", Role.CALL, *evidence_route.refusals, Trouble.REQUEST_REFUSED, Trouble.NOT_ACCEPTABLE
    )
    evidence_says["responses"] |= _EVIDENCE
    call_says = operation("call_function", Role.CALL, *call_route.refusals, Trouble.REQUEST_REFUSED, body=_ENVELOPE)
    call_says["responses"] |= _ANSWER

    @routes.get("/v1/functions/{name}/evidence", response_class=Bytes, **evidence_says)
    async def function_evidence(name: FunctionName, nonce: Nonce, request: Request) -> Response:
        """Evidence, as by number, of the enclave that answers to a name now. Needs a token of any role."""
        return await _negotiated_evidence(request, host.evidence_of(name, bytes.fromhex(nonce)))

    @routes.post("/v1/functions/{name}/calls", response_class=Bytes, **call_says)
    async def call_function(name: FunctionName, request: Request) -> Response:
        """Relays a sealed call to the enclave that has its session, the replaced one if need be.

        Needs a token of any role.
        """
        return await relay(name, request)


def relay_of(host: HostApi) -> CallHandler:
    """The endpoint that relays a sealed call."""

    async def relay(whom: int | str, request: Request) -> Response:
        body = await read_body(request, media_type=BINARY, limit=MAX_ENVELOPE)
        with ActiveRequest.of(request.scope).that_may_end():
            envelope = parse_message(body, Envelope)
            answer = await (host.call(Call(whom, envelope)) if isinstance(whom, int) else host.call_of(whom, envelope))
        return Bytes(answer.sealed)

    return relay
