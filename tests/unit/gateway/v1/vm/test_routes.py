import asyncio
import base64
from dataclasses import replace
from typing import Any, TypeVar

import pytest
from starlette.requests import Request
from tests.rigs.gateway.answers import problem
from tests.rigs.gateway.deployed import KIND, launched
from tests.rigs.gateway.fake_vms import CHAIN, LAUNCH, REPORT
from tests.rigs.gateway.front import Front, run

from casemate.gateway.http.active_requests import ActiveRequest
from casemate.gateway.http.bodies import BINARY
from casemate.gateway.v1.vm.asking import answered_while_connected
from casemate.gateway.v1.vm.routes import MAX_LAUNCH
from casemate.host.vm.vm_table import MAX_VMS
from casemate.wire.encodings.message import encode_message, parse_message
from casemate.wire.messages.request import Request as Asked
from casemate.wire.messages.vm.host import (
    AttackPath,
    EncryptVm,
    GetVm,
    MapVm,
    RunVm,
    View,
    VmEvidenceIs,
    VmMemory,
    VmState,
    WriteVm,
)
from casemate.wire.messages.vm.hypervisor import MAX_COPY, UNLIMITED
from casemate.wire.protocol.access_tokens import Role
from casemate.wire.protocol.faults import Code, refuse
from casemate.wire.snp.vmsa import Vmsa

A = TypeVar("A")
OPEN = replace(LAUNCH, finish=False)
DEBUGGABLE = replace(LAUNCH, policy=0xB0000)


def test_a_vms_life(gateway: Front) -> None:
    async def work() -> None:
        async with gateway.client(Role.DEPLOY) as client:
            shown = await launched(client, OPEN)
            assert shown | {"digest": ""} == {
                "id": 1,
                "name": "mine",
                "mode": "sev-snp",
                "state": "launching",
                "reason": "",
                "policy": "0x30000",
                "debug": False,
                "memory_mib": 16,
                "vcpus": 1,
                "digest": "",
            }
            assert (await client.get("/v1/vms/1")).json() == shown
            assert (await client.get("/v1/vms")).json() == {"vms": [shown]}
            grown = await client.post("/v1/vms/1/encrypt?gpa=0x300000", content=b"page", headers=KIND)
            assert EncryptVm(1, 0x300000, b"page") in gateway.vms.asked
            assert grown.json()["digest"] != shown["digest"]
            finished = (await client.post("/v1/vms/1/finish")).json()
            assert finished["state"] == "launched"
            problem(await client.post("/v1/vms/1/encrypt?gpa=0x0", content=b"x", headers=KIND), "wrong-state")
            ran = (await client.post("/v1/vms/1/run", json={})).json()
            assert ran | {"vm": None} == {
                "vm": None,
                "reason": "halt",
                "executed": 7,
                "exits": 3,
                "printed": 0,
                "detail": "",
            }
            assert RunVm(1, 0, UNLIMITED, 5_000, 1 << 20) in gateway.vms.asked
            asked = {"vcpu": 1, "instructions": 1, "time_ms": 5, "console": 9}
            assert (await client.post("/v1/vms/1/run", json=asked)).status_code == 200
            assert RunVm(1, 1, 1, 5, 9) in gateway.vms.asked
            problem(await client.post("/v1/vms/1/pause"), "wrong-state")
            assert (await client.delete("/v1/vms/1")).json()["reason"] == "destroyed"
            for method, path in [("GET", ""), ("DELETE", ""), ("POST", "/finish"), ("POST", "/pause")]:
                problem(await client.request(method, f"/v1/vms/1{path}"), "unknown-vm")

    run(work())


@pytest.mark.parametrize("body", [b"", b"x", encode_message(LAUNCH)[:-1], encode_message(LAUNCH) + b"x"])
def test_refuses_a_launch_that_is_none(gateway: Front, body: bytes) -> None:
    async def work() -> None:
        async with gateway.client() as client:
            problem(await client.post("/v1/vms", content=body, headers=KIND), "malformed")
            problem(await client.post("/v1/vms", content=body), "media-type-refused")

    run(work())


def test_refuses_bodies_that_are_too_long(gateway: Front) -> None:
    async def work() -> None:
        async with gateway.client() as client:
            await launched(client)
            for path, most in (("", MAX_LAUNCH), ("/1/write?spa=0x0&door=dram", MAX_COPY)):
                huge = {**KIND, "Content-Length": str(most + 1)}
                problem(await client.post(f"/v1/vms{path}", content=b"", headers=huge), "body-too-large")

    run(work())


def test_a_launch_with_a_key_happens_once(gateway: Front) -> None:
    async def work() -> None:
        async with gateway.client() as client:
            assert await launched(client, key="one") == await launched(client, key="one")
            assert gateway.vms.launches == 1
            other = encode_message(OPEN)
            answer = await client.post("/v1/vms", content=other, headers=KIND | {"Idempotency-Key": "one"})
            problem(answer, "idempotency-conflict")

    run(work())


def test_there_are_only_so_many_vms(gateway: Front) -> None:
    async def work() -> None:
        async with gateway.client() as client:
            for _ in range(MAX_VMS):
                await launched(client)
            answer = await client.post("/v1/vms", content=encode_message(LAUNCH), headers=KIND)
            assert problem(answer, "busy")["status"] == 429
            assert answer.headers["retry-after"]
            assert problem(await client.post("/vm/launch", json={}), "busy")["status"] == 429

    run(work())


@pytest.mark.parametrize("number", ["-1", "x", "1.5", str(2**53), "9" * 23, "%31x", "true"])
@pytest.mark.parametrize("path", ["", "/console", "/registers", "/rmp", "/memory?address=0x0", "/console/events"])
def test_refuses_a_number_that_no_vm_has(gateway: Front, number: str, path: str) -> None:
    async def work() -> None:
        async with gateway.client() as client:
            answer = await client.get(f"/v1/vms/{number}{path}")
            assert answer.json()["code"] in ("request-refused", "not-found")

    run(work())


@pytest.mark.parametrize(
    "asked",
    [
        *({"vcpu": each} for each in (-1, 65536, "x", "1", None, 1.5, True)),
        *({"instructions": each} for each in (-1, 2**53, "many")),
        *({"time_ms": each} for each in (-1, 5_001, None, "long", 1e300)),
        *({"console": each} for each in (-1, 2**32, "x", False)),
        {"more": 1},
        [],
    ],
)
def test_refuses_a_run_that_is_not_as_documented(gateway: Front, asked: Any) -> None:
    async def work() -> None:
        async with gateway.client() as client:
            await launched(client)
            problem(await client.post("/v1/vms/1/run", json=asked), "request-refused")

    run(work())


def test_memory_is_seen_through_two_pairs_of_eyes(gateway: Front) -> None:
    async def work() -> None:
        async with gateway.client(Role.CALL) as client:
            async with gateway.client() as admin:
                await launched(admin)
                await launched(admin, DEBUGGABLE)
            seen = await client.get("/v1/vms/1/memory?address=0x1F000&size=100")
            assert (seen.headers["content-type"], seen.content) == (BINARY, b"\xa5" * 100)
            assert gateway.vms.asked[-1] == VmMemory(1, View.HYPERVISOR, 0x1F000, 100)
            refused = problem(await client.get("/v1/vms/1/memory?address=0x0&view=guest"), "wrong-state")
            assert "debug" in refused["detail"]
            assert (await client.get("/v1/vms/2/memory?address=0x0&view=guest")).status_code == 200
            wrong = ["", "address=0", "address=0x", "address=0x1%0a", f"address=0x{'1' * 17}", "address=-0x1"]
            wrong += [f"address=0x0&size={size}" for size in (0, -1, MAX_COPY + 1, 2**64, "x")]
            for query in (*wrong, "address=0x0&view=root"):
                problem(await client.get(f"/v1/vms/1/memory?{query}"), "request-refused")

    run(work())


def test_the_reverse_map_table_in_pieces(gateway: Front) -> None:
    async def work() -> None:
        async with gateway.client(Role.CALL) as client:
            async with gateway.client() as admin:
                await launched(admin)
            (first, second) = (await client.get("/v1/vms/1/rmp?spa=0x1000&count=2")).json()["entries"]
            assert first == {
                "spa": "0x1000",
                "assigned": True,
                "gpa": "0x0",
                "validated": True,
                "immutable": False,
                "vmsa": False,
                "permissions": [15, 0, 0, 0],
            }
            assert second["spa"] == "0x2000"
            assert len((await client.get("/v1/vms/1/rmp?count=4096")).json()["entries"]) == 4096
            for count in ("0", "4097", "-1", "x"):
                problem(await client.get(f"/v1/vms/1/rmp?count={count}"), "request-refused")

    run(work())


def test_registers_are_json_or_the_page_itself(gateway: Front) -> None:
    async def work() -> None:
        async with gateway.client(Role.CALL) as client:
            async with gateway.client() as admin:
                await launched(admin)
            found = (await client.get("/v1/vms/1/registers")).json()
            assert (found["registers"]["rip"], found["registers"]["sev_features"]) == ("0xfff0", "0x1")
            assert found["segments"]["cs"]["base"] == "0xffff0000"
            page = (await client.get("/v1/vms/1/registers", headers={"Accept": BINARY})).content
            assert hex(Vmsa.parse(page).efer) == found["registers"]["efer"]
            problem(await client.get("/v1/vms/1/registers", headers={"Accept": "text/html"}), "not-acceptable")

    run(work())


def test_a_report_is_json_or_the_message_itself(gateway: Front) -> None:
    async def work() -> None:
        async with gateway.client(Role.CALL) as client:
            async with gateway.client() as admin:
                await launched(admin)
            asked = {"report_data": "ab" * 64}
            found = (await client.post("/v1/vms/1/attest", json=asked)).json()
            assert base64.b64decode(found["report"]) == REPORT
            assert found["certificates"].encode() == CHAIN
            assert found["revocation_list"] is None
            gateway.vms.revocation_list = b"\x30\x80"
            found = (await client.post("/v1/vms/1/attest", json=asked)).json()
            assert base64.b64decode(found["revocation_list"]) == b"\x30\x80"
            binary = await client.post("/v1/vms/1/attest", json=asked, headers={"Accept": BINARY})
            assert parse_message(binary.content, VmEvidenceIs) == VmEvidenceIs(REPORT, CHAIN, b"\x30\x80")
            for wrong in ("", "ab" * 63, "ab" * 65, "zz" * 64, 1, None):
                answer = await client.post("/v1/vms/1/attest", json={"report_data": wrong})
                problem(answer, "request-refused")

    run(work())


def test_who_may_only_look_does_not_end_a_launch_by_attesting(gateway: Front) -> None:
    async def work() -> None:
        async with gateway.client(Role.DEPLOY) as owner, gateway.client(Role.CALL) as looker:
            await launched(owner, OPEN)
            asked = {"report_data": "ab" * 64}
            problem(await looker.post("/v1/vms/1/attest", json=asked), "role-refused")
            assert gateway.vms.state(1) is VmState.LAUNCHING
            assert (await owner.post("/v1/vms/1/attest", json=asked)).status_code == 200
            assert (await looker.post("/v1/vms/1/attest", json=asked)).status_code == 200

    run(work())


def test_both_doors_and_the_nested_page_table(gateway: Front) -> None:
    async def work() -> None:
        async with gateway.client(Role.DEPLOY) as client:
            shown = await launched(client)
            answer = await client.post("/v1/vms/1/write?spa=0x10&door=dram", content=b"!", headers=KIND)
            assert answer.json() == shown
            assert WriteVm(1, AttackPath.DRAM, 0x10, b"!") in gateway.vms.asked
            answer = await client.post("/v1/vms/1/write?spa=0x10&door=hypervisor", content=b"!", headers=KIND)
            assert problem(answer, "rmp-fault")["status"] == 409
            answer = await client.post("/v1/vms/1/write?spa=0x10", content=b"!", headers=KIND)
            problem(answer, "request-refused")
            assert (await client.post("/v1/vms/1/map", json={"gpa": "0x1000", "spa": "0x2000"})).json() == shown
            assert MapVm(1, 0x1000, 0x2000) in gateway.vms.asked
            wrongs: list[Any] = [{"gpa": "0x1000"}, {"gpa": 4096, "spa": 0}, {"gpa": "1000", "spa": "0x0"}]
            for wrong in wrongs:
                problem(await client.post("/v1/vms/1/map", json=wrong), "request-refused")

    run(work())


@pytest.mark.parametrize(
    ("code", "status"),
    [
        (Code.FIRMWARE_REFUSED, 422),
        (Code.LOST, 503),
        (Code.TIMED_OUT, 504),
        (Code.UNAVAILABLE, 503),
        (Code.MALFORMED, 400),
        (Code.INTERNAL, 500),
    ],
)
def test_what_the_hypervisor_refuses_is_a_problem(gateway: Front, code: Code, status: int) -> None:
    async def work() -> None:
        async with gateway.client() as client:
            await launched(client)
            gateway.vms.trouble = refuse(code, "because")
            for answer in (
                await client.post("/v1/vms/1/run", json={}),
                await client.get("/v1/vms/1/memory?address=0x0"),
                await client.post("/v1/vms", content=encode_message(LAUNCH), headers=KIND),
            ):
                assert problem(answer, code)["status"] == status

    run(work())


def of_a_client_that_leaves(leaving: asyncio.Event) -> Request:
    async def receive() -> dict[str, Any]:
        await leaving.wait()
        return {"type": "http.disconnect"}

    return Request({"type": "http", "state": {"visit": ActiveRequest(is_head=False)}}, receive)


def test_a_run_whose_client_hangs_up_is_paused(gateway: Front) -> None:
    async def work() -> None:
        async with gateway.client() as client:
            await launched(client)
        gateway.vms.running = lambda: asyncio.sleep(60)
        leaving = asyncio.Event()
        question = RunVm(1, 0, UNLIMITED, 60_000, 0)
        running = asyncio.create_task(
            answered_while_connected(of_a_client_that_leaves(leaving), gateway.vms, 1, question)
        )
        await asyncio.sleep(0.02)
        assert gateway.vms.state(1) is VmState.RUNNING
        leaving.set()
        async with asyncio.timeout(5):
            assert (await running).reason == "paused"
        assert gateway.vms.state(1) is VmState.LAUNCHED

    run(work())


def test_so_is_one_whose_request_is_cancelled_before_it_has_begun(gateway: Front) -> None:
    async def work() -> None:
        async with gateway.client() as client:
            await launched(client)
        begun = asyncio.Event()

        class Slow:
            """Needs a while before it runs, in which there is nothing to pause."""

            console = gateway.vms.console

            async def answer(self, request: Asked[A]) -> A:
                if isinstance(request, RunVm):
                    begun.set()
                    await asyncio.sleep(0.1)
                return await gateway.vms.answer(request)

        gateway.vms.running = lambda: asyncio.sleep(60)
        question = RunVm(1, 0, UNLIMITED, 60_000, 0)
        request = of_a_client_that_leaves(asyncio.Event())
        running = asyncio.create_task(answered_while_connected(request, Slow(), 1, question))
        await begun.wait()
        running.cancel()
        with pytest.raises(asyncio.CancelledError):
            await running
        assert (await gateway.vms.answer(GetVm(1))).state is VmState.LAUNCHED

    run(work())
