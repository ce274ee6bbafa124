import asyncio
import tracemalloc
from collections.abc import AsyncIterator
from typing import Any

import pytest
from starlette.requests import Request
from tests.rigs.gateway.answers import problem
from tests.rigs.gateway.front import Front, run

from casemate.gateway.http import bodies
from casemate.gateway.http.active_requests import ActiveRequest
from casemate.gateway.http.bodies import BINARY, JSON, MAX_JSON, BodyMemory, MemoryShare, read_body
from casemate.gateway.http.problems import ProblemError
from casemate.gateway.v1.calls import MAX_ENVELOPE

KIND = {"Content-Type": BINARY}


def endless(piece: bytes, sent: list[int]) -> AsyncIterator[bytes]:
    async def pieces() -> AsyncIterator[bytes]:
        while True:
            sent.append(len(piece))
            yield piece

    return pieces()


def test_a_body_without_end_is_cut_off_at_its_limit(gateway: Front) -> None:
    sent: list[int] = []

    async def work() -> None:
        async with gateway.client() as client:
            body = endless(bytes(1 << 20), sent)
            problem(await client.post("/v1/enclaves/1/calls", content=body, headers=KIND), "body-too-large")

    run(work())
    assert MAX_ENVELOPE < sum(sent) <= MAX_ENVELOPE + (1 << 20)


def test_a_json_body_without_end_is_cut_off_at_its_limit(gateway: Front) -> None:
    sent: list[int] = []

    async def work() -> None:
        async with gateway.client() as client:
            body = endless(b" " * 65536, sent)
            answer = await client.post("/enclave/compute", content=body, headers={"Content-Type": JSON})
            problem(answer, "body-too-large")

    run(work())
    assert MAX_JSON < sum(sent) <= MAX_JSON + 65536


def test_a_declared_length_beyond_the_limit_is_refused_before_a_byte_is_read(gateway: Front) -> None:
    sent: list[int] = []

    async def work() -> None:
        async with gateway.client() as client:
            headers = KIND | {"Content-Length": str(MAX_ENVELOPE + 1)}
            answer = await client.post("/v1/enclaves/1/calls", content=endless(b"x", sent), headers=headers)
            problem(answer, "body-too-large")

    run(work())
    assert sent == []


@pytest.mark.parametrize("path", ["/v1/enclaves/1/calls", "/v1/images"])
@pytest.mark.parametrize("kind", [None, JSON, "text/plain", "application/octet-streams", ""])
def test_refuses_bytes_of_another_type(gateway: Front, path: str, kind: str | None) -> None:
    async def work() -> None:
        async with gateway.client() as client:
            headers = {} if kind is None else {"Content-Type": kind}
            problem(await client.post(path, content=b"x", headers=headers), "media-type-refused")

    run(work())


@pytest.mark.parametrize("path", ["/v1/enclaves", "/enclave/compute", "/enclave/attest"])
@pytest.mark.parametrize(
    "kind", [None, BINARY, "text/json", "application/x-www-form-urlencoded", "multipart/form-data"]
)
def test_refuses_json_of_another_type(gateway: Front, path: str, kind: str | None) -> None:
    async def work() -> None:
        async with gateway.client() as client:
            headers = {} if kind is None else {"Content-Type": kind}
            problem(await client.post(path, content=b"{}", headers=headers), "media-type-refused")

    run(work())


def test_takes_a_type_with_parameters_and_in_any_case(gateway: Front) -> None:
    async def work() -> None:
        async with gateway.client() as client:
            headers = {"Content-Type": "Application/JSON; charset=utf-8"}
            body = b'{"function": "primes", "input": {}}'
            assert (await client.post("/enclave/compute", content=body, headers=headers)).status_code == 200

    run(work())


def test_refuses_a_compressed_body(gateway: Front) -> None:
    async def work() -> None:
        async with gateway.client() as client:
            headers = {"Content-Type": JSON, "Content-Encoding": "gzip"}
            problem(await client.post("/enclave/compute", content=b"{}", headers=headers), "media-type-refused")

    run(work())


@pytest.mark.parametrize(
    "text",
    [
        b"",
        b"{",
        b"\xff",
        b"[" * 100_000,
        b'{"function": "primes", "function": "hash", "input": 1}',
        b'{"function": "primes", "input": NaN}',
        b'{"function": "primes", "input": 1e999}',
        b'{"function": "primes", "input": 9007199254740993}',
        b'{"function": "primes", "input": "\\ud800"}',
        b'{"function": "primes"}',
        b'{"function": "root", "input": 1}',
        b'{"function": "primes", "input": 1, "more": 1}',
        b"[]",
        b"null",
        b'"primes"',
    ],
)
def test_refuses_json_that_is_none_or_means_two_things(gateway: Front, text: bytes) -> None:
    async def work() -> None:
        async with gateway.client() as client:
            answer = await client.post("/enclave/compute", content=text, headers={"Content-Type": JSON})
            problem(answer, "request-refused")

    run(work())


def test_what_is_wrong_with_a_request_is_told_without_what_was_given(gateway: Front) -> None:
    async def work() -> None:
        async with gateway.client() as client:
            answer = await client.post("/enclave/compute", json={"function": "sesame", "input": 1})
            found = problem(answer, "request-refused")
            assert "body.function" in found["detail"]
            assert "sesame" not in answer.text

    run(work())


def test_a_body_that_trickles_in_is_not_waited_for(gateway: Front, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(bodies, "PATIENCE", 0.2)

    async def trickling() -> AsyncIterator[bytes]:
        while True:
            yield b"x"
            await asyncio.sleep(0.05)

    async def work() -> None:
        async with gateway.client() as client:
            answer = await client.post("/v1/enclaves/1/calls", content=trickling(), headers=KIND)
            problem(answer, "body-too-slow")
            assert answer.headers["connection"] == "close"

    run(work())


def test_a_large_body_may_take_its_time(gateway: Front, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(bodies, "PATIENCE", 0.1)

    async def steady() -> AsyncIterator[bytes]:
        for _ in range(4):
            yield bytes(bodies.SLOWEST)
            await asyncio.sleep(0.1)

    async def work() -> None:
        async with gateway.client() as client:
            answer = await client.post("/v1/enclaves/1/calls", content=steady(), headers=KIND)
            problem(answer, "malformed")

    run(work())


def test_bodies_under_way_share_a_memory_and_give_it_back() -> None:
    memory = BodyMemory(100)
    first, second = MemoryShare(memory), MemoryShare(memory)
    first.take(60)
    second.take(40)
    with pytest.raises(ProblemError, match="100 bytes of 100"):
        second.take(1)
    first.give_back()
    second.take(60)
    second.give_back()
    second.give_back()
    MemoryShare(memory).take(100)


def test_the_memory_of_bodies_is_given_back_when_their_requests_end(gateway: Front) -> None:
    async def work() -> None:
        memory: Any = gateway.gateway.edge._memory
        memory._most = 3000
        async with gateway.client() as client:
            for _ in range(5):
                problem(await client.post("/v1/enclaves/1/calls", content=bytes(2000), headers=KIND), "malformed")
            answer = await client.post("/v1/enclaves/1/calls", content=bytes(4000), headers=KIND)
            problem(answer, "rate-limited")
        assert memory._held == 0

    run(work())


def test_a_body_that_comes_byte_by_byte_takes_no_more_memory_than_its_own() -> None:
    size = 20_000

    async def work() -> None:
        left = iter(range(size))

        async def receive() -> dict[str, Any]:
            await asyncio.sleep(0)  # the loop tidies timers away meanwhile
            number = next(left, None)
            body = b"" if number is None else number.to_bytes(4)[-2:]  # an object of its own
            return {"type": "http.request", "body": body, "more_body": number is not None}

        request = Request(
            {
                "type": "http",
                "headers": [(b"content-type", BINARY.encode())],
                "state": {"share": MemoryShare(BodyMemory(1 << 20)), "visit": ActiveRequest(is_head=False)},
            },
            receive,
        )
        tracemalloc.start()
        try:
            assert len(await read_body(request, media_type=BINARY, limit=2 * size)) == 2 * size
            assert tracemalloc.get_traced_memory()[1] < 8 * size
        finally:
            tracemalloc.stop()

    asyncio.run(work())
