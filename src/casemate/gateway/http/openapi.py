"""Adds to the OpenAPI document what FastAPI does not derive: refusals, tokens, binary bodies."""

from typing import Any

from pydantic import BaseModel
from starlette.responses import Response

from casemate.gateway.http.bodies import BINARY, JSON
from casemate.gateway.http.problems import MEDIA_TYPE, STATUS, Trouble
from casemate.gateway.http.roles import wants
from casemate.wire.protocol.access_tokens import Role
from casemate.wire.protocol.faults import Code

_EVERYWHERE = (
    Trouble.TOKEN_WANTED,
    Trouble.TOKEN_UNKNOWN,
    Trouble.HOST_REFUSED,
    Trouble.RATE_LIMITED,
)


def operation(name: str, role: Role, *codes: Code | Trouble, body: str | None = None) -> dict[str, Any]:
    """The keyword arguments with which a route is declared.

    Args:
        name: the operation's id.
        role: the least role that may.
        codes: how it may refuse, beside what any request may meet.
        body: what the binary body is, if the route reads one by itself.
    """
    refusals = {*codes, *_EVERYWHERE, *(() if role is Role.CALL else (Trouble.ROLE_REFUSED,))}
    if body is not None:
        refusals |= {Trouble.MEDIA_TYPE_REFUSED, Trouble.BODY_TOO_LARGE, Trouble.BODY_TOO_SLOW, Code.MALFORMED}
    extra = wants(role)
    if body is not None:
        extra["requestBody"] = {"required": True, "description": body, "content": {BINARY: _BYTES}}
    return {
        "operation_id": name,
        "responses": refusals_of(refusals),
        "openapi_extra": extra,
        "response_description": "Done.",
    }


def refusals_of(codes: set[Code | Trouble]) -> dict[int | str, dict[str, Any]]:
    """The refusing responses of an operation, by status."""
    found: dict[int | str, dict[str, Any]] = {}
    for status in sorted({STATUS[code] for code in codes}):
        names = ", ".join(sorted(f"`{code}`" for code in codes if STATUS[code] == status))
        found[status] = {
            "description": f"Refused: {names}.",
            "content": {MEDIA_TYPE: {"schema": {"$ref": "#/components/schemas/Problem"}}},
        }
    return found


def json_body() -> tuple[Code | Trouble, ...]:
    """The refusals that a JSON body can meet."""
    return (Trouble.MEDIA_TYPE_REFUSED, Trouble.BODY_TOO_LARGE, Trouble.BODY_TOO_SLOW, Trouble.REQUEST_REFUSED)


def created(document: type[BaseModel], description: str) -> dict[int | str, dict[str, Any]]:
    """The document's part for a 201 answer with its Location; the schema must belong to another route's answer, too."""
    reference = {"$ref": f"#/components/schemas/{document.__name__}"}
    location = {"description": "Its path.", "schema": {"type": "string"}}
    return {
        201: {
            "description": description,
            "headers": {"Location": location},
            "content": {JSON: {"schema": reference}},
        }
    }


def binary(status: int, description: str) -> dict[int | str, dict[str, Any]]:
    """The document's part for an answer of bytes."""
    return {status: {"description": description, "content": {BINARY: _BYTES}}}


class Bytes(Response):
    """An answer of bytes, which has no JSON schema in the document."""

    media_type = BINARY


_BYTES = {"schema": {"type": "string", "format": "binary"}}
