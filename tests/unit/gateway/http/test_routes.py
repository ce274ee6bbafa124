import base64

import pytest
from tests.rigs.gateway.answers import problem
from tests.rigs.gateway.deployed import DIGEST, ENVELOPE, IMAGE, KIND, deployed
from tests.rigs.gateway.front import COLLATERAL, ROOT, Front, run

from casemate.gateway.http.bodies import BINARY, JSON
from casemate.wire.encodings.message import encode_message, parse_message
from casemate.wire.messages.host import EvidenceIs
from casemate.wire.protocol.access_tokens import Role
from casemate.wire.protocol.faults import Code, refuse
from casemate.wire.protocol.lifecycle import State

NONCE = "0a" * 32


@pytest.mark.parametrize(("role", "launcher"), [(Role.ADMIN, ""), (Role.DEPLOY, "deploy")])
def test_enclave_is_launched_for_the_token_that_asks_and_for_nobody_if_that_is_the_owners(
    gateway: Front, role: Role, launcher: str
) -> None:
    async def work() -> None:
        async with gateway.client(role) as client:
            await deployed(client)
        assert gateway.host.launcher == launcher

    run(work())


def test_health_says_that_it_serves(gateway: Front) -> None:
    async def work() -> None:
        async with gateway.client(None) as client:
            answer = await client.get("/health")
            assert answer.json() == {"status": "serving", "version": "0.1.0"}

    run(work())


def test_the_machine_is_what_the_supervisor_wrote(gateway: Front) -> None:
    async def work() -> None:
        async with gateway.client(Role.CALL) as client:
            assert (await client.get("/v1/machine")).json() == {
                "platform": "linux-x86_64-cp311",
                "runtime": {"core": "ab" * 32},
                "seeded": True,
                "root_certificate": ROOT,
                "version": "0.1.0",
            }
            for damaged in ("", "{}", "[]", '{"platform": 1}'):
                (gateway.folder / "machine.json").write_text(damaged)
                problem(await client.get("/v1/machine"), "unavailable")
            (gateway.folder / "machine.json").unlink()
            problem(await client.get("/v1/machine"), "unavailable")

    run(work())


def test_an_images_life(gateway: Front) -> None:
    async def work() -> None:
        async with gateway.client(Role.DEPLOY) as client:
            answer = await client.post("/v1/images", content=encode_message(IMAGE), headers=KIND)
            assert (answer.status_code, answer.headers["location"]) == (201, f"/v1/images/{DIGEST}")
            shown = answer.json()
            assert (shown["image"], shown["name"], shown["size"]) == (DIGEST, "counter", 1813)
            assert (await client.get(answer.headers["location"])).json() == shown
            assert (await client.get("/v1/images")).json() == {"images": [shown]}
            answer = await client.delete(f"/v1/images/{DIGEST}")
            assert (answer.status_code, answer.content) == (204, b"")
            problem(await client.get(f"/v1/images/{DIGEST}"), "unknown-image")
            problem(await client.delete(f"/v1/images/{DIGEST}"), "unknown-image")

    run(work())


@pytest.mark.parametrize(
    "body", [b"", b"x", encode_message(IMAGE)[:-1], encode_message(IMAGE) + b"x", encode_message(ENVELOPE)]
)
def test_refuses_an_upload_that_is_no_image(gateway: Front, body: bytes) -> None:
    async def work() -> None:
        async with gateway.client() as client:
            problem(await client.post("/v1/images", content=body, headers=KIND), "malformed")

    run(work())


@pytest.mark.parametrize("image", ["x", DIGEST.upper(), DIGEST[:-1], DIGEST + "0", "..", "%00", DIGEST + "%0a"])
def test_refuses_a_name_that_no_image_has(gateway: Front, image: str) -> None:
    async def work() -> None:
        async with gateway.client() as client:
            answer = await client.get(f"/v1/images/{image}")
            assert answer.status_code in (404, 422)
            assert answer.json()["code"] in ("request-refused", "not-found")

    run(work())


def test_an_enclaves_life(gateway: Front) -> None:
    async def work() -> None:
        async with gateway.client(Role.DEPLOY) as client:
            shown = await deployed(client)
            assert shown == {
                "id": 1,
                "name": "counter",
                "image": DIGEST,
                "mr_enclave": "01" * 32,
                "mr_signer": "02" * 32,
                "isv_prod_id": 1,
                "isv_svn": 1,
                "debug": False,
                "state": "running",
                "reason": "",
                "ra_tls_port": None,
                "tee": "sgx",
                "launch_digest": None,
                "owner": None,
            }
            assert (await client.get("/v1/enclaves/1")).json() == shown
            assert (await client.get("/v1/enclaves")).json() == {"enclaves": [shown]}
            assert (await client.post("/v1/enclaves/1/stop")).json()["state"] == "stopped"
            problem(await client.post("/v1/enclaves/1/stop"), "wrong-state")
            assert (await client.post("/v1/enclaves/1/start")).json()["state"] == "running"
            assert (await client.delete("/v1/enclaves/1")).json()["state"] == "destroyed"
            for method, path in [("GET", ""), ("DELETE", ""), ("POST", "/start"), ("POST", "/stop")]:
                problem(await client.request(method, f"/v1/enclaves/1{path}"), "unknown-enclave")

    run(work())


def test_an_enclave_may_have_a_name_of_its_own(gateway: Front) -> None:
    async def work() -> None:
        async with gateway.client() as client:
            assert (await deployed(client, "mine: 1"))["name"] == "mine: 1"

    run(work())


@pytest.mark.parametrize(
    "asked",
    [
        {},
        {"image": None},
        {"image": 1},
        {"image": "x"},
        {"image": DIGEST.upper()},
        {"image": DIGEST + "\n"},
        {"image": DIGEST, "name": ""},
        {"image": DIGEST, "name": "x" * 65},
        {"image": DIGEST, "name": " x"},
        {"image": DIGEST, "name": "a\nb"},
        {"image": DIGEST, "name": "ä"},
        {"image": DIGEST, "debug": True},
        [DIGEST],
    ],
)
def test_refuses_a_launch_that_is_not_as_documented(gateway: Front, asked: object) -> None:
    async def work() -> None:
        async with gateway.client() as client:
            problem(await client.post("/v1/enclaves", json=asked), "request-refused")

    run(work())


def test_an_image_that_is_not_there_cannot_be_launched(gateway: Front) -> None:
    async def work() -> None:
        async with gateway.client() as client:
            problem(await client.post("/v1/enclaves", json={"image": DIGEST}), "unknown-image")

    run(work())


@pytest.mark.parametrize("number", ["-1", "x", "1.5", str(2**53), "99999999999999999999999", "%31x", "1e3", "true"])
def test_refuses_a_number_that_no_enclave_has(gateway: Front, number: str) -> None:
    async def work() -> None:
        async with gateway.client() as client:
            problem(await client.get(f"/v1/enclaves/{number}"), "request-refused")

    run(work())


def test_evidence_comes_as_bytes_or_as_json(gateway: Front) -> None:
    async def work() -> None:
        async with gateway.client(Role.CALL) as client, gateway.client(Role.DEPLOY) as deployer:
            await deployed(deployer)
            path = f"/v1/enclaves/1/evidence?nonce={NONCE}"
            answer = await client.get(path)
            assert answer.headers["content-type"] == BINARY
            found = parse_message(answer.content, EvidenceIs)
            assert (found.evidence, found.receipt_key, found.session) == (b"quote", bytes.fromhex(NONCE), 7)
            assert (await client.get(path, headers={"Accept": f"{JSON};q=0.5, {BINARY}"})).content == answer.content
            shown = (await client.get(path, headers={"Accept": JSON})).json()
            assert base64.b64decode(shown["evidence"]) == b"quote"
            assert base64.b64decode(shown["receipt_key"]).hex() == NONCE
            assert base64.b64decode(shown["endorsements"]) == COLLATERAL
            problem(await client.get(path, headers={"Accept": "text/html"}), "not-acceptable")

    run(work())


@pytest.mark.parametrize(
    "query", ["", "?nonce=", "?nonce=zz", f"?nonce={NONCE}00", f"?nonce={NONCE[:-1]}", f"?nonce={NONCE}%0a"]
)
def test_refuses_a_challenge_without_a_whole_nonce(gateway: Front, query: str) -> None:
    async def work() -> None:
        async with gateway.client() as client:
            problem(await client.get(f"/v1/enclaves/1/evidence{query}"), "request-refused")

    run(work())


def test_a_sealed_call_goes_through_as_it_is(gateway: Front) -> None:
    async def work() -> None:
        async with gateway.client(Role.CALL) as client, gateway.client(Role.DEPLOY) as deployer:
            await deployed(deployer)
            answer = await client.post("/v1/enclaves/1/calls", content=encode_message(ENVELOPE), headers=KIND)
            assert (answer.status_code, answer.headers["content-type"]) == (200, BINARY)
            assert answer.content == b"sealed request"
            (call,) = gateway.host.calls
            assert (call.enclave, call.envelope) == (1, ENVELOPE)

    run(work())


@pytest.mark.parametrize(
    "body", [b"", b"x", encode_message(ENVELOPE)[:-1], encode_message(ENVELOPE) + b"x", encode_message(IMAGE)]
)
def test_refuses_a_call_that_is_no_envelope(gateway: Front, body: bytes) -> None:
    async def work() -> None:
        async with gateway.client() as client:
            problem(await client.post("/v1/enclaves/1/calls", content=body, headers=KIND), "malformed")
        assert gateway.host.calls == []

    run(work())


@pytest.mark.parametrize(
    ("code", "status"),
    [(Code.CANNOT_OPEN, 409), (Code.SESSION_UNKNOWN, 409), (Code.BUSY, 429), (Code.LOST, 503), (Code.TIMED_OUT, 504)],
)
def test_what_an_enclave_refuses_has_its_status(gateway: Front, code: Code, status: int) -> None:
    async def work() -> None:
        async with gateway.client() as client:
            await deployed(client)
            gateway.host.trouble = refuse(code, "because")
            answer = await client.post("/v1/enclaves/1/calls", content=encode_message(ENVELOPE), headers=KIND)
            assert problem(answer, code)["status"] == status

    run(work())


def test_collateral_is_what_the_vendor_publishes(gateway: Front) -> None:
    async def work() -> None:
        async with gateway.client(Role.CALL) as client:
            answer = await client.get("/v1/collateral")
            assert (answer.content, answer.headers["content-type"]) == (COLLATERAL, JSON)

    run(work())


def test_figures_are_for_admins_and_count_requests_and_enclaves(gateway: Front) -> None:
    async def work() -> None:
        async with gateway.client() as client:
            await deployed(client)
            gateway.host.become(1, State.LOST)
            await client.get("/nowhere")
            answer = await client.get("/metrics")
            assert answer.headers["content-type"].startswith("text/plain")
            lines = answer.text.splitlines()
            assert 'casemate_enclaves{state="lost"} 1.0' in lines
            assert 'casemate_enclaves{state="running"} 0.0' in lines
            assert 'casemate_gateway_requests_total{method="POST",route="/v1/images",status="201"} 1.0' in lines
            assert 'casemate_gateway_requests_total{method="GET",route="none",status="404"} 1.0' in lines
            assert 'casemate_gateway_request_seconds_count{route="/v1/enclaves"} 1.0' in lines

    run(work())


NEEDS = [
    (Role.CALL, "GET", "/v1/machine"),
    (Role.CALL, "GET", "/v1/images"),
    (Role.DEPLOY, "GET", "/v1/log"),
    (Role.DEPLOY, "POST", "/v1/images"),
    (Role.CALL, "GET", f"/v1/images/{DIGEST}"),
    (Role.DEPLOY, "DELETE", f"/v1/images/{DIGEST}"),
    (Role.DEPLOY, "POST", "/v1/enclaves"),
    (Role.CALL, "GET", "/v1/enclaves"),
    (Role.CALL, "GET", "/v1/enclaves/1"),
    (Role.DEPLOY, "DELETE", "/v1/enclaves/1"),
    (Role.DEPLOY, "POST", "/v1/enclaves/1/start"),
    (Role.DEPLOY, "POST", "/v1/enclaves/1/stop"),
    (Role.CALL, "GET", f"/v1/enclaves/1/evidence?nonce={NONCE}"),
    (Role.CALL, "POST", "/v1/enclaves/1/calls"),
    (Role.CALL, "GET", "/v1/functions"),
    (Role.CALL, "GET", "/v1/functions/counter"),
    (Role.DEPLOY, "POST", "/v1/functions/counter/switch"),
    (Role.CALL, "GET", f"/v1/functions/counter/evidence?nonce={NONCE}"),
    (Role.CALL, "POST", "/v1/functions/counter/calls"),
    (Role.CALL, "GET", "/v1/services"),
    (Role.CALL, "GET", "/v1/services/counter"),
    (Role.DEPLOY, "PUT", "/v1/services/counter/start"),
    (Role.DEPLOY, "PUT", "/v1/services/counter/stop"),
    (Role.CALL, "POST", "/v1/services/counter/tell"),
    (Role.CALL, "GET", "/v1/collateral"),
    (Role.ADMIN, "GET", "/metrics"),
    (Role.CALL, "POST", "/enclave/compute"),
    (Role.CALL, "POST", "/enclave/ecall"),
    (Role.CALL, "POST", "/enclave/ocall"),
    (Role.CALL, "POST", "/enclave/seal"),
    (Role.CALL, "POST", "/enclave/unseal"),
    (Role.CALL, "POST", "/enclave/attest"),
    (Role.DEPLOY, "POST", "/vm/launch"),
    (Role.DEPLOY, "POST", "/vm/encrypt"),
    (Role.CALL, "POST", "/vm/attest"),
    (Role.DEPLOY, "POST", "/v1/vms"),
    (Role.CALL, "GET", "/v1/vms"),
    (Role.CALL, "GET", "/v1/vms/1"),
    (Role.DEPLOY, "DELETE", "/v1/vms/1"),
    (Role.DEPLOY, "POST", "/v1/vms/1/encrypt?gpa=0x0"),
    (Role.DEPLOY, "POST", "/v1/vms/1/finish"),
    (Role.DEPLOY, "POST", "/v1/vms/1/run"),
    (Role.DEPLOY, "POST", "/v1/vms/1/pause"),
    (Role.CALL, "GET", "/v1/vms/1/console"),
    (Role.CALL, "GET", "/v1/vms/1/console/events"),
    (Role.CALL, "GET", "/v1/vms/1/memory?address=0x0"),
    (Role.CALL, "GET", "/v1/vms/1/rmp"),
    (Role.CALL, "GET", "/v1/vms/1/registers"),
    (Role.CALL, "POST", "/v1/vms/1/attest"),
    (Role.DEPLOY, "POST", "/v1/vms/1/write?spa=0x0&door=dram"),
    (Role.DEPLOY, "POST", "/v1/vms/1/map"),
    (Role.DEPLOY, "POST", "/v1/vms/1/assign"),
    (Role.DEPLOY, "POST", "/v1/vms/1/input"),
]


@pytest.mark.parametrize(("needed", "method", "path"), NEEDS)
@pytest.mark.parametrize("role", list(Role))
def test_each_route_wants_its_role_and_says_which(
    gateway: Front, needed: Role, method: str, path: str, role: Role
) -> None:
    async def work() -> None:
        async with gateway.client(role) as client:
            answer = await client.request(method, path)
        if role.allows(needed):
            assert answer.status_code not in (401, 403)
        else:
            detail = problem(answer, "role-refused")["detail"]
            assert detail == f"token {role} has the role {role}, this needs {needed}"
            assert f'scope="{needed}"' in answer.headers["www-authenticate"]

    run(work())


def test_the_table_of_roles_names_every_route(gateway: Front) -> None:
    found = set()
    for path, operations in gateway.gateway.app.openapi()["paths"].items():
        for method, operation in operations.items():
            found.add((path, method.upper(), [*operation["security"], {"token": [None]}][0]["token"][0]))
    plain = {"id": "1", "image": DIGEST, "name": "counter", "called": "tell"}
    shown = {(path.format_map(plain), method, role) for path, method, role in found}
    known = {(path.partition("?")[0], method, str(role)) for role, method, path in NEEDS}
    assert shown == known | {("/health", "GET", None), ("/v1/events", "GET", "call")}
