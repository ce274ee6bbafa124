"""Client to host: the services that are installed on it, and whether they run. All of it is the host's word."""

from dataclasses import dataclass
from enum import StrEnum
from typing import Annotated

from casemate.wire.encodings.message import U64, Bytes32, Limit, message
from casemate.wire.messages.functions import FunctionName
from casemate.wire.messages.request import Request
from casemate.wire.protocol.capabilities.service import MAX_DESCRIPTION, Family, Kind

MAX_SERVICES = 256
"""Most services that are installed on a host."""

MAX_SOURCE = 1024
"""Longest text that says where a service came from (bytes)."""

MAX_OPERATIONS = 64
MAX_USED = 64

Source = Annotated[str, Limit(MAX_SOURCE)]


class ServiceState(StrEnum):
    """How a service is."""

    STOPPED = "stopped"
    """It is installed, and does not run."""
    STARTING = "starting"
    READY = "ready"
    """It runs, and so does all that it uses."""
    DEGRADED = "degraded"
    """It runs, and something that it uses does not."""
    BROKEN = "broken"
    """It should run, and does not."""


@dataclass(frozen=True, slots=True)
class OperationIs:
    """An entry point of a service."""

    name: Annotated[str, Limit(64)]
    kind: Kind
    idempotent: bool
    plain: bool
    stream: bool
    input: bytes
    """JSON Schema; empty in lists."""
    output: bytes
    """JSON Schema; empty in lists."""


@message(0xFF20)
@dataclass(frozen=True, slots=True)
class ServiceIs:
    """An installed service: what its image's manifest says, and how it is here."""

    name: FunctionName
    version: Annotated[str, Limit(64)]
    family: Family
    description: Annotated[str, Limit(MAX_DESCRIPTION)]
    image: Bytes32
    mr_enclave: Bytes32
    mr_signer: Bytes32
    operations: Annotated[tuple[OperationIs, ...], Limit(MAX_OPERATIONS)]
    uses: Annotated[tuple[str, ...], Limit(MAX_USED)]
    """NAME of each ``[uses.NAME]``."""
    source: Source
    """Where it came from, in the words of who installed it."""
    enclave: U64
    """The deployment that answers to its name; 0 where there is none."""
    state: ServiceState
    reason: Annotated[str, Limit(4096)]
    """Why it is so; empty where it is as it should be."""


@message(0xFF21)
@dataclass(frozen=True, slots=True)
class ServicesAre:
    """All installed services, in the order of their names."""

    services: Annotated[tuple[ServiceIs, ...], Limit(MAX_SERVICES)]


@message(0xFF22)
@dataclass(frozen=True, slots=True)
class ListServices(Request[ServicesAre]):
    """All installed services."""


@message(0xFF23)
@dataclass(frozen=True, slots=True)
class GetService(Request[ServiceIs]):
    """One installed service."""

    name: FunctionName


@message(0xFF24)
@dataclass(frozen=True, slots=True)
class InstallService(Request[ServiceIs]):
    """Keep an image as a service, in the place of an older version of it. A running one goes on until it is started."""

    sgxs: bytes
    sigstruct: bytes
    source: Source
    allow_older: bool
    """A lower version may take a higher one's place."""


@message(0xFF25)
@dataclass(frozen=True, slots=True)
class StartService(Request[ServiceIs]):
    """Have a service run, and before it all that it uses; a running one of another version is replaced."""

    name: FunctionName


@message(0xFF26)
@dataclass(frozen=True, slots=True)
class StopService(Request[ServiceIs]):
    """Stop a service; those that use it before, or not at all."""

    name: FunctionName
    with_users: bool
    """Running services that use it are stopped before. Otherwise they are a reason to refuse."""


@message(0xFF27)
@dataclass(frozen=True, slots=True)
class RemoveService(Request[ServicesAre]):
    """Forget a service, and destroy its enclaves; refused while others that are installed use it."""

    name: FunctionName
