"""Requests that go past the framework are answered as the framework's own routes for them answer."""

from typing import Any

import httpx
import pytest
from tests.rigs.gateway.deployed import ENVELOPE, KIND, deployed
from tests.rigs.gateway.front import Front, run

from casemate.gateway.http.fast_path import FastPath
from casemate.wire.encodings.message import encode_message

CALL = encode_message(ENVELOPE)
JSON = {"Content-Type": "application/json"}
PRIMES = b'{"function": "primes", "input": {"up_to": 10}}'
ECALL = b'{"entry": "primes", "arguments": {"up_to": 10}}'


def _shown(answer: httpx.Response) -> tuple[int, dict[str, str], Any]:
    """An answer without what differs between two of the same request."""
    headers = {name: value for name, value in answer.headers.items() if name not in ("x-request-id", "date")}
    if "json" not in answer.headers.get("content-type", ""):
        return answer.status_code, headers, answer.content
    headers.pop("content-length")
    return answer.status_code, headers, {**answer.json(), "request_id": ""}


@pytest.mark.parametrize(
    ("path", "content", "headers", "status"),
    [
        ("/v1/enclaves/1/calls", CALL, KIND, 200),
        ("/v1/enclaves/9/calls", CALL, KIND, 404),
        ("/v1/enclaves/1/calls", b"no envelope", KIND, 400),
        ("/v1/enclaves/1/calls", b"", KIND, 400),
        ("/v1/enclaves/1/calls", CALL, JSON, 415),
        ("/v1/functions/counter/calls", CALL, KIND, 200),
        ("/v1/functions/nobody/calls", CALL, KIND, 404),
        ("/v1/functions/7/calls", CALL, KIND, 422),
        ("/v1/functions/a--1-/calls", CALL, KIND, 422),
        ("/v1/functions/counter/calls", b"no envelope", KIND, 400),
        ("/enclave/compute", PRIMES, JSON, 200),
        ("/enclave/compute", b'{"function": 1}', JSON, 422),
        ("/enclave/compute", b"{", JSON, 422),
        ("/enclave/compute", PRIMES, KIND, 415),
        ("/enclave/ecall", ECALL, JSON, 200),
        ("/enclave/ecall", ECALL.replace(b"}}", b'}, "enclave": 9}'), JSON, 404),
        ("/enclave/ecall", b'{"entry": "primes", "unknown": 1}', JSON, 422),
    ],
)
def test_the_fast_path_answers_as_the_framework_does(
    gateway: Front, monkeypatch: pytest.MonkeyPatch, path: str, content: bytes, headers: dict[str, str], status: int
) -> None:
    async def work() -> None:
        async with gateway.client() as client:
            await deployed(client)
            await client.post("/v1/functions/counter/switch", json={"enclave": 1, "replaces": 0, "drain": 0})
            await client.post("/enclave/compute", content=PRIMES, headers=JSON)  # launches the learner's enclave
            fast = _shown(await client.post(path, content=content, headers=headers))
            with monkeypatch.context() as patched:
                patched.setattr(FastPath, "__call__", lambda self, *arguments: self._app(*arguments))
                framework = _shown(await client.post(path, content=content, headers=headers))
        assert fast[0] == status, fast
        assert fast == framework

    run(work())
