"""Sessions: which sequence numbers are used, in bounded memory and without ever forgetting into acceptance."""

from collections import OrderedDict

from casemate.wire.protocol.faults import Code, refuse

MAX_FRESH = 1024
"""Most sessions that no request has opened in yet; challenging without calling evicts only such."""

MAX_USED = 4096
"""Most sessions with calls; the one that has rested longest goes first."""


class Sessions:
    """Numbers that this enclave issued. A number is issued once, so one that was evicted is refused for ever."""

    __slots__ = ("_fresh", "_issued", "_used")

    def __init__(self) -> None:
        self._issued = 0
        self._fresh: OrderedDict[int, None] = OrderedDict()
        self._used: OrderedDict[int, int] = OrderedDict()

    def issue(self) -> int:
        """A new session's number, above all before it."""
        self._issued += 1
        self._fresh[self._issued] = None
        if len(self._fresh) > MAX_FRESH:
            self._fresh.popitem(last=False)
        return self._issued

    def check(self, session: int, sequence: int) -> None:
        """Refuses a session that is not held, and a number that is not above the session's last."""
        if session not in self._fresh and session not in self._used:
            raise refuse(Code.SESSION_UNKNOWN, f"session {session} is not known here, or no more: challenge again")
        if sequence <= self._used.get(session, 0):
            raise refuse(Code.SEQUENCE_USED, f"sequence number {sequence} is not above {self._used.get(session, 0)}")

    def burn(self, session: int, sequence: int) -> None:
        """Uses up a checked number and all below it; for requests that have opened, before they do anything."""
        self.check(session, sequence)
        self._fresh.pop(session, None)
        self._used[session] = sequence
        self._used.move_to_end(session)
        if len(self._used) > MAX_USED:
            self._used.popitem(last=False)
