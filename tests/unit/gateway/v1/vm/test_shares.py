import asyncio

import pytest
from tests.rigs.gateway.answers import problem
from tests.rigs.gateway.front import Front, run

from casemate.gateway.v1.vm.shares import MAX_MIB_OF_ONE, MAX_OF_ONE
from casemate.wire.messages.request import Request
from casemate.wire.messages.vm.host import LaunchVm
from casemate.wire.protocol.access_tokens import Role
from casemate.wire.protocol.faults import Code, refuse


def test_a_token_has_a_share_of_the_vms_and_is_told_what_to_destroy(gateway: Front) -> None:
    async def work() -> None:
        async with gateway.client(Role.DEPLOY) as deploy, gateway.client() as admin:
            wanted = {"memory_mib": 16}
            at_once = await asyncio.gather(*(deploy.post("/vm/launch", json=wanted) for _ in range(MAX_OF_ONE)))
            assert [answer.status_code for answer in at_once] == [200] * MAX_OF_ONE
            found = problem(await deploy.post("/vm/launch", json=wanted), "busy")
            mine = sorted(answer.json()["vm"] for answer in at_once)
            assert found["detail"].endswith(f"destroy one of {', '.join(map(str, mine))}")
            assert (await admin.post("/vm/launch", json=wanted)).status_code == 200
            assert (await admin.delete(f"/v1/vms/{mine[0]}")).status_code == 200
            assert (await deploy.post("/vm/launch", json=wanted)).status_code == 200

    run(work())


def test_a_token_has_a_share_of_their_memory(gateway: Front) -> None:
    async def work() -> None:
        async with gateway.client(Role.DEPLOY) as client:
            shares = gateway.gateway.vm_shares
            first = (await client.post("/vm/launch", json={"memory_mib": 16})).json()["vm"]
            for sizes in shares._launched.values():
                sizes[first] = MAX_MIB_OF_ONE - 100
            problem(await client.post("/vm/launch", json={"memory_mib": 101}), "busy")
            assert (await client.post("/vm/launch", json={"memory_mib": 100})).status_code == 200

    run(work())


def test_a_launch_that_fails_takes_no_share(gateway: Front, monkeypatch: pytest.MonkeyPatch) -> None:
    answer = gateway.vms.answer

    async def refuses_launches(request: Request[object]) -> object:
        if isinstance(request, LaunchVm):
            raise refuse(Code.FIRMWARE_REFUSED, "no")
        return await answer(request)

    async def work() -> None:
        async with gateway.client(Role.DEPLOY) as client:
            with monkeypatch.context() as patched:
                patched.setattr(gateway.vms, "answer", refuses_launches)
                for _ in range(MAX_OF_ONE + 1):
                    problem(await client.post("/vm/launch", json={}), "firmware-refused")
            assert (await client.post("/vm/launch", json={})).status_code == 200

    run(work())
