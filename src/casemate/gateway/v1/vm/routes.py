"""`/v1/vms`: confidential VMs. Four routes are written by hand, the others derived from the table of verbs.

Responses are the host's claims, unverified until a report is appraised.
"""

from typing import Annotated

from fastapi import APIRouter, Query
from starlette.requests import Request
from starlette.responses import Response

from casemate.gateway.host_api import VmHostApi
from casemate.gateway.http.bodies import BINARY, JSON, read_body
from casemate.gateway.http.idempotency import KEY_RULE, Idempotency, IdempotencyKey
from casemate.gateway.http.openapi import Bytes, created, json_body
from casemate.gateway.http.problems import Trouble
from casemate.gateway.http.routes import StrictRoute
from casemate.gateway.v1.parameters import DIGITS, MAX_SAFE, Address, Gpa, Spa, VmId, negotiated
from casemate.gateway.v1.verb_routes import ByHand, Documents, Written, add_verbs
from casemate.gateway.v1.vm.asking import answered_while_connected, attested
from casemate.gateway.v1.vm.documents import (
    AssignRequest,
    AttestVmRequest,
    ConsoleDocument,
    MapRequest,
    RanDocument,
    RegistersDocument,
    RmpDocument,
    RunRequest,
    VmDocument,
    VmEvidenceDocument,
    VmsDocument,
    evidence,
    printed,
    ran,
    registers,
    rmp,
    shown,
    shown_all,
)
from casemate.gateway.v1.vm.shares import VmShares
from casemate.wire.encodings.message import encode_message, parse_message
from casemate.wire.messages.vm.host import (
    MAX_FIRMWARE,
    MAX_KERNEL,
    AssignVm,
    AttackPath,
    AttestVm,
    ConsoleIs,
    GetVm,
    LaunchVm,
    MapVm,
    RunVm,
    View,
    VmIs,
    VmRegisters,
    VmsAre,
)
from casemate.wire.messages.vm.hypervisor import MAX_COPY, UNLIMITED, Done, RmpIs
from casemate.wire.messages.vm.verbs import VM_VERBS
from casemate.wire.snp.vmsa import Vmsa

MAX_LAUNCH = MAX_FIRMWARE + 2 * MAX_KERNEL + 16 * 1024
"""Longest encoded launch (bytes): firmware, kernel, initial RAM disk, and room for the other fields."""

MAX_ENTRIES = 4096
"""Most entries of the reverse map table in one answer: some 600 KiB of JSON."""

Vcpu = Annotated[int, Query(ge=0, le=65535, description="Which vCPU."), DIGITS]
Start = Annotated[int, Query(ge=0, le=MAX_SAFE, description="The number of the first byte that is wanted."), DIGITS]

_DOCUMENTS = Documents(
    answers={
        VmIs: Written(VmDocument, shown),
        VmsAre: Written(VmsDocument, shown_all),
        RmpIs: Written(RmpDocument, rmp),
        ConsoleIs: Written(ConsoleDocument, printed),
        Done: Written(VmDocument, shown),
    },
    bodies={MapVm: MapRequest, AssignVm: AssignRequest},
    query={
        "address": Address,
        "gpa": Gpa,
        "spa": Spa,
        "size": Annotated[int, Query(ge=1, le=MAX_COPY, description="How many bytes."), DIGITS],
        "count": Annotated[int, Query(ge=1, le=MAX_ENTRIES, description="How many pages."), DIGITS],
        "view": Annotated[
            View, Query(description="Through whose eyes: `hypervisor` by SPA, `guest` by GPA, decrypted.")
        ],
        "door": Annotated[
            AttackPath,
            Query(description="`hypervisor`: by the host's CPU, which heeds the RMP; `dram`: on the memory bus."),
        ],
        "start": Start,
    },
    after=lambda request: GetVm(request.vm),
)


def vm_routes(vms: VmHostApi, shares: VmShares, idempotency: Idempotency) -> APIRouter:
    """All routes of VMs but the stream of console events."""
    routes = APIRouter(route_class=StrictRoute, tags=["vms"])
    by_hand = {
        LaunchVm: _launch(shares, idempotency),
        RunVm: _run(vms),
        VmRegisters: _registers(vms),
        AttestVm: _attest(vms),
    }
    add_verbs(routes, VM_VERBS, vms, _DOCUMENTS, by_hand)
    return routes


def _launch(shares: VmShares, idempotency: Idempotency) -> ByHand:
    async def create(request: Request, idempotency_key: IdempotencyKey = None) -> Response:
        """Launches a VM. It ends with the machine, as its keys do. Needs a token of role `deploy` or above."""
        body = await read_body(request, media_type=BINARY, limit=MAX_LAUNCH)

        async def work() -> tuple[str, VmDocument]:
            made = await shares.launch(request.scope["state"]["token"], parse_message(body, LaunchVm))
            return f"/v1/vms/{made.vm}", shown(made)

        return await idempotency.once(request, idempotency_key, body, work)

    return ByHand(
        create,
        {"status_code": 201, "response_model": None},
        refusals=(*KEY_RULE, Trouble.REQUEST_REFUSED),
        body="An encoded `LaunchVm`: firmware, kernel, sizes, policy.",
        responses=created(VmDocument, "It is launched, or where that was asked for, launching."),
    )


def _run(vms: VmHostApi) -> ByHand:
    async def run(id: VmId, wanted: RunRequest, request: Request) -> RanDocument:
        """Runs a vCPU until it halts, cannot continue, reaches a limit, or this client hangs up.

        Needs a token of role `deploy` or above.
        """
        instructions = UNLIMITED if wanted.instructions is None else wanted.instructions
        asked = RunVm(id, wanted.vcpu, instructions, wanted.time_ms, wanted.console)
        console = vms.console(id)
        before = console.end
        found = await answered_while_connected(request, vms, id, asked)
        return ran(found, printed=console.end - before)

    return ByHand(run, refusals=json_body())


def _registers(vms: VmHostApi) -> ByHand:
    async def read_registers(id: VmId, request: Request, vcpu: Vcpu = 0) -> Response:
        """A vCPU's registers: during launch, of plain SEV, and where the guest's policy allows debugging.

        Needs a token of any role.
        """
        form = negotiated(request, JSON, BINARY)
        page = (await vms.answer(VmRegisters(id, vcpu))).content
        if form == BINARY:
            return Bytes(page)
        return Response(registers(Vmsa.parse(page)).model_dump_json(), media_type=JSON)

    return ByHand(
        read_registers,
        {"response_model": RegistersDocument},
        refusals=(Trouble.NOT_ACCEPTABLE,),
        responses=_either("RegistersDocument", "The registers; or the VMSA's page."),
    )


def _attest(vms: VmHostApi) -> ByHand:
    async def attest(id: VmId, wanted: AttestVmRequest, request: Request) -> Response:
        """Has the guest ask for its report, as the built-in guest `report` does.

        Needs a token of any role; of role `deploy` or above where that ends the launch.
        """
        form = negotiated(request, JSON, BINARY)
        known = await vms.answer(GetVm(id))
        found = await attested(request, vms, known, bytes.fromhex(wanted.report_data))
        if form == BINARY:
            return Bytes(encode_message(found))
        return Response(evidence(found).model_dump_json(), media_type=JSON)

    return ByHand(
        attest,
        {"response_model": VmEvidenceDocument},
        refusals=(*json_body(), Trouble.ROLE_REFUSED, Trouble.NOT_ACCEPTABLE),
        responses=_either("VmEvidenceDocument", "Report, certificates, revocation list; or an encoded `VmEvidenceIs`."),
    )


def _either(document: str, description: str) -> dict[int | str, dict[str, object]]:
    """A response in two forms."""
    content = {
        JSON: {"schema": {"$ref": f"#/components/schemas/{document}"}},
        BINARY: {"schema": {"type": "string", "format": "binary"}},
    }
    return {200: {"description": description, "content": content}}
