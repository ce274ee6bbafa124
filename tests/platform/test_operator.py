"""The operator's token opens the gateway and no enclave: it reads no secret of an owner, whatever it asks."""

from collections.abc import Iterator
from pathlib import Path

import httpx
import pytest
from tests.rigs.examples import Built, built
from tests.rigs.platform.canaries import Canary, found
from tests.rigs.platform.machine import Platform, policy_for

from casemate.cli.images import runtime
from casemate.client import CallerKey, Enclave
from casemate.wire.errors import CasemateError
from casemate.wire.protocol.runtime_lock import RuntimeLock

pytestmark = pytest.mark.machine

NAME = "payments/database-password"
NONCE = {"nonce": "00" * 32}
READ = {"owner": "alice", "name": NAME}


@pytest.fixture
def vault(tmp_path: Path) -> Built:
    here = runtime()
    return built("secret-manager", RuntimeLock().with_runtime(here.platform, here.parts), tmp_path)


def test_the_admin_token_alone_reads_no_secret(platform: Platform, vault: Built) -> None:
    secret = Canary("the owner's secret")
    policy = policy_for(platform.machine, vault.image)
    with platform.connect() as client:
        owners = client.attest(client.launch(vault.image), policy)
        kept = owners.call("put", {"name": NAME, "value": secret.text}, caller=vault.callers["alice"]).value
        assert kept == {"name": NAME, "version": 1}
        operators = client.attest(owners.number, policy)
        heard = dict(everything_asked(platform, owners.number))
        heard |= everything_called(operators)
        assert found([secret], heard) == []
        read = owners.call("read", READ, caller=vault.callers["alice"]).value
        assert found([secret], {"the owner's own answer": str(read).encode()}), "the owner reads it"


def everything_called(operators: Enclave) -> Iterator[tuple[str, bytes]]:
    """What the enclave answers to somebody who holds the token, and no owner's key."""
    for who in (None, CallerKey.generate()):
        for entry, value in (("read", READ), ("list", None), ("audit", {}), ("rotate", {"name": NAME, "value": ""})):
            try:
                answer = repr(operators.call(entry, value, caller=who).value)
            except CasemateError as refusal:
                answer = repr(refusal)
            yield f"call of {entry}", answer.encode()


def everything_asked(platform: Platform, enclave: int) -> Iterator[tuple[str, bytes]]:
    """The answers of every route that the gateway has, asked with the admin's token."""
    bearer = {"Authorization": f"Bearer {platform.token}"}
    with httpx.Client(base_url=platform.url, headers=bearer, timeout=30) as asking:
        document = asking.get("/openapi.json").raise_for_status().json()
        image = asking.get(f"/v1/enclaves/{enclave}").raise_for_status().json()["image"]
        for path, item in document["paths"].items():
            named = path.replace("{id}", str(enclave)).replace("{image}", image)
            for method in set(item) - ({"post"} if path.endswith("/stop") else {"delete"}):
                if not path.endswith("/events"):  # which has no end
                    answer = asking.request(method, named, params=NONCE, json=NONCE | {"enclave": enclave})
                    yield f"{method} {path}", answer.content + str(answer.headers).encode()
        for entry in ("read", "list", "audit", "put"):
            answer = asking.post("/enclave/ecall", json={"entry": entry, "arguments": READ, "enclave": enclave})
            assert answer.is_client_error, "no entry point of it may be called in the clear"
            yield f"ecall of {entry}", answer.content
