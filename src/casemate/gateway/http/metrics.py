"""`/metrics`: the gateway's figures for Prometheus."""

from collections import Counter

from fastapi import APIRouter
from starlette.responses import Response

from casemate.gateway.host_api import HostApi
from casemate.gateway.http.openapi import operation
from casemate.gateway.http.request_log import Metrics
from casemate.gateway.http.routes import StrictRoute
from casemate.wire.protocol.access_tokens import Role
from casemate.wire.protocol.lifecycle import State


def metrics_routes(host: HostApi, metrics: Metrics) -> APIRouter:
    """The route."""
    routes = APIRouter(route_class=StrictRoute, tags=["machine"])
    says = operation("metrics", Role.ADMIN)
    says["responses"][200] = {
        "description": "Prometheus' text format.",
        "content": {metrics.media_type: {"schema": {"type": "string"}}},
    }

    @routes.get("/metrics", response_model=None, **says)
    async def read() -> Response:
        """Requests by route and status, their times (seconds), enclaves by state. Needs a token of role `admin`.

        Not open to whoever is on this computer: behind a proxy, everybody is.
        """
        states = Counter(str(enclave.state) for enclave in host.enclaves())
        return Response(
            metrics.text({str(state): states[str(state)] for state in State}), media_type=metrics.content_type
        )

    return routes
