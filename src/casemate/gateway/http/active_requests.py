"""Requests under way, which can be ended early: because the client left, or because its token was taken away."""

import asyncio
from collections.abc import Callable
from enum import Enum, auto
from typing import TYPE_CHECKING

from starlette.types import Scope

if TYPE_CHECKING:
    from casemate.wire.protocol.access_tokens import AccessToken


class EndReason(Enum):
    """Why a request was ended early."""

    CLIENT_LEFT = auto()
    TOKEN_ENDED = auto()
    BROKEN = auto()
    """The rest of its body is no HTTP; the connection has answered already."""


class ActiveRequest:
    """One request from its head to the end of its answer.

    Attributes:
        token: whose it is, once that is known.
        is_head: nobody will see more of the answer than its head.
        ending: why it was ended, if it was.
    """

    __slots__ = ("_at_end", "_may_end", "_task", "ending", "is_head", "token")

    def __init__(self, *, is_head: bool) -> None:
        self.token: AccessToken | None = None
        self.is_head = is_head
        self.ending: EndReason | None = None
        self._task = asyncio.current_task()
        self._may_end = False
        self._at_end: list[Callable[[], None]] = []

    @property
    def may_end(self) -> bool:
        """Whether it is waiting for something that is of no use once the request has ended."""
        return self._may_end and self.ending is None

    def that_may_end(self) -> "_Interruptible":
        """A context manager: what is awaited inside is cancelled as soon as :meth:`end` is called."""
        return _Interruptible(self)

    def waits(self, *, may_end: bool) -> None:
        """Sets whether what follows may be cancelled; raises :class:`asyncio.CancelledError` if it was ended before."""
        if may_end and self.ending is not None:
            raise asyncio.CancelledError
        self._may_end = may_end

    @classmethod
    def of(cls, scope: Scope) -> "ActiveRequest":
        """The active request that belongs to an ASGI scope."""
        visit: ActiveRequest = scope["state"]["visit"]
        return visit

    def at_end(self, give_back: Callable[[], None]) -> None:
        """Registers a function to call when the request is over, however it ends."""
        self._at_end.append(give_back)

    def end(self, why: EndReason) -> None:
        """Cancels what the request waits for. A change that is under way is still finished."""
        if self.ending is None:
            self.ending = why
            if self._may_end and self._task is not None:
                self._task.cancel()

    def forgive(self) -> None:
        """Takes the cancellation back, so that a refusal can be sent."""
        if self._task is not None:
            self._task.uncancel()

    def over(self) -> None:
        """Calls what :meth:`at_end` has registered: the answer is complete, or nobody waits for it."""
        self._task = None
        for give_back in self._at_end:
            give_back()
        self._at_end.clear()


class _Interruptible:
    """The context manager of :meth:`ActiveRequest.that_may_end`. A generator would be three times as slow."""

    __slots__ = ("_visit",)

    def __init__(self, visit: ActiveRequest) -> None:
        self._visit = visit

    def __enter__(self) -> None:
        self._visit.waits(may_end=True)

    def __exit__(self, *_: object) -> None:
        self._visit.waits(may_end=False)
