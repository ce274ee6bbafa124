"""`/v1/enclaves`: lists, launches, starts, stops and destroys enclaves."""

from fastapi import APIRouter
from starlette.requests import Request
from starlette.responses import Response

from casemate.gateway.host_api import HostApi
from casemate.gateway.http.idempotency import KEY_RULE, Idempotency, IdempotencyKey
from casemate.gateway.http.openapi import created, json_body, operation
from casemate.gateway.http.problems import Trouble
from casemate.gateway.http.routes import StrictRoute
from casemate.gateway.v1.documents import EnclaveDocument, EnclavesDocument, NewEnclave
from casemate.gateway.v1.parameters import EnclaveId
from casemate.gateway.v1.verb_routes import ByHand, Documents, Written, add_verbs
from casemate.wire.messages.host import EnclaveIs, EnclavesAre, Launch
from casemate.wire.messages.verbs import LIFECYCLE_VERBS
from casemate.wire.protocol.access_tokens import AccessToken, Role
from casemate.wire.protocol.faults import Code


def launcher_of(token: AccessToken) -> str:
    """The launcher whose share a launch counts against: the token's name, or empty for the machine's owner."""
    return "" if token.role is Role.ADMIN else token.name


def enclave_routes(host: HostApi, idempotency: Idempotency) -> APIRouter:
    """The routes."""
    routes = APIRouter(route_class=StrictRoute, tags=["enclaves"])
    add_verbs(routes, LIFECYCLE_VERBS, host, _DOCUMENTS, {Launch: _launch(host, idempotency)})

    @routes.get(
        "/v1/enclaves/{id}", **operation("show_enclave", Role.CALL, Code.UNKNOWN_ENCLAVE, Trouble.REQUEST_REFUSED)
    )
    async def show(id: EnclaveId) -> EnclaveDocument:
        """One enclave. Needs a token of any role."""
        return shown(host.enclave(id))

    return routes


def _launch(host: HostApi, idempotency: Idempotency) -> ByHand:
    async def create(request: Request, wanted: NewEnclave, idempotency_key: IdempotencyKey = None) -> Response:
        """Launches an image that is kept; the enclave comes back under its number when the machine restarts.

        Needs a token of role `deploy` or above.
        """

        async def work() -> tuple[str, EnclaveDocument]:
            made = await host.deploy(
                *(bytes.fromhex(wanted.image), wanted.name, wanted.tee),
                launcher=launcher_of(request.state.token),
                candidate=wanted.candidate,
                owner=None if wanted.owner is None else bytes.fromhex(wanted.owner),
            )
            return f"/v1/enclaves/{made.enclave}", shown(made)

        return await idempotency.once(request, idempotency_key, wanted.model_dump_json().encode(), work)

    return ByHand(
        create,
        {"status_code": 201, "response_model": None},
        refusals=(*KEY_RULE, *json_body()),
        responses=created(EnclaveDocument, "It runs."),
    )


def shown(enclave: EnclaveIs) -> EnclaveDocument:
    """An enclave as JSON."""
    return EnclaveDocument(
        id=enclave.enclave,
        name=enclave.name,
        image=enclave.image.hex(),
        mr_enclave=enclave.mr_enclave.hex(),
        mr_signer=enclave.mr_signer.hex(),
        isv_prod_id=enclave.isv_prod_id,
        isv_svn=enclave.isv_svn,
        debug=enclave.debug,
        state=enclave.state,
        reason=enclave.reason,
        ra_tls_port=enclave.ra_tls_port,
        tee=enclave.tee,
        launch_digest=None if enclave.launch_digest is None else enclave.launch_digest.hex(),
        owner=None if enclave.owner is None else enclave.owner.hex(),
    )


def _shown_all(found: EnclavesAre) -> EnclavesDocument:
    return EnclavesDocument(enclaves=[shown(enclave) for enclave in found.enclaves])


_DOCUMENTS = Documents({EnclaveIs: Written(EnclaveDocument, shown), EnclavesAre: Written(EnclavesDocument, _shown_all)})
