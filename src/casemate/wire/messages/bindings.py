"""Client to host, and host to client: which deployment an enclave's ``[uses.NAME]`` is bound to.

A binding is the operator's, and no more than an address: who answers there must prove to be what the manifest demands.
"""

from dataclasses import dataclass
from typing import Annotated

from casemate.wire.encodings.message import U64, Limit, message
from casemate.wire.messages.request import Request
from casemate.wire.protocol.capabilities.uses import MAX_USES
from casemate.wire.protocol.function_name import MAX_FUNCTION_NAME

Alias = Annotated[str, Limit(MAX_FUNCTION_NAME)]
"""NAME of ``[uses.NAME]``."""
Target = Annotated[str, Limit(MAX_FUNCTION_NAME)]
"""A function's name, or an enclave's number in decimal digits."""


@dataclass(frozen=True, slots=True)
class Binding:
    """One alias of one enclave."""

    alias: Alias
    target: Target


@message(0x09)
@dataclass(frozen=True, slots=True)
class BindingsAre:
    """What an enclave's aliases were bound to; one that is not here means the deployment of its own name."""

    bindings: Annotated[tuple[Binding, ...], Limit(MAX_USES)]


@message(0x0A)
@dataclass(frozen=True, slots=True)
class ListBindings(Request[BindingsAre]):
    """All bindings of an enclave."""

    enclave: U64


@message(0x0B)
@dataclass(frozen=True, slots=True)
class BindUse(Request[BindingsAre]):
    """Bind an alias of an enclave, from its next call on; sessions that it has go on. Durable where the enclave is."""

    enclave: U64
    alias: Alias
    target: Target
    """Empty: back to the deployment of the alias's own name."""
