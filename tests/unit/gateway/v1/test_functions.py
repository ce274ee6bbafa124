"""Functions by their names, over HTTP."""

from typing import Any

import pytest
from tests.rigs.gateway.answers import problem
from tests.rigs.gateway.deployed import DIGEST, ENVELOPE, KIND, deployed
from tests.rigs.gateway.front import Front, run

from casemate.wire.encodings.message import encode_message, parse_message
from casemate.wire.messages.host import EvidenceIs
from casemate.wire.protocol.access_tokens import Role
from casemate.wire.protocol.faults import Code, refuse

NONCE = "ab" * 32
FIRST = {"enclave": 1, "replaces": 0, "drain": 0}


def test_a_name_is_switched_shown_attested_and_called(gateway: Front) -> None:
    async def work() -> None:
        async with gateway.client() as client:
            await deployed(client)
            made = await client.post("/v1/enclaves", json={"image": DIGEST, "name": "counter", "candidate": True})
            assert made.status_code == 201
            assert gateway.host.candidates == [False, True]
            assert (await client.get("/v1/functions")).json() == {"functions": []}
            assert (await client.post("/v1/functions/counter/switch", json=FIRST)).status_code == 200
            second = FIRST | {"enclave": 2, "replaces": 1}
            switched = (await client.post("/v1/functions/counter/switch", json=second)).json()
            assert (switched["current"]["id"], switched["previous"]["id"], switched["deployed"]) == (2, 1, True)
            assert (await client.get("/v1/functions/counter")).json() == switched
            assert (await client.get("/v1/functions")).json() == {"functions": [switched]}
            evidence = await client.get(f"/v1/functions/counter/evidence?nonce={NONCE}")
            assert parse_message(evidence.content, EvidenceIs).receipt_key.hex() == NONCE
            accept = {"Accept": "application/json"}
            shown = await client.get(f"/v1/functions/counter/evidence?nonce={NONCE}", headers=accept)
            assert shown.json()["tee"] == "sgx"
            answer = await client.post("/v1/functions/counter/calls", content=encode_message(ENVELOPE), headers=KIND)
            assert answer.content == b"sealed request"
            assert gateway.host.calls[-1].enclave == 2

    run(work())


def test_what_cannot_be_is_refused(gateway: Front) -> None:
    async def work() -> None:
        async with gateway.client() as client:
            await deployed(client)
            for path in ("/v1/functions/counter", f"/v1/functions/counter/evidence?nonce={NONCE}"):
                problem(await client.get(path), "unknown-enclave")
            for name in ("7", "Counter", "a-", "a" * 65, "%2e%2e", "a%20b"):
                problem(await client.get(f"/v1/functions/{name}"), "request-refused")
            switch = "/v1/functions/counter/switch"
            bodies: list[dict[str, Any]] = [
                {},
                FIRST | {"drain": 3601},
                FIRST | {"drain": -1},
                FIRST | {"drain": "5"},
                FIRST | {"enclave": True},
                FIRST | {"more": 1},
            ]
            for body in bodies:
                problem(await client.post(switch, json=body), "request-refused")
            problem(await client.post(switch, json=FIRST | {"enclave": 9}), "unknown-enclave")
            problem(await client.post(switch, json=FIRST | {"replaces": 3}), "wrong-state")
            image = {"image": DIGEST, "candidate": "yes"}
            problem(await client.post("/v1/enclaves", json=image), "request-refused")
            nothing = {"Accept": "image/png"}
            await client.post(switch, json=FIRST)
            refused = await client.get(f"/v1/functions/counter/evidence?nonce={NONCE}", headers=nothing)
            problem(refused, "not-acceptable")

    run(work())


@pytest.mark.parametrize(("role", "status"), [(Role.CALL, 403), (Role.DEPLOY, 200), (None, 401)])
def test_a_switch_takes_the_role_deploy(gateway: Front, role: Role | None, status: int) -> None:
    async def work() -> None:
        async with gateway.client() as owner, gateway.client(role) as client:
            await deployed(owner)
            assert (await client.post("/v1/functions/counter/switch", json=FIRST)).status_code == status

    run(work())


def test_a_refusal_says_when_to_try_again_where_the_host_does(gateway: Front) -> None:
    async def work() -> None:
        async with gateway.client() as client:
            await deployed(client)
            gateway.host.trouble = refuse(Code.SESSION_UNKNOWN, "enclave 1 was replaced", retry_after=1.2)
            answer = await client.post("/v1/enclaves/1/calls", content=encode_message(ENVELOPE), headers=KIND)
            problem(answer, "session-unknown")
            assert answer.headers["retry-after"] == "2"
            gateway.host.trouble = refuse(Code.SESSION_UNKNOWN, "no session 7")
            answer = await client.post("/v1/enclaves/1/calls", content=encode_message(ENVELOPE), headers=KIND)
            assert "retry-after" not in answer.headers

    run(work())
