"""What the gateway's answers must look like."""

from typing import Any

import httpx

from casemate.gateway.http.problems import MEDIA_TYPE


def problem(answer: httpx.Response, code: str, *more: str) -> dict[str, Any]:
    """The problem that an answer is, which has to be of that code, and whole."""
    assert answer.headers["content-type"] == MEDIA_TYPE
    found: dict[str, Any] = answer.json()
    assert sorted(found) == sorted(["code", "detail", "instance", "request_id", "status", "title", "type", *more])
    assert found["code"] == code, found
    assert found["type"] == f"urn:casemate:problem:{code}"
    assert found["status"] == answer.status_code
    assert found["request_id"] == answer.headers["x-request-id"]
    return found
