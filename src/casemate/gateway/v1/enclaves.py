"""`/v1/enclaves`: which there are, and their lives."""

from fastapi import APIRouter
from starlette.requests import Request
from starlette.responses import Response

from casemate.gateway.host_api import HostApi
from casemate.gateway.http.idempotency import KEY_RULE, Idempotency, IdempotencyKey
from casemate.gateway.http.openapi import created, json_body, operation
from casemate.gateway.http.parameters import EnclaveId
from casemate.gateway.http.problems import Trouble
from casemate.gateway.http.routes import StrictRoute
from casemate.gateway.v1.documents import EnclaveDocument, EnclavesDocument, NewEnclave
from casemate.wire.messages.host import EnclaveIs
from casemate.wire.protocol.access_tokens import AccessToken, Role
from casemate.wire.protocol.faults import Code

_ONE = (Code.UNKNOWN_ENCLAVE, Trouble.REQUEST_REFUSED)
_CHANGE = (*_ONE, Code.WRONG_STATE, Code.LAUNCH_REFUSED, Code.BUSY, Code.LOST, Code.TIMED_OUT, Code.UNAVAILABLE)


def launcher_of(token: AccessToken) -> str:
    """For whom a request launches: by the token's name, empty for the machine's owner."""
    return "" if token.role is Role.ADMIN else token.name


def enclave_routes(host: HostApi, idempotency: Idempotency) -> APIRouter:
    """The routes."""
    routes = APIRouter(route_class=StrictRoute, prefix="/v1/enclaves", tags=["enclaves"])
    launch = operation("launch_enclave", Role.DEPLOY, *_CHANGE, *KEY_RULE, *json_body(), Code.UNKNOWN_IMAGE)
    launch["responses"] |= created(EnclaveDocument, "It runs.")

    @routes.post("", status_code=201, response_model=None, **launch)
    async def create(request: Request, wanted: NewEnclave, idempotency_key: IdempotencyKey = None) -> Response:
        """Launches an image that is kept; the enclave comes back under its number when the machine restarts.

        Needs a token of role `deploy` or above.
        """

        async def work() -> tuple[str, EnclaveDocument]:
            made = await host.deploy(
                bytes.fromhex(wanted.image), wanted.name, wanted.tee, launcher=launcher_of(request.state.token)
            )
            return f"/v1/enclaves/{made.enclave}", shown(made)

        return await idempotency.once(request, idempotency_key, wanted.model_dump_json().encode(), work)

    @routes.get("", **operation("list_enclaves", Role.CALL))
    async def list_all() -> EnclavesDocument:
        """All enclaves of this machine. Needs a token of any role."""
        return EnclavesDocument(enclaves=[shown(enclave) for enclave in host.enclaves()])

    @routes.get("/{id}", **operation("show_enclave", Role.CALL, *_ONE))
    async def show(id: EnclaveId) -> EnclaveDocument:
        """One enclave. Needs a token of any role."""
        return shown(host.enclave(id))

    @routes.post("/{id}/start", **operation("start_enclave", Role.DEPLOY, *_CHANGE))
    async def start(id: EnclaveId) -> EnclaveDocument:
        """Starts a stopped or lost enclave, with fresh keys. Needs a token of role `deploy` or above."""
        return shown(await host.start(id))

    @routes.post("/{id}/stop", **operation("stop_enclave", Role.DEPLOY, *_CHANGE))
    async def stop(id: EnclaveId) -> EnclaveDocument:
        """Ends an enclave's process; it may start again. Needs a token of role `deploy` or above."""
        return shown(await host.stop(id))

    @routes.delete("/{id}", **operation("destroy_enclave", Role.DEPLOY, *_CHANGE))
    async def destroy(id: EnclaveId) -> EnclaveDocument:
        """Ends an enclave and forgets it. Needs a token of role `deploy` or above."""
        return shown(await host.destroy(id))

    return routes


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
    )
