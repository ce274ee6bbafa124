"""`/openapi.json`, and `/docs`: the same for people, on one page that loads nothing from anywhere."""

import importlib
import json

from fastapi import FastAPI
from starlette.requests import Request
from starlette.responses import RedirectResponse, Response

from casemate.gateway.http.openapi import document

_POLICY = "default-src 'none'; style-src 'unsafe-inline'; frame-ancestors 'none'; base-uri 'none'; form-action 'none'"


def add_document(app: FastAPI) -> None:
    """Adds both, and the way there from `/`. They are made when they are first asked for: few machines ever are."""
    kept: dict[str, bytes] = {}

    def made() -> dict[str, bytes]:
        if not kept:
            found = document(app)
            kept["json"] = json.dumps(found, separators=(",", ":")).encode()
            page = importlib.import_module("casemate.gateway.http.docs_text").page
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
