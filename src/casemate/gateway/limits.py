"""How much one token or peer may ask for: a bucket of requests that fills up again, a count of those under way."""

from collections import OrderedDict
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass

from casemate.gateway.problems import ProblemError, Trouble

MAX_BUCKETS = 4096
"""Most tokens or peers that are kept account of: the one not seen for longest is forgotten, and begins anew."""


@dataclass(frozen=True, slots=True)
class Rate:
    """So many requests a second, and so many at once after a pause."""

    per_second: float
    burst: float


@dataclass(slots=True)
class _Bucket:
    left: float
    seen: float


class RateLimit:
    """A token bucket for each name. Times are seconds of any monotonic clock."""

    def __init__(self, rate: Rate) -> None:
        self._rate = rate
        self._buckets: OrderedDict[str, _Bucket] = OrderedDict()

    def wait(self, name: str, now: float) -> float:
        """Seconds until this name may ask again; 0 if it may now."""
        bucket = self._filled(name, now)
        return 0.0 if bucket.left >= 1 else (1 - bucket.left) / self._rate.per_second

    def take(self, name: str, now: float) -> None:
        """Counts one request."""
        self._filled(name, now).left -= 1

    def check(self, name: str, now: float, *, whose: str) -> None:
        """Counts one request, or refuses it.

        Raises:
            ProblemError: too many; its Retry-After says when.
        """
        wait = self.wait(name, now)
        if wait > 0:
            said = f"{whose} asks more than {self._rate.per_second:g} times a second"
            raise ProblemError(Trouble.RATE_LIMITED, said, headers={"Retry-After": str(int(wait) + 1)})
        self.take(name, now)

    def _filled(self, name: str, now: float) -> _Bucket:
        bucket = self._buckets.get(name)
        if bucket is None:
            bucket = self._buckets[name] = _Bucket(self._rate.burst, now)
            if len(self._buckets) > MAX_BUCKETS:
                self._buckets.popitem(last=False)
        else:
            bucket.left = min(self._rate.burst, bucket.left + (now - bucket.seen) * self._rate.per_second)
            bucket.seen = now
            self._buckets.move_to_end(name)
        return bucket


class AtOnce:
    """How many requests of each name are under way."""

    def __init__(self, *, each: int, together: int) -> None:
        self._each = each
        self._together = together
        self._counts: dict[str, int] = {}
        self._all = 0

    @contextmanager
    def room_for(self, name: str) -> Iterator[None]:
        """Counts one request for as long as it lasts, or refuses it."""
        count = self._counts.get(name, 0)
        if count >= self._each:
            raise ProblemError(Trouble.RATE_LIMITED, f"{count} requests of token {name} are under way already")
        if self._all >= self._together:
            raise ProblemError(Trouble.RATE_LIMITED, f"{self._all} requests are under way already")
        self._counts[name] = count + 1
        self._all += 1
        try:
            yield
        finally:
            self._all -= 1
            if self._counts[name] == 1:
                del self._counts[name]
            else:
                self._counts[name] -= 1
