"""Requests under way, each of which can be ended from outside: its client has left, or its token is taken away."""

import asyncio
from collections.abc import Callable
from enum import Enum, auto
from typing import TYPE_CHECKING

from starlette.types import Scope

if TYPE_CHECKING:
    from casemate.wire.protocol.access_tokens import AccessToken


class EndReason(Enum):
    """Why a request was ended."""

    CLIENT_LEFT = auto()
    TOKEN_ENDED = auto()
    BROKEN = auto()
    """The rest of its body is no HTTP; the connection has answered already."""


class ActiveRequest:
    """One request under way.

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
        """It waits for something that nobody needs once it has ended."""
        return self._may_end and self.ending is None

    def that_may_end(self) -> "_Interruptible":
        """A context: whatever is awaited inside is given up as soon as :meth:`end` is called."""
        return _Interruptible(self)

    def waits(self, *, may_end: bool) -> None:
        """What it does from now may be given up, or not; :class:`asyncio.CancelledError` if it was ended before."""
        if may_end and self.ending is not None:
            raise asyncio.CancelledError
        self._may_end = may_end

    @classmethod
    def of(cls, scope: Scope) -> "ActiveRequest":
        """The one that a request is."""
        visit: ActiveRequest = scope["state"]["visit"]
        return visit

    def at_end(self, give_back: Callable[[], None]) -> None:
        """Has this called when the request is over, however it ends."""
        self._at_end.append(give_back)

    def end(self, why: EndReason) -> None:
        """Gives up what it waits for; a change that is under way is finished."""
        if self.ending is None:
            self.ending = why
            if self._may_end and self._task is not None:
                self._task.cancel()

    def forgive(self) -> None:
        """Takes its cancellation back, so that it can be answered."""
        if self._task is not None:
            self._task.uncancel()

    def over(self) -> None:
        """The request has been answered, or nobody waits for that."""
        self._task = None
        for give_back in self._at_end:
            give_back()
        self._at_end.clear()


class _Interruptible:
    """A class of its own and no generator, which would take a call three times as long."""

    __slots__ = ("_visit",)

    def __init__(self, visit: ActiveRequest) -> None:
        self._visit = visit

    def __enter__(self) -> None:
        self._visit.waits(may_end=True)

    def __exit__(self, *_: object) -> None:
        self._visit.waits(may_end=False)
