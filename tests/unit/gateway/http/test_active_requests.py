"""Over real sockets: what becomes of requests whose client has left, or whose token was taken away."""

import asyncio
import json
import os
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path

import httpx
import pytest
from tests.rigs.gateway.deployed import ENVELOPE, deployed, launched
from tests.rigs.gateway.events import visit
from tests.rigs.gateway.front import TOKENS, Front, front, run
from tests.rigs.gateway.serving import AUTHORISED, Serving, gone

from casemate.gateway.http.active_requests import ActiveRequest, EndReason
from casemate.gateway.http.settings import Settings
from casemate.gateway.v1 import events
from casemate.gateway.v1.vm import console as vm_console
from casemate.host.events import MachineEvent
from casemate.wire.encodings.message import encode_message
from casemate.wire.protocol.access_tokens import AccessToken, AccessTokens, Role, token_digest, token_text
from casemate.wire.protocol.lifecycle import State

BODY = b'{"function": "primes", "input": 1}'
SOON = 5.0
JSON = {"Content-Type": "application/json"}


def calling(token: str) -> bytes:
    head = f"POST /enclave/compute HTTP/1.1\r\nHost: localhost\r\nAuthorization: Bearer {token}\r\n".encode()
    return head + b"Content-Type: application/json\r\nContent-Length: %d\r\n\r\n" % len(BODY) + BODY


def give(gateway: Front, *tokens: tuple[str, str, Role]) -> None:
    """The file has these tokens from now, and the administrator's."""
    made = [*tokens, ("admin", TOKENS[Role.ADMIN], Role.ADMIN)]
    created = datetime(2026, 11, 30, tzinfo=UTC)
    known = AccessTokens(tuple(AccessToken(name, role, created, token_digest(token)) for name, token, role in made))
    draft = gateway.folder / "tokens.new"
    draft.write_bytes(known.encode())
    draft.replace(gateway.folder / "tokens.json")


async def until(check: Callable[[], bool]) -> None:
    async with asyncio.timeout(SOON):
        while not check():  # noqa: ASYNC110 - nobody tells of it
            await asyncio.sleep(0.01)


@pytest.fixture
def token() -> str:
    return token_text(os.urandom(32))


PATHS = ["/v1/events", "/v1/vms/1/console/events"]


@pytest.mark.parametrize(
    ("path", "change", "notice"),
    [
        (PATHS[0], "revoked", "event"),
        (PATHS[1], "revoked", "event"),
        (PATHS[1], "revoked", "looked at"),
        (PATHS[0], "replaced", "event"),
        (PATHS[0], "less", "looked at"),
    ],
)
def test_a_stream_ends_with_its_token(gateway: Front, token: str, path: str, change: str, notice: str) -> None:
    async def work() -> None:
        give(gateway, ("guest", token, Role.DEPLOY))
        async with gateway.client() as admin:
            await launched(admin)
        headers = {"Authorization": f"Bearer {token}"}
        async with Serving(gateway) as serving, httpx.AsyncClient(headers=headers, timeout=SOON) as client:
            url = f"http://127.0.0.1:{serving.port}"
            gateway.vms.console(1).put(65)
            async with client.stream("GET", url + path) as answer:
                lines = answer.aiter_lines()
                async for line in lines:
                    if line.startswith("data"):
                        break
                change_to = {
                    "revoked": [],
                    "replaced": [("guest", token_text(os.urandom(32)), Role.DEPLOY)],
                    "less": [("guest", token, Role.CALL)],
                }
                give(gateway, *change_to[change])
                if notice == "looked at":
                    gateway.gateway.edge.look_again()
                else:
                    gateway.host.events.publish(MachineEvent("a secret"))
                    for byte in b"a secret":
                        gateway.vms.console(1).put(byte)
                rest = [line async for line in lines]
                assert "secret" not in "".join(rest)
            status = (await client.get(f"{url}/v1/machine")).status_code
            assert status == (200 if change == "less" else 401)
            assert gateway.gateway.edge._visits == set()

    run(work())


@pytest.mark.parametrize(("module", "path"), [(events, PATHS[0]), (vm_console, PATHS[1])])
def test_a_silent_stream_ends_with_its_token(
    gateway: Front, token: str, monkeypatch: pytest.MonkeyPatch, module: object, path: str
) -> None:
    monkeypatch.setattr(module, "KEEP_ALIVE", 0.05)

    async def work() -> None:
        give(gateway, ("guest", token, Role.CALL))
        async with gateway.client() as admin:
            await launched(admin)
        headers = {"Authorization": f"Bearer {token}"}
        async with (
            Serving(gateway) as serving,
            httpx.AsyncClient(headers=headers, timeout=SOON) as client,
            client.stream("GET", f"http://127.0.0.1:{serving.port}{path}") as answer,
        ):
            lines = answer.aiter_lines()
            async for line in lines:
                if line.startswith(": still here"):
                    break
            give(gateway)
            assert [line async for line in lines if line.startswith("event")] == []

    run(work())


LONG_LIVED = [
    ("GET /v1/events", b"", 200),
    ("GET /v1/vms/1/console/events", b"", 200),
    ("POST /v1/enclaves/1/calls", encode_message(ENVELOPE), 401),
    ("POST /enclave/compute", BODY, 401),
    ("POST /v1/images", None, 401),
]


@pytest.mark.parametrize(("what", "body", "status"), LONG_LIVED)
def test_a_quiet_request_ends_with_its_token(
    gateway: Front, token: str, what: str, body: bytes | None, status: int
) -> None:
    """At the next look, though nothing happens that it could tell of, and long before a stream's next comment."""

    async def work() -> None:
        give(gateway, ("guest", token, Role.DEPLOY))
        async with Serving(gateway) as serving, asyncio.timeout(SOON):
            async with gateway.client() as admin:
                await deployed(admin)
                await launched(admin)
                assert (await admin.post("/enclave/compute", content=BODY, headers=JSON)).status_code == 200
            gateway.host.slow = asyncio.Event().wait  # type: ignore[assignment]
            kind = "application/json" if body == BODY else "application/octet-stream"
            size = 1000 if body is None else len(body)
            head = f"{what} HTTP/1.1\r\nHost: localhost\r\nAuthorization: Bearer {token}\r\n"
            head += f"Content-Type: {kind}\r\nContent-Length: {size}\r\nConnection: close\r\n\r\n"
            reader, writer = await serving.connect()
            writer.write(head.encode() + (body or b""))
            await until(lambda: any(each.may_end for each in gateway.gateway.edge._visits))
            give(gateway)
            gateway.gateway.edge.look_again()
            assert (await reader.readline()).startswith(f"HTTP/1.1 {status}".encode())
            rest = await reader.read()
            assert rest.endswith(b"0\r\n\r\n" if status == 200 else b"}")
            assert not gateway.gateway.edge._visits
            await gone(writer)

    run(work())


def test_a_call_that_waits_ends_with_its_token(gateway: Front, token: str) -> None:
    async def work() -> None:
        async with Serving(gateway) as serving:
            async with gateway.client() as admin:
                await deployed(admin)
            gateway.host.slow = asyncio.Event().wait  # type: ignore[assignment]
            give(gateway, ("guest", token, Role.CALL))
            envelope = encode_message(ENVELOPE)
            reader, writer = await serving.connect()
            head = f"POST /v1/enclaves/1/calls HTTP/1.1\r\nHost: localhost\r\nAuthorization: Bearer {token}\r\n"
            head += f"Content-Type: application/octet-stream\r\nContent-Length: {len(envelope)}\r\n\r\n"
            writer.write(head.encode() + envelope)
            await until(lambda: any(each.may_end for each in gateway.gateway.edge._visits))
            gateway.gateway.edge.look_again()
            give(gateway)
            gateway.gateway.edge.look_again()
            async with asyncio.timeout(SOON):
                assert (await reader.readline()).startswith(b"HTTP/1.1 401")
                rest = await reader.readuntil(b"}")
            assert json.loads(rest.partition(b"\r\n\r\n")[2])["code"] == "token-unknown"
            await gone(writer)

    run(work())


def test_calls_whose_clients_have_left_are_given_up(gateway: Front) -> None:
    """What the host has of them it withdraws from its queue."""

    async def work() -> None:
        async with gateway.client() as client:
            assert (await client.post("/enclave/compute", content=BODY, headers=JSON)).status_code == 200
        begun, given_up = 0, 0

        async def slow() -> None:
            nonlocal begun, given_up
            begun += 1
            try:
                await asyncio.Event().wait()
            except asyncio.CancelledError:
                given_up += 1
                raise

        gateway.host.slow = slow
        async with Serving(gateway) as serving:
            writers = []
            for _ in range(30):
                _, writer = await serving.connect()
                writer.write(calling(TOKENS[Role.CALL]))
                writers.append(writer)
            await until(lambda: begun == 30)
            for writer in writers:
                await gone(writer)
            await until(lambda: not gateway.gateway.edge._visits)
            assert given_up == 30
        assert {line["status"] for line in gateway.log()} == {200, 499}

    run(work())


def test_also_one_that_has_sent_more_requests_behind_it(gateway: Front) -> None:
    """Then nothing is read from its connection, and no end of it is seen that way."""

    async def work() -> None:
        async with gateway.client() as client:
            assert (await client.post("/enclave/compute", content=BODY, headers=JSON)).status_code == 200
        begun = 0

        async def slow() -> None:
            nonlocal begun
            begun += 1
            await asyncio.Event().wait()

        gateway.host.slow = slow
        async with Serving(gateway) as serving:
            _, writer = await serving.connect()
            writer.write(calling(TOKENS[Role.CALL]) * 20)
            await until(lambda: begun == 1)
            await gone(writer)
            await until(lambda: not gateway.gateway.edge._visits)
            assert begun == 1

    run(work())


def test_a_change_that_is_under_way_is_finished(gateway: Front) -> None:
    async def work() -> None:
        let_go = asyncio.Event()
        async with gateway.client() as client:
            await deployed(client)
        gateway.host.slow = let_go.wait  # type: ignore[assignment]
        image = next(iter(gateway.host.kept)).hex()
        body = json.dumps({"image": image}).encode()
        async with Serving(gateway) as serving:
            _, writer = await serving.connect()
            writer.write(
                b"POST /v1/enclaves HTTP/1.1\r\nContent-Type: application/json\r\n"
                + AUTHORISED
                + b"Content-Length: %d\r\n\r\n" % len(body)
                + body
            )
            await until(lambda: len(gateway.gateway.edge._visits) == 1)
            await asyncio.sleep(0.05)
            await gone(writer)
            let_go.set()
            await until(lambda: len(gateway.host.there) == 2)
            assert gateway.host.there[2].state is State.RUNNING

    run(work())


def test_a_body_that_is_no_http_ends_its_request(gateway: Front) -> None:
    """It is answered once, and what was asked for is not done."""

    async def work() -> None:
        async with Serving(gateway) as serving, asyncio.timeout(SOON):
            head = b"POST /v1/enclaves HTTP/1.1\r\nTransfer-Encoding: chunked\r\nX-Request-Id: mine\r\n" + AUTHORISED
            reader, writer = await serving.connect()
            writer.write(head + b'Content-Type: application/json\r\n\r\n5\r\n{"ima\r\n')
            await until(lambda: len(gateway.gateway.edge._visits) == 1)
            writer.write(b"zz\r\n")
            answer = await reader.read()
            assert answer.startswith(b"HTTP/1.1 400")
            found = json.loads(answer.partition(b"\r\n\r\n")[2])
            assert (found["code"], found["request_id"], found["instance"]) == ("malformed", "mine", "/v1/enclaves")
            await gone(writer)
            await until(lambda: not gateway.gateway.edge._visits)
        (line,) = gateway.log()
        assert (line["status"], line["request_id"]) == (400, "mine")

    run(work())


def test_one_whose_body_is_no_http_at_once_is_not_begun(gateway: Front) -> None:
    async def work() -> None:
        async with gateway.client() as client:
            await deployed(client)
        async with Serving(gateway) as serving, asyncio.timeout(SOON):
            head = b"POST /v1/enclaves/1/stop HTTP/1.1\r\nTransfer-Encoding: chunked\r\n" + AUTHORISED
            answer = await serving.asked(head + b"\r\nzz\r\n")
            assert answer.startswith(b"HTTP/1.1 400")
        assert gateway.host.there[1].state is State.RUNNING

    run(work())


def test_a_token_has_a_quarter_of_the_readers_places(tmp_path: Path, token: str) -> None:
    gateway = front(tmp_path, Settings(subscribers=8))

    async def work() -> None:
        give(gateway, ("guest", token, Role.CALL))
        async with Serving(gateway) as serving:
            url = f"http://127.0.0.1:{serving.port}/v1/events"
            guest, admin = ({"Authorization": f"Bearer {each}"} for each in (token, TOKENS[Role.ADMIN]))
            async with httpx.AsyncClient(timeout=SOON) as client:
                requests = [client.build_request("GET", url, headers=guest) for _ in range(4)]
                answers = [await client.send(request, stream=True) for request in requests]
                assert [answer.status_code for answer in answers] == [200, 200, 429, 429]
                async with client.stream("GET", url, headers=admin) as answer:
                    assert answer.status_code == 200
                for each in answers:
                    await each.aclose()
                await until(lambda: not gateway.gateway.edge._visits)
                async with client.stream("GET", url, headers=guest) as answer:
                    assert answer.status_code == 200

    run(work())


def test_a_visit_ends_once_and_gives_back_what_it_held() -> None:
    async def work() -> None:
        given: list[int] = []
        mine = visit()
        mine.at_end(lambda: given.append(1))
        mine.end(EndReason.TOKEN_ENDED)
        mine.end(EndReason.CLIENT_LEFT)
        assert mine.ending is EndReason.TOKEN_ENDED
        with pytest.raises(asyncio.CancelledError), mine.that_may_end():
            raise AssertionError("not begun")
        mine.over()
        mine.over()
        assert given == [1]
        assert ActiveRequest.of({"state": {"visit": mine}}) is mine

    run(work())
