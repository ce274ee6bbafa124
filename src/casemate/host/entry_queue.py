"""The order of entries into an enclave: callers take turns, and within a caller its sessions do.

So one with many calls delays another by one call, and a session with many delays another of the same caller by one.
"""

from collections import OrderedDict, deque
from contextvars import ContextVar
from typing import Generic, TypeVar

from casemate.wire.protocol.faults import Code, FaultError, refuse

MAX_WAITING = 256
"""Most entries that wait for one enclave; one more is refused as busy rather than queued without end."""

MAX_SHARE = 64
"""Most waiting entries of one caller: a quarter, so that no caller can fill the queue alone."""

MAX_OF_SESSION = 32
"""Most waiting entries of one session: half of its caller's share, so that no session can fill that alone."""

RETRY_AFTER = 1.0
"""When a caller whose entries found no room may try again (seconds)."""

CALLER: ContextVar[str] = ContextVar("caller", default="this machine")
"""The party for which the current task asks: a token, or a connection to the Unix socket. The host's own word: it
decides about turns alone, and the enclave knows its callers by their keys."""

T = TypeVar("T")


class EntryQueue(Generic[T]):
    """Entries in the order in which they are to be made.

    That is in rounds of one entry for each caller that waits; a caller's own are in rounds of one for each of its
    sessions, and a session's in the order in which they came.
    """

    def __init__(self) -> None:
        self._callers: OrderedDict[str, _Waiting[T]] = OrderedDict()
        self._count = 0

    def __len__(self) -> int:
        """Number of waiting entries, of all callers."""
        return self._count

    def add(self, entry: T, caller: str, session: int | None = None) -> None:
        """Appends an entry of ``caller``.

        Args:
            entry: to be made.
            caller: by whose turn.
            session: the caller's session that it belongs to; None for all that belong to none.

        Raises:
            FaultError: ``busy``; the queue, the caller's share of it or the session's is full.
        """
        if self._count >= MAX_WAITING:
            reason = f"{self._count} requests wait for this enclave already: try again in a moment"
            raise refuse(Code.BUSY, reason, retry_after=RETRY_AFTER)
        waiting = self._callers.get(caller)
        if waiting is not None:
            waiting.check_room(session)
        else:
            waiting = self._callers[caller] = _Waiting()
        waiting.add(entry, session)
        self._count += 1

    def next(self) -> T | None:
        """Takes out the entry whose turn it is; None when nobody waits.

        The next entry of its caller comes after one of each other caller, and the next of its session after one of each
        other session of that caller.
        """
        if not self._callers:
            return None
        caller, waiting = self._callers.popitem(last=False)
        entry = waiting.next()
        self._count -= 1
        if waiting.count:
            self._callers[caller] = waiting
        return entry

    def withdraw(self, entry: T, caller: str, session: int | None = None) -> None:
        """Takes out an entry whose caller has left, if it still waits."""
        waiting = self._callers.get(caller)
        if waiting is not None and waiting.withdraw(entry, session):
            self._count -= 1
            if not waiting.count:
                del self._callers[caller]


class _Waiting(Generic[T]):
    """The waiting entries of one caller, by session."""

    __slots__ = ("_sessions", "count")

    def __init__(self) -> None:
        self._sessions: OrderedDict[int | None, deque[T]] = OrderedDict()
        self.count = 0

    def check_room(self, session: int | None) -> None:
        if self.count >= MAX_SHARE:
            raise _too_many(f"{self.count} of your requests", MAX_SHARE)
        count = len(self._sessions.get(session, ()))
        if count >= MAX_OF_SESSION:
            which = "outside of sessions" if session is None else "of this session"
            raise _too_many(f"{count} of your requests {which}", MAX_OF_SESSION)

    def add(self, entry: T, session: int | None) -> None:
        self._sessions.setdefault(session, deque()).append(entry)
        self.count += 1

    def next(self) -> T:
        session, entries = self._sessions.popitem(last=False)
        entry = entries.popleft()
        self.count -= 1
        if entries:
            self._sessions[session] = entries
        return entry

    def withdraw(self, entry: T, session: int | None) -> bool:
        """Whether it waited here."""
        entries = self._sessions.get(session)
        if entries is None or entry not in entries:
            return False
        entries.remove(entry)
        self.count -= 1
        if not entries:
            del self._sessions[session]
        return True


def _too_many(what: str, most: int) -> FaultError:
    reason = f"{what} wait for this enclave already, at most {most} may: wait for an answer before you send another"
    return refuse(Code.BUSY, reason, retry_after=RETRY_AFTER)
