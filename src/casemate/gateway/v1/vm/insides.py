"""`/v1/vms/{id}/...`: memory, reverse map table and registers, as far as the host may see them; reports."""

from typing import Annotated

from fastapi import APIRouter, Query
from starlette.requests import Request
from starlette.responses import Response

from casemate.gateway.host_api import VmHostApi
from casemate.gateway.http.bodies import BINARY, JSON
from casemate.gateway.http.negotiation import negotiated
from casemate.gateway.http.openapi import Bytes, binary, json_body, operation
from casemate.gateway.http.parameters import DIGITS, Address, Spa, VmId
from casemate.gateway.http.problems import Trouble
from casemate.gateway.http.routes import StrictRoute
from casemate.gateway.v1.vm.asking import ask, attested
from casemate.gateway.v1.vm.documents import (
    AttestVmRequest,
    RegistersDocument,
    RmpDocument,
    VmEvidenceDocument,
    entry,
    evidence,
    registers,
)
from casemate.gateway.v1.vm.lifecycle import LAUNCHED, WORKED
from casemate.wire.encodings.message import encode_message
from casemate.wire.messages.vm.host import (
    GetVm,
    View,
    VmIs,
    VmMemory,
    VmRegisters,
    VmRmp,
)
from casemate.wire.messages.vm.hypervisor import MAX_COPY, MemoryIs, RmpIs
from casemate.wire.protocol.access_tokens import Role
from casemate.wire.snp.vmsa import Vmsa

MAX_ENTRIES = 4096
"""Most entries of the reverse map table in one answer: some 600 KiB of JSON."""

Size = Annotated[int, Query(ge=1, le=MAX_COPY, description="How many bytes."), DIGITS]
Count = Annotated[int, Query(ge=1, le=MAX_ENTRIES, description="How many pages."), DIGITS]
Vcpu = Annotated[int, Query(ge=0, le=65535, description="Which vCPU."), DIGITS]
ViewOf = Annotated[View, Query(description="Through whose eyes: `hypervisor` by SPA, `guest` by GPA, decrypted.")]


def vm_inside_routes(vms: VmHostApi) -> APIRouter:
    """The routes."""
    routes = APIRouter(route_class=StrictRoute, prefix="/v1/vms/{id}", tags=["vms"])
    memory_says = operation("read_vm_memory", Role.CALL, *WORKED)
    memory_says["responses"] |= binary(200, "The bytes.")

    @routes.get("/memory", response_class=Bytes, **memory_says)
    async def memory(
        id: VmId,
        address: Address,
        size: Size = 4096,
        view: ViewOf = View.HYPERVISOR,
    ) -> Response:
        """Memory as the hypervisor sees it, ciphertext where it is the guest's; or as the guest does, if debuggable.

        Where the guest's policy does not allow debugging, its view is refused as `wrong-state`.
        Needs a token of any role.
        """
        return Bytes((await ask(vms, VmMemory(id, view, int(address, 16), size), MemoryIs)).content)

    @routes.get("/rmp", response_model=RmpDocument, **operation("read_vm_rmp", Role.CALL, *WORKED))
    async def rmp(id: VmId, spa: Spa = "0x0", count: Count = 256) -> Response:
        """The reverse map table: whose each page of DRAM is. Needs a token of any role."""
        found = await ask(vms, VmRmp(id, int(spa, 16), count), RmpIs)
        return Response(RmpDocument(entries=[entry(each) for each in found.entries]).model_dump_json(), media_type=JSON)

    registers_says = operation("read_vm_registers", Role.CALL, *WORKED, Trouble.NOT_ACCEPTABLE)
    registers_says["responses"] |= _either("RegistersDocument", "The registers; or the VMSA's page.")

    @routes.get("/registers", response_model=RegistersDocument, **registers_says)
    async def read_registers(id: VmId, request: Request, vcpu: Vcpu = 0) -> Response:
        """A vCPU's registers: while it is launching; of plain SEV; else where the guest's policy allows debugging.

        Needs a token of any role.
        """
        wanted = negotiated(request, JSON, BINARY)
        page = (await ask(vms, VmRegisters(id, vcpu), MemoryIs)).content
        if wanted == BINARY:
            return Bytes(page)
        return Response(registers(Vmsa.parse(page)).model_dump_json(), media_type=JSON)

    attest_says = operation(
        "attest_vm", Role.CALL, *LAUNCHED, *json_body(), Trouble.ROLE_REFUSED, Trouble.NOT_ACCEPTABLE
    )
    attest_says["responses"] |= _either(
        "VmEvidenceDocument", "Report, certificates, revocation list; or an encoded `VmEvidenceIs`."
    )

    @routes.post("/attest", response_model=VmEvidenceDocument, **attest_says)
    async def attest(id: VmId, wanted: AttestVmRequest, request: Request) -> Response:
        """Has the guest ask for its report, as the built-in guest `report` does.

        Needs a token of any role; of role `deploy` or above where that ends the launch.
        """
        form = negotiated(request, JSON, BINARY)
        known = await ask(vms, GetVm(id), VmIs)
        found = await attested(request, vms, known, bytes.fromhex(wanted.report_data))
        if form == BINARY:
            return Bytes(encode_message(found))
        return Response(evidence(found).model_dump_json(), media_type=JSON)

    return routes


def _either(document: str, description: str) -> dict[int | str, dict[str, object]]:
    """A response in two forms."""
    content = {
        JSON: {"schema": {"$ref": f"#/components/schemas/{document}"}},
        BINARY: {"schema": {"type": "string", "format": "binary"}},
    }
    return {200: {"description": description, "content": content}}
