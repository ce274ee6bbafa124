import asyncio
from typing import Any

import pytest
from tests.rigs.gateway.answers import problem
from tests.rigs.gateway.deployed import DIGEST, IMAGE, KIND
from tests.rigs.gateway.front import Front, run

from casemate.gateway.http import idempotency
from casemate.gateway.v1.documents import Health
from casemate.wire.encodings.message import encode_message
from casemate.wire.protocol.access_tokens import Role
from casemate.wire.protocol.faults import Code, refuse

KEY = {"Idempotency-Key": "9a1d"}


async def put(client: Any, **headers: str) -> Any:
    return await client.post("/v1/images", content=encode_message(IMAGE), headers=KIND | headers)


async def launch(client: Any, name: str = "a", key: str | None = "9a1d") -> Any:
    headers = {} if key is None else {"Idempotency-Key": key}
    return await client.post("/v1/enclaves", json={"image": DIGEST, "name": name}, headers=headers)


def test_the_same_request_again_is_the_same_answer_and_done_once(gateway: Front) -> None:
    async def work() -> None:
        async with gateway.client() as client:
            assert (await put(client, **KEY)).json() == (await put(client, **KEY)).json()
            first, second = await launch(client), await launch(client)
            assert (first.status_code, second.status_code) == (201, 201)
            assert first.json() == second.json()
            assert first.headers["location"] == second.headers["location"] == "/v1/enclaves/1"
            assert first.headers["x-request-id"] != second.headers["x-request-id"]
            assert gateway.host.launches == 1

    run(work())


def test_without_a_key_it_is_done_each_time(gateway: Front) -> None:
    async def work() -> None:
        async with gateway.client() as client:
            await put(client)
            assert (await launch(client, key=None)).json() != (await launch(client, key=None)).json()
            assert gateway.host.launches == 2

    run(work())


def test_a_key_with_another_body_is_refused(gateway: Front) -> None:
    async def work() -> None:
        async with gateway.client() as client:
            await put(client)
            await launch(client)
            problem(await launch(client, name="b"), "idempotency-conflict")
            assert gateway.host.launches == 1

    run(work())


def test_a_key_is_of_one_token_and_one_path(gateway: Front) -> None:
    async def work() -> None:
        async with gateway.client() as client, gateway.client(Role.DEPLOY) as other:
            await put(client, **KEY)
            await launch(client)
            assert (await launch(other)).json()["id"] == 2

    run(work())


def test_a_request_that_meets_its_twin_under_way_waits_for_it(gateway: Front) -> None:
    async def work() -> None:
        async with gateway.client() as client:
            await put(client)
            gate = asyncio.Event()
            gateway.host.slow = gate.wait  # type: ignore[assignment]
            both = [asyncio.create_task(launch(client)) for _ in range(2)]
            await asyncio.sleep(0.05)
            problem(await launch(client, name="b"), "idempotency-conflict")
            gate.set()
            first, second = await asyncio.gather(*both)
            assert first.json() == second.json()
            assert gateway.host.launches == 1

    run(work())


def test_what_failed_may_be_tried_again(gateway: Front) -> None:
    async def work() -> None:
        async with gateway.client() as client:
            await put(client)
            gateway.host.trouble = refuse(Code.BUSY, "later")
            problem(await launch(client), "busy")
            gateway.host.trouble = None
            assert (await launch(client)).json()["id"] == 1

    run(work())


def test_when_the_first_one_fails_its_twin_tries(gateway: Front) -> None:
    async def work() -> None:
        async with gateway.client() as client:
            await put(client)
            gate = asyncio.Event()
            tries = 0

            async def fail_once() -> None:
                nonlocal tries
                tries += 1
                if tries == 1:
                    await gate.wait()
                    raise refuse(Code.BUSY, "later")

            gateway.host.slow = fail_once
            both = [asyncio.create_task(launch(client)) for _ in range(2)]
            await asyncio.sleep(0.05)
            gate.set()
            answers = await asyncio.gather(*both)
            assert sorted(answer.status_code for answer in answers) == [201, 429]

    run(work())


@pytest.mark.parametrize("key", ["", " ", "a b", "x" * 129, "ä".encode().decode("latin-1")])
def test_refuses_a_key_that_is_none(gateway: Front, key: str) -> None:
    async def work() -> None:
        async with gateway.client() as client:
            await put(client)
            headers = [(b"Idempotency-Key", key.encode("latin-1"))]
            answer = await client.post("/v1/enclaves", json={"image": DIGEST}, headers=headers)
            problem(answer, "request-refused")

    run(work())


def test_answers_are_forgotten_after_a_while_and_when_there_are_too_many(monkeypatch: pytest.MonkeyPatch) -> None:
    now = 0.0
    kept = idempotency.Idempotency(lambda: now)
    monkeypatch.setattr(idempotency, "MAX_ANSWERS", 3)
    request: Any = type("R", (), {"scope": {"state": {"token": type("T", (), {"digest": b"a"})}}, "url": None})()
    request.url = type("U", (), {"path": "/v1/images"})()
    done: list[str] = []

    async def ask(key: str) -> None:
        async def work_once() -> Any:
            done.append(key)
            return "/", Health(status="serving", version="1")

        await kept.once(request, key, b"", work_once)

    async def work() -> None:
        nonlocal now
        for key in ("a", "b", "a", "c", "d", "b", "a"):
            await ask(key)
        assert done == ["a", "b", "c", "d", "a"]
        assert len(kept._kept) <= 3
        now = idempotency.LIFETIME + 1
        await ask("d")
        assert done[-1] == "d"
        assert len(kept._kept) == 1

    run(work())


def test_one_token_does_not_push_out_what_others_are_to_be_answered(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(idempotency, "MAX_ANSWERS", 4)
    kept = idempotency.Idempotency()
    done: list[str] = []

    async def ask(token: str, key: str) -> None:
        async def work_once() -> Any:
            done.append(token + key)
            return "/", Health(status="serving", version="1")

        request: Any = type("R", (), {"scope": {"state": {"token": type("T", (), {"digest": token.encode()})}}})()
        request.url = type("U", (), {"path": "/v1/images"})()
        await kept.once(request, key, b"", work_once)

    async def work() -> None:
        await ask("quiet", "1")
        for number in range(50):
            await ask("busy", str(number))
        await ask("quiet", "1")
        await ask("busy", "49")
        assert done == ["quiet1", *(f"busy{number}" for number in range(50))]

    run(work())
