import base64
import hashlib
from typing import Any

import pytest
from tests.rigs.gateway.answers import problem
from tests.rigs.gateway.fake_vms import FIRMWARE, REPORT
from tests.rigs.gateway.front import Front, run

from casemate.gateway.learner import shared_enclave as learning
from casemate.gateway.learner.vm_documents import BuiltIn
from casemate.images.vm.builtin import GUESTS
from casemate.wire.messages.vm.host import EncryptVm, LaunchVm
from casemate.wire.protocol.access_tokens import Role
from casemate.wire.snp.mode import VmMode

NONCE = {"nonce": "ab" * 32}


def test_the_guests_are_those_that_come_along() -> None:
    assert {str(guest) for guest in BuiltIn} == set(GUESTS)


def test_a_launch_step_by_step(gateway: Front) -> None:
    async def work() -> None:
        async with gateway.client(Role.DEPLOY) as client:
            made = (await client.post("/vm/launch", json={})).json()
            assert (made["vm"], made["mode"], made["guest"], made["state"]) == (
                1,
                "authenticated",
                "report",
                "launching",
            )
            assert made["digest"] == "00" * 48
            assert made["firmware"]["sha256"] == hashlib.sha256(FIRMWARE).hexdigest()
            assert made["policy"] | {"value": "0x30000", "smt": True, "debug": False, "abi": "0.0"} == made["policy"]
            (vcpu,) = made["vcpus"]
            assert vcpu["measured"] is False
            shown = {name: vcpu["registers"][name] for name in ("rip", "cs_base", "cr0", "efer", "sev_features")}
            assert list(shown.values()) == ["0xfff0", "0xffff0000", "0x10", "0x1000", "0x1"]
            firmware = (await client.post("/vm/encrypt", json={})).json()
            assert (firmware["firmware_added"], firmware["pages"]) == (True, [])
            text = "Attack at dawn. " * 300
            mine = (await client.post("/vm/encrypt", json={"data": text})).json()
            assert gateway.vms.asked[-2] == EncryptVm(1, 0x300000, text.encode())
            assert mine["firmware_added"] is False
            assert [page["gpa"] for page in mine["pages"]] == ["0x300000", "0x301000"]
            assert mine["pages"][0]["sent"] == text[:64].encode().hex()
            assert mine["pages"][0]["dram"] == "a5" * 64
            assert mine["pages"][1]["sha384"] == hashlib.sha384(text[4096:].encode().ljust(4096, b"\0")).hexdigest()
            assert len({each["digest"] for each in (made, firmware, mine)}) == 3
            assert all(each["seen_by"] == "operator" for each in (made, firmware, mine))

    run(work())


def test_the_first_attestation_ends_the_launch(gateway: Front) -> None:
    async def work() -> None:
        async with gateway.client(Role.DEPLOY) as client, gateway.client(Role.CALL) as caller:
            await client.post("/vm/launch", json={})
            problem(await caller.post("/vm/attest", json=NONCE | {"vm": 1}), "role-refused")
            first = (await client.post("/vm/attest", json=NONCE)).json()
            assert (first["finished"], first["state"], first["nonce"]) == (True, "launched", NONCE["nonce"])
            assert base64.b64decode(first["report"]) == REPORT
            assert first["fields"]["version"] == 2
            second = (await caller.post("/vm/attest", json=NONCE | {"vm": 1})).json()
            assert (second["finished"], second["digest"]) == (False, first["digest"])
            refused = problem(await client.post("/vm/encrypt", json={"data": "late"}), "wrong-state")
            assert "LAUNCH_FINISH" in refused["detail"]
            assert refused["status"] == 409

    run(work())


def test_pages_may_be_base64_and_anywhere_in_ram(gateway: Front) -> None:
    async def work() -> None:
        async with gateway.client() as client:
            await client.post("/vm/launch", json={})
            asked = {"data": base64.b64encode(b"\0\xff").decode(), "encoding": "base64", "gpa": "0xFFF000"}
            (page,) = (await client.post("/vm/encrypt", json=asked)).json()["pages"]
            assert (page["gpa"], page["sent"][:4]) == ("0xfff000", "00ff")
            detail = problem(await client.post("/vm/encrypt", json=asked | {"gpa": "0x1000000"}), "malformed")["detail"]
            assert "RAM ends at 0x1000000" in detail
            problem(await client.post("/vm/encrypt", json=asked | {"data": "not base64!"}), "request-refused")

    run(work())


@pytest.mark.parametrize(
    ("path", "asked"),
    [
        *(("launch", {"mode": mode}) for mode in ("sgx", "SEV", None, 1)),
        *(("launch", {"memory_mib": size}) for size in (0, 3, 257, "16", 2**60)),
        *(("launch", {"vcpus": count}) for count in (0, 9, -1)),
        *(("launch", {"guest": name}) for name in ("", "../report", "ovmf", None)),
        *(("launch", {"host_data": text}) for text in ("", "00" * 31, "zz" * 32)),
        *(("launch", {"debug": flag}) for flag in (0, "true", None)),
        ("launch", {"kernel": "x"}),
        ("launch", []),
        *(("encrypt", {"gpa": gpa}) for gpa in ("0x1", "0x1001", "4096", "0x", 4096, "0x" + "1" * 9 + "000")),
        *(("encrypt", {"data": data}) for data in ("x" * (256 * 1024 + 1), None, ["x"])),
        *(("encrypt", {"vm": number}) for number in (-1, "1", 2**53, False)),
        ("encrypt", {"encoding": "hex"}),
        *(("attest", {"nonce": nonce}) for nonce in ("", "a", "zz", "ab" * 65, "ab\n", None)),
        ("attest", {}),
    ],
)
def test_refuses_what_is_not_as_documented(gateway: Front, path: str, asked: Any) -> None:
    async def work() -> None:
        async with gateway.client() as client:
            await client.post("/vm/launch", json={})
            problem(await client.post(f"/vm/{path}", json=asked), "request-refused")

    run(work())


def test_without_a_number_it_is_the_tokens_own_last_one(gateway: Front) -> None:
    async def work() -> None:
        async with gateway.client(Role.DEPLOY) as one, gateway.client(Role.ADMIN) as other:
            assert "POST /vm/launch" in problem(await one.post("/vm/encrypt", json={}), "unknown-vm")["detail"]
            for client in (one, other, one):
                await client.post("/vm/launch", json={})
            assert (await one.post("/vm/encrypt", json={})).json()["vm"] == 3
            assert (await other.post("/vm/encrypt", json={})).json()["vm"] == 2
            assert (await other.post("/vm/encrypt", json={"vm": 1})).json()["vm"] == 1
            await one.delete("/v1/vms/3")
            problem(await one.post("/vm/attest", json=NONCE), "unknown-vm")
            problem(await one.post("/vm/attest", json=NONCE | {"vm": 9}), "unknown-vm")

    run(work())


@pytest.mark.parametrize("mode", VmMode)
def test_every_mode_can_be_launched(gateway: Front, mode: VmMode) -> None:
    async def work() -> None:
        async with gateway.client() as client:
            asked = {"mode": mode, "debug": True, "vcpus": 2}
            made = (await client.post("/vm/launch", json=asked)).json()
            assert (made["mode"], made["policy"]["value"], len(made["vcpus"])) == (mode, "0xb0000", 2)
            wanted = next(each for each in gateway.vms.asked if isinstance(each, LaunchVm))
            assert wanted.guest_features == int(mode.has_rmp)
            assert (wanted.finish, wanted.firmware_later) == (False, True)

    run(work())


def test_without_firmware_it_says_who_puts_it_there(gateway: Front, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(learning, "PATIENCE", 0.1)

    async def work() -> None:
        async with gateway.client() as client:
            answer = await client.post("/vm/launch", json={"guest": "hello"})
            assert "casemate up" in problem(answer, "unavailable")["detail"]

    run(work())


def test_a_report_that_is_none_is_no_defect_of_the_gateways(gateway: Front) -> None:
    async def work() -> None:
        async with gateway.client() as client:
            await client.post("/vm/launch", json={})
            for report in (b"\xff" * 1184, bytes(1184)):
                gateway.vms.report = report
                problem(await client.post("/vm/attest", json=NONCE), "result-refused")

    run(work())
