"""Requests under way, each of which can be ended from outside: its client has left, or its token is taken away."""

import asyncio
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from enum import Enum, auto
from typing import TYPE_CHECKING

from starlette.types import Scope

if TYPE_CHECKING:
    from casemate.wire.access_tokens import AccessToken


class Ending(Enum):
    """Why a request was ended."""

    CLIENT_LEFT = auto()
    TOKEN_ENDED = auto()
    BROKEN = auto()
    """The rest of its body is no HTTP; the connection has answered already."""


class Visit:
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
        self.ending: Ending | None = None
        self._task = asyncio.current_task()
        self._may_end = False
        self._at_end: list[Callable[[], None]] = []

    @property
    def may_end(self) -> bool:
        """It waits for something that nobody needs once it has ended."""
        return self._may_end and self.ending is None

    @contextmanager
    def that_may_end(self) -> Iterator[None]:
        """Whatever is awaited inside is given up as soon as :meth:`end` is called."""
        if self.ending is not None:
            raise asyncio.CancelledError
        self._may_end = True
        try:
            yield
        finally:
            self._may_end = False

    @classmethod
    def of(cls, scope: Scope) -> "Visit":
        """The one that a request is."""
        visit: Visit = scope["state"]["visit"]
        return visit

    def streams(self) -> None:
        """From now its answer comes in pieces, and may end after each."""
        self._may_end = True

    def at_end(self, give_back: Callable[[], None]) -> None:
        """Has this called when the request is over, however it ends."""
        self._at_end.append(give_back)

    def end(self, why: Ending) -> None:
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
