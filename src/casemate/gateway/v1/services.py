"""`/v1/services`: installed services, their operations, and sealed calls of these."""

from typing import Annotated

from fastapi import APIRouter, Path
from starlette.requests import Request
from starlette.responses import Response

from casemate.gateway.host_api import HostApi
from casemate.gateway.http.active_requests import ActiveRequest
from casemate.gateway.http.bodies import BINARY, read_body
from casemate.gateway.http.openapi import Bytes, binary, operation
from casemate.gateway.http.problems import Trouble
from casemate.gateway.http.routes import StrictRoute
from casemate.gateway.v1.calls import MAX_ENVELOPE
from casemate.gateway.v1.documents import OperationDocument, ServiceDocument, ServicesDocument, StopServiceDocument
from casemate.gateway.v1.parameters import FunctionName
from casemate.gateway.v1.verb_routes import Documents, Written, add_verbs
from casemate.wire.encodings.json_text import parse_json
from casemate.wire.encodings.message import parse_message
from casemate.wire.errors import WireError
from casemate.wire.messages.services import OperationIs, ServiceIs, ServicesAre, StopService
from casemate.wire.messages.verbs import CALL, SERVICE_VERBS
from casemate.wire.protocol.access_tokens import Role
from casemate.wire.protocol.call import Envelope
from casemate.wire.protocol.manifest_table import MAX_SCHEMA

OperationName = Annotated[
    str, Path(pattern="^[A-Za-z][A-Za-z0-9_]{0,63}$", description="An operation of the service's.")
]


def service_routes(host: HostApi) -> APIRouter:
    """The routes."""
    routes = APIRouter(route_class=StrictRoute, tags=["services"])
    add_verbs(routes, SERVICE_VERBS, host, _DOCUMENTS, {})
    refusals = () if CALL.route is None else CALL.route.refusals
    says = operation(
        "call_operation",
        Role.CALL,
        *refusals,
        Trouble.REQUEST_REFUSED,
        body="An encoded `Envelope` of a call of this operation, sealed to the enclave's attested key.",
    )
    says["responses"] |= binary(200, "The sealed response, which whoever made the request can open.")

    @routes.post("/v1/services/{name}/{called}", response_class=Bytes, **says)
    async def call_operation(name: FunctionName, called: OperationName, request: Request) -> Response:
        """Relays a sealed call of an operation to the enclave that has its session, the replaced one if need be.

        Needs a token of any role.
        """
        body = await read_body(request, media_type=BINARY, limit=MAX_ENVELOPE)
        with ActiveRequest.of(request.scope).that_may_end():
            envelope = parse_message(body, Envelope)
            if envelope.binding.entry != called:
                raise WireError("envelope.binding.entry", got=repr(envelope.binding.entry[:64]), want=repr(called))
            answer = await host.call_of(name, envelope)
        return Bytes(answer.sealed)

    return routes


def _service(found: ServiceIs) -> ServiceDocument:
    return ServiceDocument(
        name=found.name,
        version=found.version,
        family=found.family,
        description=found.description,
        state=found.state,
        reason=found.reason,
        enclave=found.enclave or None,
        image=found.image.hex(),
        mr_enclave=found.mr_enclave.hex(),
        mr_signer=found.mr_signer.hex(),
        operations=[_operation(each) for each in found.operations],
        uses=list(found.uses),
        source=found.source,
    )


def _operation(found: OperationIs) -> OperationDocument:
    return OperationDocument(
        name=found.name,
        kind=found.kind,
        idempotent=found.idempotent,
        plain=found.plain,
        stream=found.stream,
        input=parse_json("schema", found.input, limit=MAX_SCHEMA) if found.input else None,
        output=parse_json("schema", found.output, limit=MAX_SCHEMA) if found.output else None,
    )


def _services(found: ServicesAre) -> ServicesDocument:
    return ServicesDocument(services=[_service(each) for each in found.services])


_DOCUMENTS = Documents(
    {ServiceIs: Written(ServiceDocument, _service), ServicesAre: Written(ServicesDocument, _services)},
    bodies={StopService: StopServiceDocument},
)
