"""The store's link to the host, whose answers may be late, wrong, or lies."""

from collections.abc import Callable
from typing import Protocol, TypeVar

T = TypeVar("T")


class HostLine(Protocol):
    """Asks questions in the middle of an entry, numbered as OCALLs are."""

    def ask(self, question: Callable[[int], object], wanted: type[T], deadline: float) -> T:
        """The host's answer.

        Args:
            question: makes the message of ``wire.messages.state`` that carries the number it is given.
            wanted: the type of the answer, whose ``number`` must be that one; all else is dropped.
            deadline: on the monotonic clock.

        Raises:
            FaultError: ``unavailable``: the host refuses (``StateRefused``), or has not answered by then.
        """

    def tell(self, message: object) -> None:
        """Sends a message that has no answer."""
