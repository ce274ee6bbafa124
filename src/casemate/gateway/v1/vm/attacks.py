"""`/v1/vms/{id}/...`: a hostile host's hands on a VM of one's own, for lessons; and what a guest is given to read."""

from typing import Annotated

from fastapi import APIRouter, Query
from starlette.requests import Request

from casemate.gateway.host_api import VmHostApi
from casemate.gateway.http.bodies import BINARY, read_body
from casemate.gateway.http.openapi import json_body, operation
from casemate.gateway.http.parameters import Spa, VmId
from casemate.gateway.http.routes import StrictRoute
from casemate.gateway.v1.vm.asking import ask
from casemate.gateway.v1.vm.documents import AssignRequest, MapRequest, VmDocument, shown
from casemate.gateway.v1.vm.lifecycle import WORKED
from casemate.wire.messages.vm.host import MAX_INPUT, AssignVm, AttackPath, GetVm, GiveVm, MapVm, VmIs, WriteVm
from casemate.wire.messages.vm.hypervisor import MAX_COPY, Done
from casemate.wire.protocol.access_tokens import Role
from casemate.wire.protocol.faults import Code

PathOf = Annotated[
    AttackPath, Query(description="`hypervisor`: by the host's CPU, which heeds the RMP; `dram`: on the memory bus.")
]


def vm_attack_routes(vms: VmHostApi) -> APIRouter:
    """The routes."""
    routes = APIRouter(route_class=StrictRoute, prefix="/v1/vms/{id}", tags=["vms"])
    write_says = operation("write_vm_memory", Role.DEPLOY, *WORKED, Code.RMP_FAULT, body="What to write.")

    @routes.post("/write", **write_says)
    async def write(id: VmId, spa: Spa, door: PathOf, request: Request) -> VmDocument:
        """A hostile host's hand on a VM's memory, for lessons. Needs a token of role `deploy` or above."""
        content = await read_body(request, media_type=BINARY, limit=MAX_COPY)
        await ask(vms, WriteVm(id, door, int(spa, 16), content), Done)
        return shown(await ask(vms, GetVm(id), VmIs))

    @routes.post("/map", **operation("map_vm_page", Role.DEPLOY, *WORKED, *json_body()))
    async def map_page(id: VmId, wanted: MapRequest) -> VmDocument:
        """A hostile host's hand on the nested page table, for lessons. Needs a token of role `deploy` or above."""
        await ask(vms, MapVm(id, int(wanted.gpa, 16), int(wanted.spa, 16)), Done)
        return shown(await ask(vms, GetVm(id), VmIs))

    @routes.post("/assign", **operation("assign_vm_page", Role.DEPLOY, *WORKED, *json_body()))
    async def assign(id: VmId, wanted: AssignRequest) -> VmDocument:
        """A hostile host's hand on the reverse map table, for lessons. Needs a token of role `deploy` or above."""
        gpa = None if wanted.gpa is None else int(wanted.gpa, 16)
        await ask(vms, AssignVm(id, int(wanted.spa, 16), gpa), Done)
        return shown(await ask(vms, GetVm(id), VmIs))

    @routes.post("/input", **operation("give_vm_input", Role.DEPLOY, *WORKED, body="What the guest is to read."))
    async def give(id: VmId, request: Request) -> VmDocument:
        """Bytes for the guest, on its second serial port. Needs a token of role `deploy` or above."""
        content = await read_body(request, media_type=BINARY, limit=MAX_INPUT)
        await ask(vms, GiveVm(id, content), Done)
        return shown(await ask(vms, GetVm(id), VmIs))

    return routes
