"""`/health`, `/v1/machine` and `/metrics`: liveness, the operator's description of the machine, and metrics."""

from collections import Counter
from dataclasses import dataclass
from pathlib import Path

from fastapi import APIRouter
from prometheus_client import generate_latest
from starlette.responses import Response

from casemate.gateway.host_api import HostApi
from casemate.gateway.http.openapi import operation, refusals_of
from casemate.gateway.http.problems import Trouble
from casemate.gateway.http.request_log import Metrics
from casemate.gateway.http.roles import WANTS_NO_TOKEN
from casemate.gateway.http.routes import StrictRoute
from casemate.gateway.v1.documents import Health, MachineDocument
from casemate.gateway.v1.usage_figures import UsageFigures
from casemate.process.plain_file import read_plain
from casemate.wire.encodings.json_object import parse_object
from casemate.wire.errors import WireError
from casemate.wire.protocol.access_tokens import Role
from casemate.wire.protocol.faults import Code, refuse
from casemate.wire.protocol.lifecycle import State

MAX_MACHINE_FILE = 256 * 1024
"""Longest machine.json (bytes): a PEM certificate and a few strings."""


@dataclass(frozen=True, slots=True)
class MachineFile:
    """The file in which the supervisor describes the machine for clients of the gateway."""

    path: Path

    def read(self, version: str) -> MachineDocument:
        """The file's current content."""
        try:
            content = read_plain(self.path, MAX_MACHINE_FILE + 1)
            found = parse_object("machine.json", content, limit=MAX_MACHINE_FILE)
            parts = found.child("runtime")
            return MachineDocument(
                platform=found.text("platform"),
                runtime={name: parts.hexadecimal(name, 32).hex() for name in parts.names()},
                seeded=found.flag("seeded"),
                root_certificate=found.text("root_certificate"),
                version=version,
            )
        except (OSError, WireError) as error:
            raise refuse(Code.UNAVAILABLE, f"nothing is known of the machine: {error}") from None


def machine_routes(machine: MachineFile, version: str) -> APIRouter:
    """The routes."""
    routes = APIRouter(route_class=StrictRoute, tags=["machine"])

    @routes.get(
        "/health",
        operation_id="health",
        responses=refusals_of({Trouble.HOST_REFUSED, Trouble.RATE_LIMITED}),
        openapi_extra=WANTS_NO_TOKEN,
        response_description="The gateway answers.",
    )
    async def health() -> Health:
        """Answers if the gateway is running. Needs no token."""
        return Health(status="serving", version=version)

    @routes.get("/v1/machine", **operation("machine", Role.CALL, Code.UNAVAILABLE))
    async def read() -> MachineDocument:
        """The operator's description of the machine. Needs a token of any role."""
        return machine.read(version)

    return routes


def metrics_routes(host: HostApi, metrics: Metrics) -> APIRouter:
    routes = APIRouter(route_class=StrictRoute, tags=["machine"])
    says = operation("metrics", Role.ADMIN)
    says["responses"][200] = {
        "description": "Prometheus' text format.",
        "content": {metrics.media_type: {"schema": {"type": "string"}}},
    }

    @routes.get("/metrics", response_model=None, **says)
    async def read() -> Response:
        """Requests by route and status, their times (seconds), enclaves by state, and what their calls have used.

        Needs a token of role `admin`.

        The loopback interface needs a token, too: behind a proxy on this computer, all requests come from there.
        """
        states = Counter(str(enclave.state) for enclave in host.enclaves())
        text = metrics.text({str(state): states[str(state)] for state in State})
        return Response(text + generate_latest(UsageFigures(host.usage())), media_type=metrics.content_type)

    return routes
