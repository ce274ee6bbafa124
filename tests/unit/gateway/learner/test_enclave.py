import asyncio
import base64
import json
from pathlib import Path
from typing import Any

import pytest
from tests.rigs.gateway.answers import problem
from tests.rigs.gateway.deployed import deployed
from tests.rigs.gateway.front import Front, run

from casemate.gateway.learner import shared_enclave as learning
from casemate.wire.protocol.call import Refusal
from casemate.wire.protocol.faults import Code, refuse
from casemate.wire.protocol.lifecycle import State

PRIMES = {"function": "primes", "input": {"up_to": 10}}
NONCE = "0a" * 32


def test_the_first_use_launches_the_learners_enclave_and_the_next_finds_it(gateway: Front) -> None:
    async def work() -> None:
        async with gateway.client() as client:
            first = await client.post("/enclave/compute", json=PRIMES)
            assert first.status_code == 200
            found = first.json()
            assert found["result"] == {"entry": "primes", "arguments": {"up_to": 10}}
            assert (found["enclave"], found["mrenclave"], found["seen_by"]) == (1, "01" * 32, "operator")
            assert "operator of this machine could read" in found["visibility"]
            assert (await client.post("/enclave/compute", json=PRIMES)).json() == found
            assert gateway.host.launches == 1
            assert gateway.host.enclave(1).name == "learner"

    run(work())


def test_those_who_come_first_together_launch_it_once(gateway: Front) -> None:
    async def work() -> None:
        async def linger() -> None:
            await asyncio.sleep(0.05)

        gateway.host.slow = linger
        async with gateway.client() as client:
            answers = await asyncio.gather(*(client.post("/enclave/compute", json=PRIMES) for _ in range(8)))
        assert [answer.status_code for answer in answers] == [200] * 8
        assert gateway.host.launches == 1

    run(work())


def test_one_that_died_is_launched_anew(gateway: Front) -> None:
    async def work() -> None:
        async with gateway.client() as client:
            await client.post("/enclave/compute", json=PRIMES)
            gateway.host.become(1, State.LOST, "it crashed")
            assert (await client.post("/enclave/compute", json=PRIMES)).json()["enclave"] == 2
            assert [enclave.enclave for enclave in gateway.host.enclaves()] == [2]
            await client.delete("/v1/enclaves/2")
            assert (await client.post("/enclave/compute", json=PRIMES)).json()["enclave"] == 3

    run(work())


def test_one_that_was_stopped_stays_so(gateway: Front) -> None:
    async def work() -> None:
        async with gateway.client() as client:
            await client.post("/enclave/compute", json=PRIMES)
            await client.post("/v1/enclaves/1/stop")
            assert "stopped" in problem(await client.post("/enclave/compute", json=PRIMES), "wrong-state")["detail"]
            await client.post("/v1/enclaves/1/start")
            assert (await client.post("/enclave/compute", json=PRIMES)).json()["enclave"] == 1

    run(work())


@pytest.mark.parametrize("missing", ["learner.sgxs", "learner.sigstruct"])
def test_without_an_image_it_says_who_puts_it_there(
    gateway: Front, missing: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(learning, "PATIENCE", 0.1)
    (gateway.folder / "learner" / missing).unlink()

    async def work() -> None:
        async with gateway.client() as client:
            answer = await client.post("/enclave/compute", json=PRIMES)
            assert "casemate up" in problem(answer, "unavailable")["detail"]

    run(work())


def test_an_image_that_comes_a_moment_later_is_waited_for(gateway: Front) -> None:
    stream = gateway.folder / "learner" / "learner.sgxs"
    stream.rename(stream.with_suffix(".late"))

    async def work() -> None:
        async with gateway.client() as client:
            asking = asyncio.create_task(client.post("/enclave/compute", json=PRIMES))
            await asyncio.sleep(0.2)
            stream.with_suffix(".late").rename(stream)
            assert (await asking).status_code == 200

    run(work())


@pytest.mark.parametrize(
    ("code", "status"),
    [
        (Code.ARGUMENTS_REFUSED, 422),
        (Code.GUEST_ERROR, 422),
        (Code.TIME_LIMIT, 422),
        (Code.RESULT_REFUSED, 502),
        (Code.LAUNCH_REFUSED, 422),
        (Code.LOST, 503),
    ],
)
def test_what_the_enclave_refuses_is_a_problem(gateway: Front, code: Code, status: int) -> None:
    gateway.host.trouble = refuse(code, "because")

    async def work() -> None:
        async with gateway.client() as client:
            assert problem(await client.post("/enclave/compute", json=PRIMES), code)["status"] == status

    run(work())


def test_an_entry_point_is_called_by_name_in_any_enclave(gateway: Front) -> None:
    async def work() -> None:
        async with gateway.client() as client:
            await deployed(client)
            asked = {"entry": "add", "arguments": [1, 2], "enclave": 1}
            found = (await client.post("/enclave/ecall", json=asked)).json()
            assert (found["entry"], found["enclave"]) == ("add", 1)
            assert found["result"] == {"entry": "add", "arguments": [1, 2]}
            found = (await client.post("/enclave/ecall", json={"entry": "add"})).json()
            assert (found["enclave"], found["result"]["arguments"]) == (2, None)
            problem(await client.post("/enclave/ecall", json=asked | {"enclave": 9}), "unknown-enclave")
            problem(await client.post("/enclave/ecall", json=asked | {"enclave": "counter"}), "unknown-enclave")
            problem(await client.post("/enclave/ecall", json=asked | {"enclave": "../x"}), "request-refused")
            await client.post("/v1/functions/counter/switch", json={"enclave": 1, "replaces": 0, "drain": 0})
            assert (await client.post("/enclave/ecall", json=asked | {"enclave": "counter"})).json()["enclave"] == 1
            for entry in ("", "1", "a-b", "a" * 65, "a\n", "../x"):
                problem(await client.post("/enclave/ecall", json={"entry": entry}), "request-refused")

    run(work())


def test_an_ocall_shows_both_sides_and_who_is_trusted(gateway: Front) -> None:
    def ask_host(entry: str, arguments: Any) -> Any:
        assert (entry, arguments) == ("ask_host", {"question": "time", "message": "hello"})
        return {"asked": None, "answered": {"unix_ms": 5}, "concluded": "it is 1970, says the host"}

    gateway.host.plain = ask_host

    async def work() -> None:
        async with gateway.client() as client:
            found = (await client.post("/enclave/ocall", json={"question": "time"})).json()
            assert found["enclave_asked"] == {"ocall": "time", "arguments": None}
            assert found["host_answered"] == {"unix_ms": 5}
            assert found["enclave_concluded"] == "it is 1970, says the host"
            assert "may lie" in found["trust"]["host"]
            problem(await client.post("/enclave/ocall", json={"question": "root"}), "request-refused")
            problem(
                await client.post("/enclave/ocall", json={"question": "echo", "message": "x" * 1001}), "request-refused"
            )

    run(work())


def test_sealing_goes_there_and_back(gateway: Front) -> None:
    def vault(entry: str, arguments: Any) -> Any:
        if entry == "seal":
            assert arguments["policy"] in ("mrenclave", "mrsigner")
            return {"sealed": base64.b64encode(json.dumps(arguments["data"]).encode()).decode()}
        return {"json": base64.b64decode(arguments["sealed"]).decode()}

    gateway.host.plain = vault

    async def work() -> None:
        async with gateway.client() as client:
            for policy in ("mrenclave", "mrsigner"):
                sealed = (await client.post("/enclave/seal", json={"data": [1, {"x": None}], "policy": policy})).json()
                assert sealed["policy"] == policy
                opened = (await client.post("/enclave/unseal", json={"sealed": sealed["sealed"]})).json()
                assert opened["data"] == [1, {"x": None}]
            assert (await client.post("/enclave/seal", json={"data": "x"})).json()["policy"] == "mrenclave"
            problem(await client.post("/enclave/seal", json={"data": "x", "policy": "root"}), "request-refused")
            problem(await client.post("/enclave/seal", json={"policy": "mrsigner"}), "request-refused")

    run(work())


def test_what_the_enclave_does_not_open_is_a_clear_problem(gateway: Front) -> None:
    gateway.host.plain = lambda _entry, _arguments: {"refused": "state-refused"}

    async def work() -> None:
        async with gateway.client() as client:
            answer = await client.post("/enclave/unseal", json={"sealed": "AAAA"})
            assert "changed" in problem(answer, "unseal-refused")["detail"]

    run(work())


def test_a_functions_own_refusal_is_a_problem_with_its_error(gateway: Front) -> None:
    gateway.host.plain = lambda _entry, _arguments: Refusal("budget-spent", "It is used up.", b'{"until":7}')

    async def work() -> None:
        async with gateway.client() as client:
            await deployed(client)
            asked = {"enclave": 1, "entry": "search", "arguments": {}}
            answer = await client.post("/enclave/ecall", json=asked)
            told = problem(answer, "function-refused", "error")
            assert (told["status"], told["detail"]) == (422, "It is used up.")
            assert told["error"] == {"code": "budget-spent", "reason": "It is used up.", "details": {"until": 7}}
            assert "error" not in problem(await client.post("/enclave/ecall", json={}), "request-refused")
            gateway.host.plain = lambda _entry, _arguments: Refusal("budget-spent", "It is used up.", b"{")
            problem(await client.post("/enclave/ecall", json=asked), "result-refused")

    run(work())


def test_evidence_is_shown_in_its_parts(gateway: Front, vectors: Path) -> None:
    gateway.host.quote = (vectors / "sgx" / "sgx_v3_processor_ca.bin").read_bytes()

    async def work() -> None:
        async with gateway.client() as client:
            await deployed(client)
            answer = await client.post("/enclave/attest", json={"nonce": NONCE.upper(), "enclave": 1})
            assert answer.status_code == 200, answer.text
            found = answer.json()
            assert (found["nonce"], found["session"]) == (NONCE, 7)
            assert base64.b64decode(found["quote"]) == gateway.host.quote
            assert len(bytes.fromhex(found["report"]["report_data"])) == 64
            assert found["binding"]["nonce"] == NONCE
            assert found["binding"]["layers"]["enclave"] == [{"name": "seccomp", "state": "applied", "detail": ""}]
            for nonce in ("", "zz" * 32, NONCE + "00", NONCE + "\n"):
                problem(await client.post("/enclave/attest", json={"nonce": nonce}), "request-refused")

    run(work())


@pytest.mark.parametrize("result", [None, [], "x", {}, {"sealed": 1}, {"asked": None}, {"json": "{"}, {"json": 1}])
@pytest.mark.parametrize(
    ("path", "asked"),
    [
        ("ocall", {"question": "time"}),
        ("seal", {"data": 1}),
        ("unseal", {"sealed": "AAAA"}),
        ("attest", {"nonce": NONCE}),
    ],
)
def test_a_result_that_is_not_the_learners_is_no_defect_of_the_gateways(
    gateway: Front, path: str, asked: dict[str, Any], result: Any
) -> None:
    gateway.host.plain = lambda _entry, _arguments: result

    async def work() -> None:
        async with gateway.client() as client:
            problem(await client.post(f"/enclave/{path}", json=asked), "result-refused")

    run(work())


@pytest.mark.parametrize(("number", "status"), [("7", 404), ("7.0", 404), ('"7"', 422), ("true", 422), ("7.5", 422)])
def test_a_number_of_an_enclave_is_a_number_of_json(gateway: Front, number: str, status: int) -> None:
    async def work() -> None:
        async with gateway.client() as client:
            body = f'{{"entry": "x", "enclave": {number}}}'
            answer = await client.post("/enclave/ecall", content=body, headers={"Content-Type": "application/json"})
            assert answer.status_code == status, answer.text

    run(work())
