"""The order of entries into an enclave: callers take turns, so that one with many calls delays another by one call."""

from collections import OrderedDict, deque
from contextvars import ContextVar
from typing import Generic, TypeVar

from casemate.wire.protocol.faults import Code, refuse

MAX_WAITING = 256
"""Most entries that wait for one enclave; one more is refused as busy rather than queued without end."""

MAX_SHARE = 64
"""Most waiting entries of one caller: a quarter, so that no caller can fill the queue alone."""

CALLER: ContextVar[str] = ContextVar("caller", default="this machine")
"""The party for which the current task asks: a token, or a connection to the Unix socket. The host's own word: it
decides about turns alone, and the enclave knows its callers by their keys."""

T = TypeVar("T")


class EntryQueue(Generic[T]):
    """Entries in the order in which they are to be made: in rounds of one entry for each caller that waits."""

    def __init__(self) -> None:
        self._waiting: OrderedDict[str, deque[T]] = OrderedDict()

    def __len__(self) -> int:
        """Number of waiting entries, of all callers."""
        return sum(map(len, self._waiting.values()))

    def add(self, entry: T, caller: str) -> None:
        """Appends an entry of ``caller``.

        Raises:
            FaultError: ``busy``; the queue, or the caller's share of it, is full.
        """
        if len(self) >= MAX_WAITING:
            raise refuse(Code.BUSY, f"{len(self)} calls wait for this enclave already")
        mine = self._waiting.get(caller, ())
        if len(mine) >= MAX_SHARE:
            raise refuse(Code.BUSY, f"{len(mine)} of your calls wait for this enclave already, at most {MAX_SHARE} may")
        self._waiting.setdefault(caller, deque()).append(entry)

    def next(self) -> T | None:
        """Takes out the entry whose turn it is; None when nobody waits.

        The next entry of its caller comes after one of each other caller.
        """
        if not self._waiting:
            return None
        caller, waiting = self._waiting.popitem(last=False)
        entry = waiting.popleft()
        if waiting:
            self._waiting[caller] = waiting
        return entry

    def withdraw(self, entry: T, caller: str) -> None:
        """Takes out an entry whose caller has left, if it still waits."""
        waiting = self._waiting.get(caller)
        if waiting is not None and entry in waiting:
            waiting.remove(entry)
            if not waiting:
                del self._waiting[caller]
