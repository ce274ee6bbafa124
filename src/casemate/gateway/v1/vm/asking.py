"""Requests that run a vCPU for a client that may hang up during the run."""

import asyncio
import contextlib
from typing import TypeVar

from starlette.requests import Request as HttpRequest

from casemate.gateway.host_api import VmHostApi
from casemate.gateway.http.active_requests import ActiveRequest
from casemate.gateway.http.roles import check_role
from casemate.wire.messages.request import Request
from casemate.wire.messages.vm.host import AttestVm, PauseVm, VmEvidenceIs, VmIs, VmState
from casemate.wire.protocol.access_tokens import Role
from casemate.wire.protocol.faults import FaultError

PAUSE_AGAIN = 0.2
"""Seconds between two attempts to pause a VM for a client that has hung up: its run may not have begun yet."""

A = TypeVar("A")


async def answered_while_connected(request: HttpRequest, vms: VmHostApi, number: int, asked: Request[A]) -> A:
    """The answer to a request that runs a vCPU, which is paused when the client hangs up or its token is revoked.

    Args:
        request: the client's; its body has been read.
        vms: the hypervisor.
        number: the VM's.
        asked: the request that runs the vCPU.
    """
    asking = asyncio.create_task(vms.answer(asked))
    left = asyncio.create_task(_left(request))
    try:
        with ActiveRequest.of(request.scope).that_may_end():
            await asyncio.wait({asking, left}, return_when=asyncio.FIRST_COMPLETED)
    finally:
        left.cancel()
        while not asking.done():  # hung up, or this task was cancelled
            with contextlib.suppress(FaultError):
                await vms.answer(PauseVm(number))
            await asyncio.wait({asking}, timeout=PAUSE_AGAIN)
    return asking.result()


async def attested(request: HttpRequest, vms: VmHostApi, vm: VmIs, report_data: bytes) -> VmEvidenceIs:
    """The guest's report over 64 bytes.

    Raises:
        FaultError: the guest does not return a report.
        ProblemError: this would end the VM's launch, and the token's role does not allow that.
    """
    if vm.state is VmState.LAUNCHING:
        check_role(request.scope["state"]["token"], Role.DEPLOY)
    return await answered_while_connected(request, vms, vm.vm, AttestVm(vm.vm, report_data))


async def _left(request: HttpRequest) -> None:
    while (await request.receive())["type"] != "http.disconnect":
        pass
