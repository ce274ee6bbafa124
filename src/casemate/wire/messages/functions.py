"""Client to host, and host to client: the names of functions, and which enclave answers to each."""

from dataclasses import dataclass
from typing import Annotated

from casemate.wire.encodings.message import U32, U64, Limit, message
from casemate.wire.messages.host import EnclaveIs
from casemate.wire.messages.request import Request
from casemate.wire.protocol.function_name import MAX_FUNCTION_NAME

FunctionName = Annotated[str, Limit(MAX_FUNCTION_NAME)]

DRAIN = 30
"""How long a replaced enclave may go on with its sessions, where nobody says (seconds)."""

MAX_DRAIN = 3600
"""Longest time that a replaced enclave may go on with its sessions (seconds)."""


@message(0x05)
@dataclass(frozen=True, slots=True)
class FunctionIs:
    """What a name stands for on this host, in the host's words."""

    name: FunctionName
    current: EnclaveIs
    """The enclave that new sessions go to."""
    previous: EnclaveIs | None
    """The one that it has replaced: it runs until its sessions have ended, and is then kept to go back to."""
    deployed: bool
    """The name was given by a switch. Otherwise this is merely the one lasting enclave that bears it."""


@message(0x04)
@dataclass(frozen=True, slots=True)
class GetFunction(Request[FunctionIs]):
    """Which enclave answers to a name."""

    name: FunctionName


@message(0x07)
@dataclass(frozen=True, slots=True)
class FunctionsAre:
    """All names that were given by a switch."""

    functions: tuple[FunctionIs, ...]


@message(0x06)
@dataclass(frozen=True, slots=True)
class ListFunctions(Request[FunctionsAre]):
    """All functions of this host."""


@message(0x08)
@dataclass(frozen=True, slots=True)
class SwitchFunction(Request[FunctionIs]):
    """Have a running enclave answer to a name from now on, in place of another, which ends when its calls have."""

    name: FunctionName
    enclave: U64
    """It bears that name."""
    replaces: U64
    """The enclave that the client believes to answer to the name now, 0 for none: refused if that has changed."""
    drain: U32
    """The longest time that the replaced one may go on with the sessions that it has (seconds)."""
