"""`/v1/vms`: which confidential VMs there are, and their lives."""

from fastapi import APIRouter
from starlette.requests import Request
from starlette.responses import Response

from casemate.gateway.host_api import VmHostApi
from casemate.gateway.http.bodies import BINARY, read_body
from casemate.gateway.http.idempotency import KEY_RULE, Idempotency, IdempotencyKey
from casemate.gateway.http.openapi import created, json_body, operation
from casemate.gateway.http.parameters import Gpa, VmId
from casemate.gateway.http.problems import Trouble
from casemate.gateway.http.routes import StrictRoute
from casemate.gateway.v1.vm.asking import ask, ask_for
from casemate.gateway.v1.vm.documents import RanDocument, RunRequest, VmDocument, VmsDocument, ran, shown
from casemate.gateway.v1.vm.shares import VmShares
from casemate.wire.encodings.message import parse_message
from casemate.wire.messages.vm.host import (
    MAX_FIRMWARE,
    MAX_KERNEL,
    DestroyVm,
    EncryptVm,
    FinishVm,
    GetVm,
    LaunchVm,
    ListVms,
    PauseVm,
    RunVm,
    VmIs,
    VmRan,
    VmsAre,
)
from casemate.wire.protocol.access_tokens import Role
from casemate.wire.protocol.faults import Code

MAX_LAUNCH = MAX_FIRMWARE + 2 * MAX_KERNEL + 16 * 1024
"""Longest encoded launch (bytes): firmware, kernel, initial RAM disk, and everything else."""

UNCOUNTED = (1 << 64) - 1
"""A budget of instructions that is none."""

ONE = (Code.UNKNOWN_VM, Trouble.REQUEST_REFUSED)
WORKED = (*ONE, Code.WRONG_STATE, Code.BUSY, Code.LOST, Code.TIMED_OUT, Code.UNAVAILABLE, Code.MALFORMED)
"""How whatever needs the VM's process may be refused."""
LAUNCHED = (*WORKED, Code.FIRMWARE_REFUSED)
"""How a launch, and what belongs to one, may be."""


def vm_routes(vms: VmHostApi, shares: VmShares, idempotency: Idempotency) -> APIRouter:
    """The routes."""
    routes = APIRouter(route_class=StrictRoute, prefix="/v1/vms", tags=["vms"])
    launch = operation(
        "launch_vm",
        Role.DEPLOY,
        *LAUNCHED,
        *KEY_RULE,
        body="An encoded `LaunchVm`: firmware, kernel, sizes, policy.",
    )
    launch["responses"] |= created(VmDocument, "It is launched, or where that was asked for, launching.")

    @routes.post("", status_code=201, response_model=None, **launch)
    async def create(request: Request, idempotency_key: IdempotencyKey = None) -> Response:
        """Launches a VM; it ends with the machine, since its keys do. Needs a token of role `deploy` or above."""
        body = await read_body(request, media_type=BINARY, limit=MAX_LAUNCH)

        async def work() -> tuple[str, VmDocument]:
            made = await shares.launch(request.scope["state"]["token"], parse_message(body, LaunchVm))
            return f"/v1/vms/{made.vm}", shown(made)

        return await idempotency.once(request, idempotency_key, body, work)

    @routes.get("", **operation("list_vms", Role.CALL))
    async def list_all() -> VmsDocument:
        """All VMs of this machine. Needs a token of any role."""
        return VmsDocument(vms=[shown(vm) for vm in (await ask(vms, ListVms(), VmsAre)).vms])

    @routes.get("/{id}", **operation("show_vm", Role.CALL, *ONE))
    async def show(id: VmId) -> VmDocument:
        """One VM. Needs a token of any role."""
        return shown(await ask(vms, GetVm(id), VmIs))

    encrypts = operation("encrypt_vm", Role.DEPLOY, *LAUNCHED, body="Pages; the last is filled with zeros.")

    @routes.post("/{id}/encrypt", **encrypts)
    async def encrypt(id: VmId, gpa: Gpa, request: Request) -> VmDocument:
        """Adds pages to a launch that is not finished: LAUNCH_UPDATE. Needs a token of role `deploy` or above."""
        content = await read_body(request, media_type=BINARY, limit=MAX_FIRMWARE)
        return shown(await ask(vms, EncryptVm(id, int(gpa, 16), content), VmIs))

    @routes.post("/{id}/finish", **operation("finish_vm", Role.DEPLOY, *LAUNCHED))
    async def finish(id: VmId) -> VmDocument:
        """Ends a launch: registers are measured, then LAUNCH_FINISH. Needs a token of role `deploy` or above."""
        return shown(await ask(vms, FinishVm(id), VmIs))

    @routes.post("/{id}/run", **operation("run_vm", Role.DEPLOY, *WORKED, *json_body()))
    async def run(id: VmId, wanted: RunRequest, request: Request) -> RanDocument:
        """Lets a vCPU run until it halts, cannot go on, or a budget ends; or until this client hangs up.

        Needs a token of role `deploy` or above.
        """
        instructions = UNCOUNTED if wanted.instructions is None else wanted.instructions
        question = RunVm(id, wanted.vcpu, instructions, wanted.time_ms, wanted.console)
        console = vms.console(id)
        before = console.end
        found = await ask_for(request, vms, id, question, VmRan)
        return ran(found, printed=console.end - before)

    @routes.post("/{id}/pause", **operation("pause_vm", Role.DEPLOY, *WORKED))
    async def pause(id: VmId) -> VmDocument:
        """Ends a run that is under way; the next one goes on from there. Needs a token of role `deploy` or above."""
        return shown(await ask(vms, PauseVm(id), VmIs))

    @routes.delete("/{id}", **operation("destroy_vm", Role.DEPLOY, *WORKED))
    async def destroy(id: VmId) -> VmDocument:
        """Ends a VM for good: its keys are gone. Needs a token of role `deploy` or above."""
        return shown(await ask(vms, DestroyVm(id), VmIs))

    return routes
