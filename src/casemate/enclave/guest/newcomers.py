"""How fast callers may be given guests that have met nobody: making one costs what the engine says.

Without a bound, whoever opens many sessions would have the machine make guests and do nothing else.
"""

BURST = 8
"""Newcomers that need not wait, after a quiet time."""

LONGEST_WAIT = 0.5
"""Seconds that a newcomer may be made to wait; the next one is refused, and told when to come again."""


class Newcomers:
    """A bucket of turns that fills at a rate (turns a second). Times are of the monotonic clock."""

    __slots__ = ("_burst", "_next", "_period")

    def __init__(self, now: float, rate: float) -> None:
        self._period = 1 / rate
        self._burst = BURST * self._period
        self._next = now - self._burst

    def take(self, now: float, *, patience: float = LONGEST_WAIT) -> float | None:
        """Takes a turn; the seconds to wait for it, or None, and no turn, where that is more than ``patience``."""
        turn = max(self._next, now - self._burst)
        wait = max(0.0, turn - now)
        if wait > patience:
            return None
        self._next = turn + self._period
        return wait

    def seconds_until_welcome(self, now: float) -> float:
        """When :meth:`take` will give a turn again."""
        return max(0.0, self._next - now - LONGEST_WAIT)
