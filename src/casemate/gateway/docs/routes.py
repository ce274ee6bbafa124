"""`/openapi.json`, and `/docs`: the same for people, on one page that loads nothing from anywhere."""

import importlib
import json
from typing import Any

from fastapi import FastAPI
from starlette.requests import Request
from starlette.responses import RedirectResponse, Response

from casemate.gateway.http.problems import STATUS
from casemate.gateway.http.roles import SCHEME
from casemate.gateway.v1.documents import EvidenceDocument

_POLICY = "default-src 'none'; style-src 'unsafe-inline'; frame-ancestors 'none'; base-uri 'none'; form-action 'none'"


def add_document(app: FastAPI) -> None:
    """Adds both, and the way there from `/`. They are made when they are first asked for: few machines ever are."""
    kept: dict[str, bytes] = {}

    def made() -> dict[str, bytes]:
        if not kept:
            found = document(app)
            kept["json"] = json.dumps(found, separators=(",", ":")).encode()
            page = importlib.import_module("casemate.gateway.docs.page").page
            kept["html"] = page(found).encode()
        return kept

    async def openapi(_request: Request) -> Response:
        return Response(made()["json"], media_type="application/json")

    async def page(_request: Request) -> Response:
        return Response(made()["html"], media_type="text/html", headers={"Content-Security-Policy": _POLICY})

    async def start(_request: Request) -> Response:
        return RedirectResponse("/docs")

    app.add_route("/", start, include_in_schema=False)
    app.add_route("/openapi.json", openapi, include_in_schema=False)
    app.add_route("/docs", page, include_in_schema=False)


def document(app: FastAPI) -> dict[str, Any]:
    """The OpenAPI 3.1 document of an app."""
    found = app.openapi()
    parts = found.setdefault("components", {})
    parts.setdefault("schemas", {})["Problem"] = _PROBLEM
    evidence = EvidenceDocument.model_json_schema(ref_template="#/components/schemas/{model}")
    parts["schemas"] |= evidence.pop("$defs", {}) | {"EvidenceDocument": evidence}
    parts["securitySchemes"] = {SCHEME: _TOKEN}
    for name in ("HTTPValidationError", "ValidationError"):
        parts["schemas"].pop(name, None)
    return found


_TOKEN = {
    "type": "http",
    "scheme": "bearer",
    "bearerFormat": "casemate_ and 32 bytes in base64url",
    "description": "`casemate up` prints the token of its run; `casemate token` makes others. Roles: "
    "`admin` may do all that `deploy` may, and `deploy` all that `call` may. "
    "A token opens the gateway, never an enclave.",
}
_PROBLEM = {
    "title": "Problem",
    "description": "A refusal (RFC 9457).",
    "type": "object",
    "required": ["type", "title", "status", "detail", "code", "instance", "request_id"],
    "properties": {
        "type": {"type": "string", "description": "`urn:casemate:problem:` and the code."},
        "title": {"type": "string", "description": "The status in words."},
        "status": {"type": "integer", "minimum": 400, "maximum": 599},
        "detail": {"type": "string", "description": "For a person: what was got, what was wanted."},
        "code": {"type": "string", "enum": sorted(str(code) for code in STATUS), "description": "For a program."},
        "instance": {"type": "string", "description": "The path that was asked for."},
        "request_id": {"type": "string", "description": "Also in `X-Request-Id` and in the gateway's log."},
    },
}
