"""When a machine gives up: restarting what dies at once, again and again, helps nobody."""

from collections import deque

MOST = 5
"""Deaths within :data:`WINDOW` seconds that end the machine."""

WINDOW = 60.0
FIRST_PAUSE = 0.25
"""Seconds before the second restart within the window; each one after it waits twice as long."""


class Deaths:
    """The deaths of late, by a clock that only rises (seconds)."""

    def __init__(self) -> None:
        self._times: deque[float] = deque(maxlen=MOST)

    def note(self, now: float) -> None:
        """One more."""
        self._times.append(now)

    def too_many(self, now: float) -> bool:
        """Whether the machine should give up."""
        return len(self._recent(now)) >= MOST

    def pause(self, now: float) -> float:
        """Seconds to wait before the next restart: none after a first death."""
        recent = len(self._recent(now))
        return 0.0 if recent <= 1 else FIRST_PAUSE * 2 ** (recent - 2)

    def _recent(self, now: float) -> list[float]:
        return [time for time in self._times if now - time < WINDOW]
