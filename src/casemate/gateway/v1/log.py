"""`/v1/log`: what debug enclaves print, and the machine's events."""

from typing import Annotated

from fastapi import APIRouter, Query

from casemate.gateway.host_api import HostApi
from casemate.gateway.http.routes import StrictRoute
from casemate.gateway.v1.documents import LogDocument, LogEntryDocument
from casemate.gateway.v1.parameters import DIGITS, MAX_SAFE
from casemate.gateway.v1.verb_routes import Documents, Written, add_verbs
from casemate.wire.messages.machine_log import LogIs
from casemate.wire.messages.verbs import LOG

_After = Annotated[
    int, Query(ge=0, le=MAX_SAFE, description="The number of the last entry that the client knows."), DIGITS
]


def log_routes(host: HostApi) -> APIRouter:
    """The route."""
    routes = APIRouter(route_class=StrictRoute, tags=["machine"])
    add_verbs(routes, (LOG,), host, _DOCUMENTS, {})
    return routes


def _shown(found: LogIs) -> LogDocument:
    entries = [
        LogEntryDocument(number=each.number, at=each.at, source=each.source, enclave=each.enclave, text=each.text)
        for each in found.entries
    ]
    return LogDocument(host=found.host, entries=entries)


_DOCUMENTS = Documents({LogIs: Written(LogDocument, _shown)}, query={"after": _After})
