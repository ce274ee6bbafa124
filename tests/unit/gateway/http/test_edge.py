import asyncio
import json
import re
from pathlib import Path
from typing import Any

import pytest
from tests.rigs.gateway.answers import problem
from tests.rigs.gateway.front import TOKENS, Front, front, run

from casemate.gateway.http import edge
from casemate.gateway.http.problems import STATUS, Trouble
from casemate.gateway.http.rate_limits import Rate
from casemate.gateway.http.settings import Settings
from casemate.wire.protocol.access_tokens import Role, token_text
from casemate.wire.protocol.faults import Code, refuse

ORIGIN = "https://dash.example:8443"
SECRET = "sesame-opens-nothing"


def test_every_code_has_a_status() -> None:
    assert set(STATUS) == {*Code, *Trouble}
    assert all(400 <= status < 600 for status in STATUS.values())
    assert [code for code, status in STATUS.items() if status == 500] == [Code.INTERNAL]


@pytest.mark.parametrize("given", ["abc", "A-1_2.3:4", "x" * 64])
def test_a_sane_request_id_is_taken_over(gateway: Front, given: str) -> None:
    async def work() -> None:
        async with gateway.client() as client:
            answer = await client.get("/health", headers={"X-Request-Id": given})
        assert answer.headers["x-request-id"] == given
        assert gateway.log()[-1]["request_id"] == given

    run(work())


@pytest.mark.parametrize("given", ["", "a b", "x" * 65, "-a", 'a"b', "a\x1b[31m"])
def test_an_insane_request_id_is_replaced(gateway: Front, given: str) -> None:
    async def work() -> None:
        async with gateway.client() as client:
            answer = await client.get("/health", headers={"X-Request-Id": given})
        assert len(answer.headers["x-request-id"]) == 24
        assert answer.headers["x-request-id"] != given

    run(work())


@pytest.mark.parametrize("host", ["localhost", "LOCALHOST:8800", "127.0.0.1", "127.0.0.1:80", "[::1]", "[::1]:8800"])
def test_answers_to_the_loopbacks_names(gateway: Front, host: str) -> None:
    async def work() -> None:
        async with gateway.client() as client:
            assert (await client.get("/v1/machine", headers={"Host": host})).status_code == 200

    run(work())


@pytest.mark.parametrize(
    "host",
    [
        "",
        "evil.example",
        "localhost.evil.example",
        "127.0.0.1@evil.example",
        "localhost:",
        "[::2]",
        "a:b:c",
        "127.0.0.2",
    ],
)
@pytest.mark.parametrize("path", ["/health", "/v1/machine", "/openapi.json"])
def test_refuses_a_rebound_name_on_every_path(gateway: Front, host: str, path: str) -> None:
    async def work() -> None:
        async with gateway.client() as client:
            problem(await client.get(path, headers={"Host": host}), "host-refused")

    run(work())


def test_answers_to_a_name_that_was_allowed(tmp_path: Path) -> None:
    gateway = front(tmp_path, Settings(hosts=frozenset({"machine.example"})))

    async def work() -> None:
        async with gateway.client() as client:
            assert (await client.get("/health", headers={"Host": "Machine.Example:8443"})).status_code == 200
            problem(await client.get("/health", headers={"Host": "localhost"}), "host-refused")

    run(work())


def test_without_origins_no_page_is_let_in(gateway: Front) -> None:
    async def work() -> None:
        async with gateway.client(None) as client:
            asked = {"Origin": ORIGIN, "Access-Control-Request-Method": "GET"}
            answer = await client.options("/v1/enclaves", headers=asked)
            problem(answer, "origin-refused")
            assert "access-control-allow-origin" not in answer.headers
            answer = await client.get("/health", headers={"Origin": ORIGIN})
            assert not [name for name in answer.headers if name.startswith("access-control")]

    run(work())


def test_a_page_that_was_let_in_may_ask_and_read(tmp_path: Path) -> None:
    gateway = front(tmp_path, Settings(origins=frozenset({ORIGIN})))

    async def work() -> None:
        async with gateway.client(None) as client:
            asked = {
                "Origin": ORIGIN,
                "Access-Control-Request-Method": "POST",
                "Access-Control-Request-Headers": "authorization, content-type",
                "Access-Control-Request-Private-Network": "true",
            }
            answer = await client.options("/v1/enclaves/1/calls", headers=asked)
            assert answer.status_code == 204
            assert answer.headers["access-control-allow-origin"] == ORIGIN
            assert {"GET", "POST", "DELETE"} <= set(answer.headers["access-control-allow-methods"].split(", "))
            assert "Authorization" in answer.headers["access-control-allow-headers"]
            assert answer.headers["access-control-allow-private-network"] == "true"
            assert "access-control-allow-credentials" not in answer.headers
            answer = await client.get("/v1/machine", headers={"Origin": ORIGIN})
            problem(answer, "token-wanted")  # the page reads why, too
            assert answer.headers["access-control-allow-origin"] == ORIGIN
            assert "X-Request-Id" in answer.headers["access-control-expose-headers"]
            assert answer.headers["vary"] == "Origin"

    run(work())


@pytest.mark.parametrize(
    "origin",
    ["https://dash.example", "http://dash.example:8443", "null", "https://evil.example", f"{ORIGIN}.evil.example"],
)
def test_a_page_of_another_origin_is_not_let_in(tmp_path: Path, origin: str) -> None:
    gateway = front(tmp_path, Settings(origins=frozenset({ORIGIN})))

    async def work() -> None:
        async with gateway.client(None) as client:
            asked = {"Origin": origin, "Access-Control-Request-Method": "GET"}
            problem(await client.options("/v1/machine", headers=asked), "origin-refused")
            answer = await client.get("/health", headers={"Origin": origin})
            assert "access-control-allow-origin" not in answer.headers
            assert answer.headers["vary"] == "Origin"

    run(work())


def test_options_without_preflight_is_a_method_like_others(gateway: Front) -> None:
    async def work() -> None:
        async with gateway.client() as client:
            problem(await client.options("/v1/machine"), "method-refused")
        async with gateway.client(None) as client:
            problem(await client.options("/v1/machine"), "token-wanted")

    run(work())


CLOSED = [
    "/v1/machine",
    "/v1/enclaves",
    "/v1/events",
    "/metrics",
    "/enclave/compute",
    "/nowhere",
    "/health/",
    "/%2Fhealth",
]


@pytest.mark.parametrize("path", CLOSED)
def test_without_a_token_nothing_is_told(gateway: Front, path: str) -> None:
    async def work() -> None:
        async with gateway.client(None) as client:
            answer = await client.get(path)
            problem(answer, "token-wanted")
            assert answer.headers["www-authenticate"] == 'Bearer realm="casemate"'

    run(work())


@pytest.mark.parametrize("path", sorted(edge.OPEN_PATHS))
def test_what_is_open_needs_no_token(gateway: Front, path: str) -> None:
    async def work() -> None:
        async with gateway.client(None) as client:
            answer = await client.get(path, follow_redirects=True)
            assert answer.status_code == 200
            assert answer.url.path == ("/docs" if path == "/" else path)

    run(work())


@pytest.mark.parametrize(
    ("given", "code"),
    [
        ("", "token-wanted"),
        ("Basic YTpi", "token-wanted"),
        (f"Token {TOKENS[Role.ADMIN]}", "token-wanted"),
        ("Bearer", "token-unknown"),
        ("Bearer ", "token-unknown"),
        (f"Bearer {token_text(bytes(32))}", "token-unknown"),
        (f"Bearer {TOKENS[Role.ADMIN]}x", "token-unknown"),
        (f"Bearer {TOKENS[Role.ADMIN]}, {TOKENS[Role.ADMIN]}", "token-unknown"),
        (f"Bearer {TOKENS[Role.ADMIN].upper()}", "token-unknown"),
        ("Bearer é", "token-unknown"),
    ],
)
def test_refuses_what_bears_no_good_token(gateway: Front, given: str, code: str) -> None:
    async def work() -> None:
        async with gateway.client(None) as client:
            answer = await client.get("/v1/machine", headers=[(b"Authorization", given.encode("latin-1"))])
            problem(answer, code)
            assert TOKENS[Role.ADMIN] not in answer.text

    run(work())


def test_refuses_two_authorizations(gateway: Front) -> None:
    async def work() -> None:
        async with gateway.client(None) as client:
            both = [("Authorization", f"Bearer {TOKENS[role]}") for role in (Role.ADMIN, Role.CALL)]
            problem(await client.get("/v1/machine", headers=both), "token-wanted")

    run(work())


@pytest.mark.parametrize("scheme", ["Bearer", "bearer", "BEARER"])
def test_the_schemes_case_does_not_matter(gateway: Front, scheme: str) -> None:
    async def work() -> None:
        async with gateway.client(None) as client:
            answer = await client.get("/v1/machine", headers={"Authorization": f"{scheme} {TOKENS[Role.CALL]}"})
            assert answer.status_code == 200

    run(work())


def test_a_token_in_the_query_opens_nothing(gateway: Front) -> None:
    async def work() -> None:
        async with gateway.client(None) as client:
            problem(await client.get(f"/v1/machine?access_token={TOKENS[Role.ADMIN]}"), "token-wanted")
        assert "casemate_" not in (gateway.folder / "gateway.log").read_text()

    run(work())


def test_paths_and_methods_that_do_not_exist_are_problems(gateway: Front) -> None:
    async def work() -> None:
        async with gateway.client() as client:
            problem(await client.get("/nowhere"), "not-found")
            answer = await client.put("/v1/machine")
            problem(answer, "method-refused")
            assert answer.headers["allow"] == "GET, HEAD"
            problem(await client.get("/v1/enclaves/"), "not-found")  # no redirect: it would take the token along

    run(work())


def test_a_defect_tells_nothing_outside_and_all_in_the_log(gateway: Front) -> None:
    gateway.host.trouble = ZeroDivisionError(SECRET)

    async def work() -> None:
        async with gateway.client() as client:
            answer = await client.get("/v1/collateral", headers={"X-Request-Id": "broken"})
        found = problem(answer, "internal")
        assert answer.status_code == 500
        assert SECRET not in answer.text
        assert found["request_id"] == "broken"
        defect, request = gateway.log()
        assert (defect["event"], defect["level"], defect["request_id"]) == ("defect", "error", "broken")
        assert "ZeroDivisionError" in defect["exception"]
        assert request["status"] == 500

    run(work())


@pytest.mark.parametrize("code", list(Code))
def test_every_refusal_of_the_hosts_has_its_status(gateway: Front, code: Code) -> None:
    gateway.host.trouble = refuse(code, "because")

    async def work() -> None:
        async with gateway.client() as client:
            answer = await client.get("/v1/collateral")
        assert problem(answer, code)["status"] == STATUS[code]
        assert ("retry-after" in answer.headers) == (answer.status_code in (429, 503))
        assert (code is Code.INTERNAL) or answer.json()["detail"] == "because"

    run(work())


def test_a_token_that_asks_too_often_waits_and_others_do_not(tmp_path: Path) -> None:
    gateway = front(tmp_path, Settings(token_rate=Rate(0.5, 3)))

    async def work() -> None:
        async with gateway.client(Role.CALL) as client:
            assert [(await client.get("/v1/machine")).status_code for _ in range(3)] == [200] * 3
            answer = await client.get("/v1/machine")
            problem(answer, "rate-limited")
            assert answer.headers["retry-after"] == "2"
            assert (await client.get("/health")).status_code == 200
        async with gateway.client(Role.DEPLOY) as client:
            assert (await client.get("/v1/machine")).status_code == 200

    run(work())


def test_guessing_tokens_is_slowed_down_and_good_ones_pass(tmp_path: Path) -> None:
    gateway = front(tmp_path, Settings(stranger_rate=Rate(0.1, 2)))

    async def work() -> None:
        async with gateway.client(None) as client:
            guess = {"Authorization": f"Bearer {token_text(bytes(32))}"}
            answers = [await client.get("/v1/machine", headers=guess) for _ in range(3)]
            assert [answer.status_code for answer in answers] == [401, 401, 429]
            assert int(answers[-1].headers["retry-after"]) == 10
        async with gateway.client() as client:
            assert (await client.get("/v1/machine")).status_code == 200

    run(work())


def test_only_so_many_requests_of_a_token_are_under_way(tmp_path: Path) -> None:
    gateway = front(tmp_path, Settings(token_requests_at_once=2))

    async def work() -> None:
        gate = asyncio.Event()
        gateway.host.slow = gate.wait  # type: ignore[assignment]
        async with gateway.client(Role.CALL) as client, gateway.client(Role.ADMIN) as other:
            body = {"function": "primes", "input": {}}
            waiting = [asyncio.create_task(client.post("/enclave/compute", json=body)) for _ in range(2)]
            await asyncio.sleep(0.05)
            problem(await client.get("/v1/machine"), "rate-limited")
            assert (await other.get("/v1/machine")).status_code == 200
            gate.set()
            assert [answer.status_code for answer in await asyncio.gather(*waiting)] == [200, 200]
            assert (await client.get("/v1/machine")).status_code == 200

    run(work())


def test_only_so_many_requests_are_under_way_together(tmp_path: Path) -> None:
    gateway = front(tmp_path, Settings(requests_at_once=1))

    async def work() -> None:
        gate = asyncio.Event()
        gateway.host.slow = gate.wait  # type: ignore[assignment]
        async with gateway.client(Role.CALL) as client, gateway.client(Role.ADMIN) as other:
            body = {"function": "primes", "input": {}}
            waiting = asyncio.create_task(client.post("/enclave/compute", json=body))
            await asyncio.sleep(0.05)
            problem(await other.get("/v1/machine"), "rate-limited")
            gate.set()
            assert (await waiting).status_code == 200

    run(work())


def test_the_log_has_one_line_a_request_and_no_secret(gateway: Front) -> None:
    async def work() -> None:
        async with gateway.client(Role.DEPLOY) as client:
            await client.get(f"/v1/enclaves/1/evidence?nonce={'ab' * 32}&secret={SECRET}")
            await client.post("/enclave/compute", json={"function": "hash", "input": {"text": SECRET}})
            await client.get(f"/{SECRET}")
            await client.request("BREW", "/v1/machine")

    run(work())
    text = (gateway.folder / "gateway.log").read_text()
    assert SECRET not in text
    assert "casemate_" not in text
    assert "ab" * 32 not in text
    shown = [(line["method"], line["route"], line["status"], line["token"]) for line in gateway.log()]
    assert shown == [
        ("GET", "/v1/enclaves/{id}/evidence", 404, "deploy"),
        ("POST", "/enclave/compute", 200, "deploy"),
        ("GET", "none", 404, "deploy"),
        ("OTHER", "/v1/machine", 405, "deploy"),
    ]
    assert all(line["milliseconds"] >= 0 and line["peer"] == "127.0.0.1" for line in gateway.log())


def test_a_client_that_leaves_is_no_defect(gateway: Front) -> None:
    async def receive() -> dict[str, Any]:
        return {"type": "http.disconnect"}

    async def send(_message: Any) -> None:
        raise AssertionError("nobody is there to be answered")

    scope = {
        "type": "http",
        "method": "POST",
        "path": "/v1/images",
        "raw_path": b"/v1/images",
        "query_string": b"",
        "headers": [
            (b"host", b"localhost"),
            (b"authorization", f"Bearer {TOKENS[Role.ADMIN]}".encode()),
            (b"content-type", b"application/octet-stream"),
        ],
        "client": ("127.0.0.1", 1),
    }
    run(gateway.gateway.edge(scope, receive, send))
    (line,) = gateway.log()
    assert (line["status"], line["event"]) == (edge.CLIENT_LEFT, "request")


def test_every_reference_of_the_openapi_document_leads_somewhere(gateway: Front) -> None:
    async def work() -> None:
        async with gateway.client(None) as client:
            text = (await client.get("/openapi.json")).text
        schemas = json.loads(text)["components"]["schemas"]
        named = set(re.findall(r'"\$ref":"([^"]+)"', text))
        assert named == {f"#/components/schemas/{name.rpartition('/')[2]}" for name in named}
        assert {name.rpartition("/")[2] for name in named} <= set(schemas)
        assert "$defs" not in text

    run(work())


def test_the_openapi_document_is_json_and_the_page_loads_nothing(gateway: Front) -> None:
    async def work() -> None:
        async with gateway.client(None) as client:
            assert json.loads((await client.get("/openapi.json")).content)["openapi"].startswith("3.1")
            page = await client.get("/docs")
        assert page.headers["content-type"].startswith("text/html")
        assert "default-src 'none'" in page.headers["content-security-policy"]
        assert not [word for word in ("<script", "src=", "http://", "https://") if word in page.text]

    run(work())
