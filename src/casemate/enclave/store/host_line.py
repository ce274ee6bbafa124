"""The store's link to the host, whose answers may be late, wrong, or lies."""

from collections.abc import Callable
from typing import Protocol, TypeVar

from casemate.enclave.io.host_link import HostLink
from casemate.wire.messages.state import StateRefused
from casemate.wire.protocol.faults import Code, refuse

T = TypeVar("T")


class HostLine(Protocol):
    """Asks questions about records."""

    async def ask(self, question: Callable[[int], object], wanted: type[T], deadline: float) -> T:
        """The host's answer.

        Args:
            question: makes the message of ``wire.messages.state`` that carries the number it is given.
            wanted: the type of the answer; one of another type is dropped.
            deadline: on the monotonic clock.

        Raises:
            FaultError: ``unavailable``: the host refuses (``StateRefused``), or has not answered properly by then.
        """

    def tell(self, message: object) -> None:
        """Sends a message that has no answer."""


class HostRecords:
    """The :class:`HostLine` of an enclave."""

    def __init__(self, host: HostLink) -> None:
        self._host = host

    async def ask(self, question: Callable[[int], object], wanted: type[T], deadline: float) -> T:
        """See :class:`HostLine`."""
        said = await self._host.ask(question, deadline, wanted, StateRefused)
        if isinstance(said, wanted):
            return said
        if isinstance(said, StateRefused):
            raise refuse(Code.UNAVAILABLE, f"the host says about the sealed state: {said.fault.reason}")
        raise refuse(Code.UNAVAILABLE, "the host did not answer a question about the sealed state in time")

    def tell(self, message: object) -> None:
        """See :class:`HostLine`."""
        self._host.tell(message)
