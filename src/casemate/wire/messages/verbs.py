"""The verbs of a host: one table entry for each thing that clients may ask of it, and how HTTP writes its request.

The host's socket, the gateway's routes and documents, and the client's HTTP requests and time-outs all follow from
these entries (``docs/adr/0013-verbs.md``). Those of confidential VMs are in :mod:`casemate.wire.messages.vm.verbs`.
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, fields
from typing import Any, cast

from casemate.wire.messages import bindings, functions, host, machine_log, service_life, services, state
from casemate.wire.messages.request import Request
from casemate.wire.protocol.access_tokens import Role
from casemate.wire.protocol.faults import Code
from casemate.wire.protocol.function_name import checked_name

ASK_TIMEOUT = 30.0
"""Timeout of requests without a launch (seconds): a quote takes milliseconds."""

LAUNCH_TIMEOUT = 120.0
"""Timeout of a launch (seconds): the largest image is measured page by page."""

CALL_TIMEOUT = 90.0
"""Timeout of a call (seconds): above the longest time limit of manifests, with a margin for waiting in the queue."""

HEXADECIMAL = frozenset({"address", "gpa", "spa"})
"""Fields that HTTP writes as ``0x...``: addresses have 64 bits, and a number in JSON is exact up to 53."""

REQUIRED = object()
"""The default of a parameter that has none."""


@dataclass(frozen=True, slots=True)
class Query:
    """A field of the request that HTTP writes as a parameter in the path's query."""

    field: str
    default: Any = REQUIRED
    parameter: str = ""
    """The parameter's name over HTTP, if it differs from the field's."""

    @property
    def name(self) -> str:
        """The parameter's name."""
        return self.parameter or self.field


@dataclass(frozen=True, slots=True)
class RawBody:
    """A field of the request that is the whole body of the HTTP request, as it is."""

    field: str
    limit: int
    """Longest body (bytes)."""
    about: str


@dataclass(frozen=True, slots=True)
class Route:
    """A verb over HTTP."""

    method: str
    path: str
    """``{id}`` or ``{name}`` in it is the request's first field."""
    role: Role
    """The least role of a token that may."""
    operation: str
    """The OpenAPI document's operationId."""
    title: str
    about: str = ""
    """Description for the OpenAPI document, where a sentence about the role is added. Handwritten routes use their
    docstring."""
    refusals: tuple[Code, ...] = ()
    """Refusals, beside those of every request and those of its parameters and body."""
    query: tuple[Query, ...] = ()
    json: tuple[str, ...] = ()
    """Fields of the request that are the members of a JSON body."""
    raw: RawBody | None = None
    by_hand: str = ""
    """Why the gateway's code for this route is written by hand; empty where the table says all that there is to it."""


@dataclass(frozen=True, slots=True)
class Verb:
    """One thing that clients may ask of a host."""

    request: type[Request[Any]]
    """The request's class, which also states the type of its answer."""
    timeout: float
    """How long a client waits for it, where its user does not say (seconds)."""
    route: Route | None
    """None: the Unix socket alone."""


_ONE = (Code.UNKNOWN_ENCLAVE,)
_CHANGE = (*_ONE, Code.WRONG_STATE, Code.LAUNCH_REFUSED, Code.BUSY, Code.LOST, Code.TIMED_OUT, Code.UNAVAILABLE)
_NAMED = (*_ONE, Code.WRONG_STATE)
_IN_ENCLAVE = (*_ONE, Code.WRONG_STATE, Code.LOST, Code.BUSY, Code.TIMED_OUT)

CALL = Verb(  # the first: calls are most of what comes, and a message's class is looked for in order
    host.Call,
    CALL_TIMEOUT,
    Route(
        "POST",
        "/v1/enclaves/{id}/calls",
        Role.CALL,
        "call",
        "Call",
        refusals=(*_IN_ENCLAVE, Code.CANNOT_OPEN, Code.SESSION_UNKNOWN, Code.SEQUENCE_USED),
        by_hand="an encoded envelope becomes one field of the request, and the framework is passed by for speed",
    ),
)
EVIDENCE = Verb(
    host.GetEvidence,
    ASK_TIMEOUT,
    Route(
        "GET",
        "/v1/enclaves/{id}/evidence",
        Role.CALL,
        "evidence",
        "Evidence",
        refusals=(*_IN_ENCLAVE, Code.REPORT_REFUSED, Code.UNAVAILABLE),
        query=(Query("nonce"),),
        by_hand="it answers in two forms, by the Accept header",
    ),
)
LAUNCH = Verb(
    host.Launch,
    LAUNCH_TIMEOUT,
    Route(
        "POST",
        "/v1/enclaves",
        Role.DEPLOY,
        "launch_enclave",
        "Create",
        refusals=(*_CHANGE, Code.UNKNOWN_IMAGE),
        by_hand="the image is uploaded before; idempotency keys; it counts to a token's share; 201 with a Location",
    ),
)
LIST = Verb(
    host.ListEnclaves,
    ASK_TIMEOUT,
    Route("GET", "/v1/enclaves", Role.CALL, "list_enclaves", "List All", "All enclaves of this machine."),
)
START = Verb(
    host.StartEnclave,
    LAUNCH_TIMEOUT,
    Route(
        "POST",
        "/v1/enclaves/{id}/start",
        Role.DEPLOY,
        "start_enclave",
        "Start",
        "Starts a stopped or lost enclave, with fresh keys.",
        refusals=_CHANGE,
    ),
)
STOP = Verb(
    host.StopEnclave,
    ASK_TIMEOUT,
    Route(
        "POST",
        "/v1/enclaves/{id}/stop",
        Role.DEPLOY,
        "stop_enclave",
        "Stop",
        "Ends an enclave's process; it may start again.",
        refusals=_CHANGE,
    ),
)
DESTROY = Verb(
    host.DestroyEnclave,
    ASK_TIMEOUT,
    Route(
        "DELETE",
        "/v1/enclaves/{id}",
        Role.DEPLOY,
        "destroy_enclave",
        "Destroy",
        "Ends an enclave and forgets it.",
        refusals=_CHANGE,
    ),
)
FUNCTIONS = Verb(
    functions.ListFunctions,
    ASK_TIMEOUT,
    Route(
        "GET",
        "/v1/functions",
        Role.CALL,
        "list_functions",
        "Functions",
        "All names that enclaves were deployed under, and which enclave answers to each.",
    ),
)
FUNCTION = Verb(
    functions.GetFunction,
    ASK_TIMEOUT,
    Route(
        "GET",
        "/v1/functions/{name}",
        Role.CALL,
        "show_function",
        "Function",
        "The enclave that answers to a name: the one that was deployed under it, or else the only lasting one that"
        " bears it.",
        refusals=_NAMED,
    ),
)
SWITCH = Verb(
    functions.SwitchFunction,
    LAUNCH_TIMEOUT,
    Route(
        "POST",
        "/v1/functions/{name}/switch",
        Role.DEPLOY,
        "switch_function",
        "Switch",
        "Has an enclave of that name answer to it, once it runs and has answered a challenge; `replaces` is the enclave"
        " that answers to it now, 0 for none. The replaced one goes on with its sessions for `drain` seconds at most,"
        " is stopped, and kept to switch back to; the one before that is destroyed. Where anything fails, the name"
        " stays where it is.",
        refusals=(*_CHANGE, Code.REPORT_REFUSED),
        json=("enclave", "replaces", "drain"),
    ),
)
LOG = Verb(
    machine_log.ReadLog,
    ASK_TIMEOUT,
    Route(
        "GET",
        "/v1/log",
        Role.DEPLOY,
        "read_log",
        "Log",
        "What debug enclaves have printed, and this machine's events: the oldest that are kept and have a higher number"
        " than `after`. A new `host` means that the host was started anew, and its numbers with it: read from 0.",
        query=(Query("after", 0),),
    ),
)
BIND = Verb(bindings.BindUse, ASK_TIMEOUT, None)
BINDINGS = Verb(bindings.ListBindings, ASK_TIMEOUT, None)
SERVICES = Verb(
    services.ListServices,
    ASK_TIMEOUT,
    Route(
        "GET",
        "/v1/services",
        Role.CALL,
        "list_services",
        "Services",
        "All installed services, without their operations' schemas.",
    ),
)
SERVICE = Verb(
    services.GetService,
    ASK_TIMEOUT,
    Route(
        "GET",
        "/v1/services/{name}",
        Role.CALL,
        "show_service",
        "Service",
        "An installed service, and the schemas of its operations.",
        refusals=_ONE,
    ),
)
INSTALL_SERVICE = Verb(services.InstallService, LAUNCH_TIMEOUT, None)
START_SERVICE = Verb(
    services.StartService,
    LAUNCH_TIMEOUT,
    Route(
        "PUT",
        "/v1/services/{name}/start",
        Role.DEPLOY,
        "start_service",
        "Start a service",
        "Starts a service, and before it all that it uses; a running one of another version is replaced.",
        refusals=(*_CHANGE, Code.REPORT_REFUSED),
    ),
)
STOP_SERVICE = Verb(
    services.StopService,
    LAUNCH_TIMEOUT,
    Route(
        "PUT",
        "/v1/services/{name}/stop",
        Role.DEPLOY,
        "stop_service",
        "Stop a service",
        "Stops a service: where `with_users` is true after those that use it, else only if none of them runs.",
        refusals=_CHANGE,
        json=("with_users",),
    ),
)
REMOVE_SERVICE = Verb(services.RemoveService, LAUNCH_TIMEOUT, None)
CONFIGURE_SERVICE = Verb(service_life.ConfigureService, CALL_TIMEOUT, None)
SERVICE_HEALTH = Verb(service_life.GetHealth, CALL_TIMEOUT, None)
LIST_STATES = Verb(state.ListStates, ASK_TIMEOUT, None)

CALL_VERBS = (CALL, EVIDENCE)
"""Verbs that enclaves answer themselves."""

LIFECYCLE_VERBS = (LAUNCH, LIST, START, STOP, DESTROY)

FUNCTION_VERBS = (FUNCTIONS, FUNCTION, SWITCH)
"""Verbs about the names of functions."""

SERVICE_VERBS = (SERVICES, SERVICE, INSTALL_SERVICE, START_SERVICE, STOP_SERVICE, REMOVE_SERVICE)
"""Verbs about the services that are installed."""

ENCLAVE_VERBS = (
    *CALL_VERBS,
    *LIFECYCLE_VERBS,
    *FUNCTION_VERBS,
    *SERVICE_VERBS,
    LOG,
    BIND,
    BINDINGS,
    CONFIGURE_SERVICE,
    SERVICE_HEALTH,
    LIST_STATES,
)


def routes_of(verbs: Iterable[Verb]) -> Mapping[type[Request[Any]], Route]:
    """The routes of those verbs that have one, by their request's class."""
    return {verb.request: verb.route for verb in verbs if verb.route is not None}


def path_parameter(route: Route) -> str | None:
    """The parameter in the route's path, if there is one."""
    return next((name for name in ("id", "name") if f"{{{name}}}" in route.path), None)


def id_field(request: type[Request[Any]]) -> str:
    """The field that is the parameter in the verb's path."""
    return fields(cast("Any", request))[0].name


def http_value(field: str, value: Any) -> Any:
    """A field's value as a query or a JSON body has it: bytes and addresses in hexadecimal."""
    if isinstance(value, bytes):
        return value.hex()
    return hex(value) if field in HEXADECIMAL and value is not None else value


def field_value(field: str, value: Any) -> Any:
    """Parses what :func:`http_value` returns, except bytes; the form has been checked."""
    return int(value, 16) if field in HEXADECIMAL and value is not None else value


def target(route: Route, request: Request[Any]) -> str:
    """Path and query of the HTTP request; :class:`WireError` where its name can be no function's."""
    path = route.path
    place = path_parameter(route)
    if place is not None:
        value = getattr(request, id_field(type(request)))
        path = path.replace(f"{{{place}}}", checked_name(value) if place == "name" else str(value))
    query = "&".join(f"{each.name}={http_value(each.field, getattr(request, each.field))}" for each in route.query)
    return f"{path}?{query}" if query else path


def json_members(route: Route, request: Request[Any]) -> dict[str, Any]:
    """The members of the HTTP request's JSON body."""
    return {name: http_value(name, getattr(request, name)) for name in route.json}
