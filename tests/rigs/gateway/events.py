"""A reader of the gateway's event streams."""

import json
from collections.abc import AsyncIterator
from dataclasses import dataclass
from typing import Any

from casemate.gateway.http.active_requests import ActiveRequest
from casemate.wire.protocol.access_tokens import AccessToken


@dataclass
class Shown:
    """One event as a browser would see it."""

    kind: str
    name: str
    data: Any


async def following(stream: AsyncIterator[bytes]) -> Shown:
    """The next event, by the standard's rules."""
    text = (await anext(stream)).decode()
    assert text.endswith("\n\n")
    fields = dict(line.split(": ", 1) for line in text.splitlines() if line and not line.startswith(":"))
    return Shown(fields.get("event", "comment"), fields.get("id", ""), json.loads(fields.get("data", "null")))


def visit(token: AccessToken | None = None) -> ActiveRequest:
    """A request under way."""
    made = ActiveRequest(is_head=False)
    made.token = token
    return made
