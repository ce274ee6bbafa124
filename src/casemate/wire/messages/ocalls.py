"""The operator's own OCALL handlers, which have a process of their own: what supervisor and host say to it.

The supervisor starts that process and asks it what it has loaded; it then gives it and the host one end each of a
socket pair, over which the host asks.
"""

from dataclasses import dataclass
from typing import Annotated

from casemate.wire.encodings.message import U16, U32, U64, Bytes32, Limit, Name, message
from casemate.wire.messages.entry import MAX_OCALL
from casemate.wire.protocol.manifest_table import MAX_SCHEMAS

AT_ONCE = 32
"""Most OCALLs of all enclaves that the handlers' process answers at a time; others wait in the host."""

MAX_HANDLERS = 1024
"""Most handlers of a module."""

OCALLS_FRAME = MAX_OCALL + MAX_SCHEMAS + 64 * 1024
"""Longest frame between host and handlers (bytes): an argument, a schema, and what is known about who asks."""


@message(0x75)
@dataclass(frozen=True, slots=True)
class ListHandlers:
    """Supervisor to the handlers' process. Reply: ``HandlersAre``, or a ``Fault`` if they cannot be loaded."""


@message(0x76)
@dataclass(frozen=True, slots=True)
class HandlersAre:
    """The OCALLs that are answered, in rising order."""

    names: Annotated[tuple[Name, ...], Limit(MAX_HANDLERS)]


@message(0x77)
@dataclass(frozen=True, slots=True)
class ServeHost:
    """Supervisor to the handlers' process, with the descriptor at which a host will ask. Reply: ``HandlersAre``."""


@message(0x78)
@dataclass(frozen=True, slots=True)
class AreYouThere:
    """Supervisor to the handlers' process. Reply: ``HandlersAre``, unless the operator's code blocks it."""


@message(0x79)
@dataclass(frozen=True, slots=True)
class TakeHandlers:
    """Supervisor to host, with the descriptor at which these handlers answer. It replaces the one before it."""

    names: Annotated[tuple[Name, ...], Limit(MAX_HANDLERS)]


@dataclass(frozen=True, slots=True)
class Asking:
    """The enclave that asks, in the host's words."""

    enclave: U64
    """The number of its deployment."""
    name: Name
    """The deployment's name, which whoever launched it has chosen."""
    mr_enclave: Bytes32
    mr_signer: Bytes32
    product_id: U16
    security_version: U16
    debug: bool


@message(0x7A)
@dataclass(frozen=True, slots=True)
class AskHandler:
    """Host to the handlers' process: an OCALL. Reply: ``HandlerAnswer``; a ``Fault`` whose words are the operator's."""

    name: Name
    arguments: Annotated[bytes, Limit(MAX_OCALL)]
    """JSON."""
    asking: Asking
    schema: Annotated[bytes, Limit(MAX_SCHEMAS)]
    """The schema (JSON) that the image's manifest has for the answer."""
    time_ms: U32
    """How long the handler may take."""


@message(0x7B)
@dataclass(frozen=True, slots=True)
class HandlerAnswer:
    """JSON that fits the schema."""

    answer: Annotated[bytes, Limit(MAX_OCALL)]
