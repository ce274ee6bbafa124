"""Which method of the host answers a request: one line for each verb."""

from collections.abc import Awaitable, Callable
from typing import Any, TypeVar, cast

from casemate.wire.messages.request import Request, answer_type

A = TypeVar("A")
R = TypeVar("R", bound=Request[Any])


class Handlers:
    """Handlers by their request's class.

    Example:
        handlers = Handlers()
        handlers.add(StopEnclave, lambda asked: orchestrator.stop(asked.enclave))
        shown = await handlers.answer(StopEnclave(7))
    """

    def __init__(self) -> None:
        self._handlers: dict[type[Request[Any]], tuple[Callable[[Any], Awaitable[object]], type]] = {}

    def add(self, request: type[R], handler: Callable[[R], Awaitable[object]]) -> None:
        """Has ``handler`` answer the requests of one class; mypy checks that it takes them."""
        self._handlers[request] = handler, answer_type(request)

    @property
    def requests(self) -> frozenset[type[Request[Any]]]:
        """The classes of requests that are answered here."""
        return frozenset(self._handlers)

    async def answer(self, request: Request[A]) -> A:
        """The answer.

        Raises:
            FaultError: the host refuses.
            TypeError: the handler has answered with another class than the request's: a defect.
        """
        handler, wanted = self._handlers[type(request)]
        answer = await handler(request)
        if not isinstance(answer, wanted):
            raise TypeError(f"{type(request).__name__} is answered by {type(answer).__name__}, want {wanted.__name__}")
        return cast("A", answer)
