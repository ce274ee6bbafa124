"""The last few hundred events of this machine, numbered, for any number of readers."""

import asyncio
from collections import deque
from collections.abc import AsyncIterator, Callable
from dataclasses import dataclass
from datetime import UTC, datetime

from casemate.host.machine_log import MachineLog
from casemate.wire.messages.host import EnclaveIs
from casemate.wire.messages.machine_log import LogSource

KEPT = 256
"""Events that are kept. A reader that is slower misses the oldest, so memory stays bounded."""


@dataclass(frozen=True, slots=True)
class MachineEvent:
    """An event of the whole machine, in words."""

    text: str


@dataclass(frozen=True, slots=True)
class Event:
    """A numbered event."""

    number: int
    """Rises by one; starts anew with the host's process."""
    at: datetime
    """UTC."""
    what: EnclaveIs | MachineEvent
    """An enclave's new state, or words about the machine."""


class Events:
    """The events: the host publishes them, and each reader follows them at its own pace.

    Example:
        async for event in orchestrator.events.since(0):
            ...
    """

    def __init__(self, now: Callable[[], datetime] = lambda: datetime.now(UTC)) -> None:
        self.log = MachineLog(now)
        """Each event in words, beside what debug enclaves print."""
        self._now = now
        self._kept: deque[Event] = deque(maxlen=KEPT)
        self._last = 0
        self._news = asyncio.Event()

    @property
    def last(self) -> int:
        """The newest event's number; 0 before the first."""
        return self._last

    def publish(self, what: EnclaveIs | MachineEvent) -> None:
        """Adds an event and wakes all readers."""
        self._last += 1
        self._kept.append(Event(self._last, self._now(), what))
        self._note(what)
        news, self._news = self._news, asyncio.Event()
        news.set()

    def _note(self, what: EnclaveIs | MachineEvent) -> None:
        if isinstance(what, MachineEvent):
            self.log.add(LogSource.MACHINE, 0, what.text)
        else:
            words = f"{what.name} is {what.state}"
            self.log.add(LogSource.ENCLAVE, what.enclave, f"{words}: {what.reason}" if what.reason else words)

    async def since(self, last: int) -> AsyncIterator[Event]:
        """The events that are kept and have a higher number than ``last``, then each new one; it never ends by itself.

        Where numbers are missing, the reader was too slow for them.
        """
        while True:
            news = self._news
            for event in [event for event in self._kept if event.number > last]:
                last = event.number
                yield event
            if last >= self._last:
                await news.wait()
