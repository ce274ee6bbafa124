"""Transports of requests to a host: unchanged over a Unix socket, or as HTTP by :mod:`casemate.client.rest`."""

from dataclasses import dataclass
from typing import Any, Protocol, TypeVar

from casemate.wire.messages.request import Request
from casemate.wire.messages.verbs import ASK_TIMEOUT, ENCLAVE_VERBS
from casemate.wire.messages.vm.verbs import VM_VERBS
from casemate.wire.protocol.runtime_lock import Runtime

A = TypeVar("A")


@dataclass(frozen=True, slots=True)
class MachineDescription:
    """A machine in its gateway's words; nothing vouches for them."""

    platform: str
    runtime: Runtime
    """The runtime of the host's enclaves, as runtime locks name it."""
    seeded: bool
    root_certificate: bytes
    """The simulated vendor's root (DER)."""
    version: str
    """Casemate's, there."""


@dataclass(frozen=True, slots=True)
class GetMachine(Request[MachineDescription]):
    """Which machine this is. Only gateways answer it, so it has no form on the socket."""


class Transport(Protocol):
    """Carries requests to a host, one at a time, and believes nothing of what comes back."""

    keeps_order: bool

    def answer(self, request: Request[A], timeout: float | None = None) -> A:
        """The host's answer; the errors are those of :class:`casemate.client.sync.Client`.

        Args:
            request: what is asked.
            timeout: seconds for all of it: connecting, sending, waiting for others, and every repetition; None for
                the time-out of the table of verbs.
        """
        ...

    def close(self) -> None:
        """Hangs up."""
        ...


class AsyncTransport(Protocol):
    """Carries requests to a host for asyncio, many at a time."""

    keeps_order: bool
    """Whether requests that are made at once arrive in the order in which they were made."""

    async def answer(self, request: Request[A], timeout: float | None = None) -> A:
        """The host's answer, as :meth:`Transport.answer`."""
        ...

    async def close(self) -> None:
        """Hangs up; requests under way fail."""
        ...


_TIMEOUTS: dict[type[Request[Any]], float] = {
    **{verb.request: verb.timeout for verb in (*ENCLAVE_VERBS, *VM_VERBS)},
    GetMachine: ASK_TIMEOUT,
}


def seconds_for(request: Request[Any], timeout: float | None) -> float:
    """The time-out that the user gave, or else that of the verb."""
    return _TIMEOUTS[type(request)] if timeout is None else timeout
