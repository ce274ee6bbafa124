"""`/openapi.json`, and `/docs`: the same for people, on one page that loads nothing from anywhere."""

import json
from html import escape
from typing import Any

from fastapi import FastAPI
from starlette.requests import Request
from starlette.responses import Response

from casemate.gateway.openapi import document

_POLICY = "default-src 'none'; style-src 'unsafe-inline'; frame-ancestors 'none'; base-uri 'none'; form-action 'none'"
_STYLE = (
    "body{font:16px/1.5 system-ui,sans-serif;max-width:60rem;margin:2rem auto;padding:0 1rem}"
    "code{background:#8882;padding:0 .25em;border-radius:3px}h2{font-size:1rem;margin:2rem 0 .25rem}"
    "table{border-collapse:collapse}td{padding:.1rem .8rem .1rem 0;vertical-align:top}"
    ":root{color-scheme:light dark}"
)


def add_document(app: FastAPI) -> None:
    """Adds both. The document is made when it is first asked for: that takes a while, and few machines are."""
    kept: dict[str, bytes] = {}

    def made() -> dict[str, bytes]:
        if not kept:
            found = document(app)
            kept["json"] = json.dumps(found, separators=(",", ":")).encode()
            kept["html"] = _page(found).encode()
        return kept

    async def openapi(_request: Request) -> Response:
        return Response(made()["json"], media_type="application/json")

    async def page(_request: Request) -> Response:
        return Response(made()["html"], media_type="text/html", headers={"Content-Security-Policy": _POLICY})

    app.add_route("/openapi.json", openapi, include_in_schema=False)
    app.add_route("/docs", page, include_in_schema=False)


def _page(found: dict[str, Any]) -> str:
    parts = [f"<h1>{escape(found['info']['title'])} {escape(found['info']['version'])}</h1>"]
    parts.append(f"<p>{escape(found['info']['description'])}</p>")
    parts.append('<p>For programs: <a href="openapi.json">openapi.json</a>, OpenAPI 3.1.</p>')
    for path, operations in found["paths"].items():
        for method, operation in operations.items():
            parts.append(f"<h2><code>{escape(method.upper())} {escape(path)}</code></h2>")
            parts.append(f"<p>{escape(operation.get('description', ''))}</p><table>")
            parts += [
                f"<tr><td>{escape(status)}</td><td>{escape(response['description'])}</td></tr>"
                for status, response in operation["responses"].items()
            ]
            parts.append("</table>")
    return (
        '<!doctype html><html lang="en"><meta charset="utf-8"><title>Casemate</title>'
        f"<style>{_STYLE}</style><body>{''.join(parts)}</body></html>"
    )
