"""Routes for evidence, collateral and sealed calls, whose content the gateway cannot read."""

import base64

from fastapi import APIRouter
from starlette.requests import Request
from starlette.responses import Response

from casemate.gateway.host_api import HostApi
from casemate.gateway.http.active_requests import ActiveRequest
from casemate.gateway.http.bodies import BINARY, JSON, read_body
from casemate.gateway.http.fast_path import CallHandler
from casemate.gateway.http.openapi import Bytes, binary, operation
from casemate.gateway.http.problems import Trouble
from casemate.gateway.http.routes import StrictRoute
from casemate.gateway.v1.documents import EvidenceDocument
from casemate.gateway.v1.parameters import EnclaveId, Nonce, negotiated
from casemate.gateway.v1.verb_routes import ByHand, Documents, add_verbs
from casemate.wire.encodings.message import encode_fields, encode_message, parse_message
from casemate.wire.messages.host import Call, EvidenceIs, GetEvidence
from casemate.wire.messages.verbs import CALL_VERBS
from casemate.wire.protocol.access_tokens import Role
from casemate.wire.protocol.call import MAX_SEALED, Envelope
from casemate.wire.protocol.faults import Code

MAX_ENVELOPE = MAX_SEALED + 1024
"""Longest encoded sealed call (bytes)."""


def call_routes(host: HostApi) -> APIRouter:
    """The routes."""
    routes = APIRouter(route_class=StrictRoute, tags=["calls"])
    by_hand: dict[type, ByHand] = {GetEvidence: _evidence(host), Call: _call(relay_of(host))}
    add_verbs(routes, CALL_VERBS, host, Documents({}), by_hand)
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
        wanted = negotiated(request, BINARY, JSON)
        with ActiveRequest.of(request.scope).that_may_end():
            found = await host.evidence(GetEvidence(id, bytes.fromhex(nonce)))
        if wanted == JSON:
            return Response(_as_json(found).model_dump_json(), media_type=JSON)
        return Bytes(encode_message(found))

    description = {
        "description": "The evidence: an encoded `EvidenceIs`, or JSON.",
        "content": {
            BINARY: {"schema": {"type": "string", "format": "binary"}},
            JSON: {"schema": {"$ref": "#/components/schemas/EvidenceDocument"}},
        },
    }
    return ByHand(evidence, {"response_class": Bytes}, refusals=(Trouble.NOT_ACCEPTABLE,), responses={200: description})


def _call(relay: CallHandler) -> ByHand:
    async def call(id: EnclaveId, request: Request) -> Response:
        """Relays a sealed call. Needs a token of any role."""
        return await relay(id, request)

    return ByHand(
        call,
        {"response_class": Bytes},
        body="An encoded `Envelope`: a request sealed to the enclave's attested key, and what it is bound to.",
        responses=binary(200, "The sealed response, which whoever made the request can open."),
    )


def relay_of(host: HostApi) -> CallHandler:
    """The endpoint that relays a sealed call."""

    async def relay(number: int, request: Request) -> Response:
        body = await read_body(request, media_type=BINARY, limit=MAX_ENVELOPE)
        with ActiveRequest.of(request.scope).that_may_end():
            answer = await host.call(Call(number, parse_message(body, Envelope)))
        return Bytes(answer.sealed)

    return relay


def _as_json(found: EvidenceIs) -> EvidenceDocument:
    def text(data: bytes) -> str:
        return base64.b64encode(data).decode()

    return EvidenceDocument(
        tee=found.tee,
        evidence=text(found.evidence),
        hpke_key=text(found.hpke_key),
        receipt_key=text(found.receipt_key),
        layers=text(encode_fields(found.layers)),
        session=found.session,
        endorsements=text(found.endorsements),
    )
