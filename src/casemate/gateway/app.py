"""The gateway's ASGI application: the routes of all its parts, behind the edge."""

from importlib import metadata
from pathlib import Path

from fastapi import FastAPI
from fastapi.telemetry import TelemetryConfig

from casemate.gateway.docs.routes import add_document
from casemate.gateway.host_api import HostApi, VmHostApi
from casemate.gateway.http.edge import Edge
from casemate.gateway.http.fast_path import FastPath
from casemate.gateway.http.idempotency import Idempotency
from casemate.gateway.http.refusals import refuse_alike
from casemate.gateway.http.request_log import RequestLog
from casemate.gateway.http.settings import Settings
from casemate.gateway.http.tokens import TokenStore
from casemate.gateway.learner.attest import attest_routes
from casemate.gateway.learner.enclave import learner_routes, shortcuts_of
from casemate.gateway.learner.shared_enclave import SharedEnclave
from casemate.gateway.learner.shared_vms import SharedVms
from casemate.gateway.learner.vm import learner_vm_routes
from casemate.gateway.v1.calls import call_routes, relay_of
from casemate.gateway.v1.enclaves import enclave_routes
from casemate.gateway.v1.events import EventStreams, event_routes
from casemate.gateway.v1.functions import function_routes
from casemate.gateway.v1.images import image_routes
from casemate.gateway.v1.log import log_routes
from casemate.gateway.v1.machine import MachineFile, machine_routes, metrics_routes
from casemate.gateway.v1.services import service_routes
from casemate.gateway.v1.vm.console import ConsoleStreams, console_routes
from casemate.gateway.v1.vm.routes import vm_routes
from casemate.gateway.v1.vm.shares import VmShares

_ABOUT = """\
A simulated confidential-computing machine. The gateway is untrusted: it relays sealed bytes under `/v1`, and what it
says of enclaves and VMs is its operator's word until you have appraised their evidence. What passes `/enclave` and
`/vm` in the clear, the operator can read.
"""

NO_TELEMETRY: TelemetryConfig = {"tracing": False, "metrics": False, "logs": False, "auto_configure": False}
"""FastAPI's own would tell whom the environment names of paths and queries; the journal tells what may be told."""


class Gateway:
    """The application with everything it needs; :attr:`edge` is what the server runs."""

    def __init__(
        self,
        host: HostApi,
        vms: VmHostApi,
        *,
        tokens: TokenStore,
        machine: MachineFile,
        learner: Path,
        guests: Path,
        log: RequestLog,
        settings: Settings,
    ) -> None:
        version = metadata.version("casemate")
        self._streams = EventStreams(host, most=settings.subscribers)
        self._consoles = ConsoleStreams(vms, most=settings.subscribers)
        idempotency = Idempotency()
        enclave = SharedEnclave(host, learner)
        self.vm_shares = shares = VmShares(vms)
        self.app = FastAPI(
            title="Casemate",
            version=version,
            description=_ABOUT,
            openapi_url=None,
            docs_url=None,
            redoc_url=None,
            redirect_slashes=False,
            telemetry=NO_TELEMETRY,
        )
        routers = (  # those of calls first: they are looked at in order
            call_routes(host),
            learner_routes(enclave),
            attest_routes(host, enclave),
            machine_routes(machine, version),
            image_routes(host, idempotency),
            enclave_routes(host, idempotency),
            function_routes(host),
            service_routes(host),
            learner_vm_routes(vms, shares, SharedVms(vms, guests)),
            vm_routes(vms, shares, idempotency),
            console_routes(self._consoles),
            event_routes(self._streams),
            log_routes(host),
            metrics_routes(host, log.metrics),
        )
        for router in routers:  # not `include_router`, which looks into each router anew for each request
            self.app.router.routes += router.routes
        refuse_alike(self.app, routers)
        add_document(self.app)
        self.edge = Edge(FastPath(self.app, shortcuts_of(enclave), relay_of(host)), tokens, settings, log)

    def close(self) -> None:
        """Ends the streams of events and consoles, which would go on for ever."""
        self._streams.close()
        self._consoles.close()
