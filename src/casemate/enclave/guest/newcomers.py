"""How fast callers may be given guests that have met nobody: making one takes some 27 ms of a core.

Without a bound, whoever opens many sessions would have the machine make guests and do nothing else.
"""

RATE = 12.0
"""Guests a second for newcomers, in the long run: a third of a core."""

BURST = 8
"""Newcomers that need not wait, after a quiet time."""

LONGEST_WAIT = 0.5
"""Seconds that a newcomer may be made to wait; the next one is refused, and told when to come again."""


class Newcomers:
    """A bucket of turns that fills at :data:`RATE`. Times are of the monotonic clock."""

    __slots__ = ("_next",)

    def __init__(self, now: float) -> None:
        self._next = now - BURST / RATE

    def take(self, now: float, *, patience: float = LONGEST_WAIT) -> float | None:
        """Takes a turn; the seconds to wait for it, or None, and no turn, where that is more than ``patience``."""
        turn = max(self._next, now - BURST / RATE)
        wait = max(0.0, turn - now)
        if wait > patience:
            return None
        self._next = turn + 1 / RATE
        return wait

    def seconds_until_welcome(self, now: float) -> float:
        """When :meth:`take` will give a turn again."""
        return max(0.0, self._next - now - LONGEST_WAIT)
