"""The machine's log: what debug enclaves print, and the machine's events, the last of each kept in memory."""

import secrets
from collections import deque
from collections.abc import Callable
from datetime import UTC, datetime
from heapq import merge
from itertools import islice

from casemate.wire.messages.machine_log import MAX_ENTRIES, MAX_ENTRY, LogEntry, LogIs, LogSource

KEPT_LINES = 2048
"""Console lines that are kept: 8 MiB if each is as long as it may be."""

KEPT_EVENTS = 512
"""Other entries that are kept. A function that prints without end does not displace them."""


class MachineLog:
    """Numbered entries for any number of readers. A reader that is slower than its writers misses the oldest."""

    def __init__(self, now: Callable[[], datetime] = lambda: datetime.now(UTC)) -> None:
        self._now = now
        self._host = secrets.randbits(53)
        self._last = 0
        self._lines: deque[LogEntry] = deque(maxlen=KEPT_LINES)
        self._events: deque[LogEntry] = deque(maxlen=KEPT_EVENTS)

    def add(self, source: LogSource, enclave: int, text: str) -> None:
        """Adds an entry; a text that is too long is cut."""
        self._last += 1
        cut = text.encode("utf-8", "replace")[:MAX_ENTRY].decode("utf-8", "ignore")
        kept = self._lines if source is LogSource.CONSOLE else self._events
        kept.append(LogEntry(self._last, int(self._now().timestamp() * 1000), source, enclave, cut))

    def after(self, number: int) -> LogIs:
        """The oldest entries with a higher number, as many as one answer may have."""
        newer = (entry for entry in merge(self._lines, self._events, key=lambda each: each.number))
        return LogIs(self._host, tuple(islice((entry for entry in newer if entry.number > number), MAX_ENTRIES)))
