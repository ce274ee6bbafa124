"""`/enclave/attest`: evidence with all its parts, for learners."""

import base64

from fastapi import APIRouter
from starlette.requests import Request

from casemate.gateway.host_api import HostApi
from casemate.gateway.http.active_requests import ActiveRequest
from casemate.gateway.http.openapi import operation
from casemate.gateway.http.routes import StrictRoute
from casemate.gateway.learner.documents import (
    AttestAnswer,
    AttestRequest,
    Binding,
    LayerDocument,
    LayersDocument,
    ReportFields,
)
from casemate.gateway.learner.enclave import USED, about
from casemate.gateway.learner.shared_enclave import SharedEnclave, its_result
from casemate.wire.messages.host import EnclaveIs, EvidenceIs, GetEvidence
from casemate.wire.protocol.access_tokens import Role
from casemate.wire.protocol.faults import Code, refuse
from casemate.wire.protocol.sandbox_layers import Layer
from casemate.wire.protocol.tee import Tee
from casemate.wire.sgx.quote import Quote

_VERIFY = [
    "save `binding` as binding.json, the decoded `quote` as quote.bin, GET /v1/collateral as collateral.json",
    "casemate policy IMAGE > policy.toml  # what you demand: the code that you know, the root that you trust",
    "casemate verify quote.bin --collateral collateral.json --binding binding.json --policy policy.toml --explain",
]
_REFUSALS = (*USED, Code.UNKNOWN_ENCLAVE, Code.REPORT_REFUSED, Code.RESULT_REFUSED)


def attest_routes(host: HostApi, learner: SharedEnclave) -> APIRouter:
    routes = APIRouter(route_class=StrictRoute, prefix="/enclave", tags=["learner"])

    @routes.post("/attest", **operation("attest", Role.CALL, *_REFUSALS))
    async def attest(asked: AttestRequest, request: Request) -> AttestAnswer:
        """Has an enclave prove what it is, and shows the proof's parts. Needs a token of any role."""
        enclave = await learner.named(asked.enclave)
        nonce = bytes.fromhex(asked.nonce)
        with ActiveRequest.of(request.scope).that_may_end():
            found = await host.evidence(GetEvidence(enclave.enclave, nonce))
        with its_result():
            return _attested(enclave, nonce, found)

    return routes


def _attested(enclave: EnclaveIs, nonce: bytes, found: EvidenceIs) -> AttestAnswer:
    if found.tee is not Tee.SGX:
        raise refuse(
            Code.WRONG_STATE,
            f"enclave {enclave.enclave} is no SGX enclave: its evidence is at /v1/enclaves/{enclave.enclave}/evidence",
        )
    body = Quote.parse(found.evidence).body
    return AttestAnswer(
        **about(enclave),
        session=found.session,
        nonce=nonce.hex(),
        report=ReportFields(
            cpu_svn=body.cpu_svn.hex(),
            misc_select=int(body.misc_select).to_bytes(4, "little").hex(),
            attributes=body.attributes.encode().hex(),
            debug=body.attributes.debug,
            mr_enclave=body.mr_enclave.hex(),
            mr_signer=body.mr_signer.hex(),
            isv_prod_id=body.isv_prod_id,
            isv_svn=body.isv_svn,
            report_data=body.report_data.hex(),
        ),
        binding=Binding(
            hpke_key=found.hpke_key.hex(),
            receipt_key=found.receipt_key.hex(),
            nonce=nonce.hex(),
            layers=LayersDocument(enclave=_layers(found.layers.enclave), guest=_layers(found.layers.guest)),
        ),
        quote=base64.b64encode(found.evidence).decode(),
        collateral="/v1/collateral",
        verify=_VERIFY,
    )


def _layers(layers: tuple[Layer, ...]) -> list[LayerDocument]:
    return [LayerDocument(name=layer.name, state=layer.state, detail=layer.detail) for layer in layers]
