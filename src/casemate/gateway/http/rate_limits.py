"""Limits for each token or peer: requests per second (token buckets), and requests under way."""

from collections import OrderedDict
from collections.abc import Hashable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass

from casemate.gateway.http.problems import ProblemError, Trouble

MAX_BUCKETS = 4096
"""Most tokens or peers that are kept account of: the one not seen for longest is forgotten, and begins anew."""


@dataclass(frozen=True, slots=True)
class Rate:
    """Requests a second on average, and the most at once after a pause."""

    per_second: float
    burst: float


@dataclass(slots=True)
class _Bucket:
    left: float
    seen: float


class RateLimit:
    """A token bucket for each key, such as a token's digest or a peer's network. Times are monotonic seconds."""

    def __init__(self, rate: Rate) -> None:
        self._rate = rate
        self._buckets: OrderedDict[Hashable, _Bucket] = OrderedDict()

    def wait(self, key: Hashable, now: float) -> float:
        """Seconds until the key may ask again; 0 if it may now."""
        bucket = self._filled(key, now)
        return 0.0 if bucket.left >= 1 else (1 - bucket.left) / self._rate.per_second

    def take(self, key: Hashable, now: float) -> None:
        self._filled(key, now).left -= 1

    def check(self, key: Hashable, now: float, *, whose: str) -> None:
        """Counts one request, or refuses it.

        Raises:
            ProblemError: too many; its Retry-After says when.
        """
        wait = self.wait(key, now)
        if wait > 0:
            said = f"{whose} asks more than {self._rate.per_second:g} times a second"
            raise ProblemError(Trouble.RATE_LIMITED, said, headers={"Retry-After": str(int(wait) + 1)})
        self.take(key, now)

    def _filled(self, key: Hashable, now: float) -> _Bucket:
        bucket = self._buckets.get(key)
        if bucket is None:
            bucket = self._buckets[key] = _Bucket(self._rate.burst, now)
            if len(self._buckets) > MAX_BUCKETS:
                self._buckets.popitem(last=False)
        else:
            bucket.left = min(self._rate.burst, bucket.left + (now - bucket.seen) * self._rate.per_second)
            bucket.seen = now
            self._buckets.move_to_end(key)
        return bucket


class AtOnce:
    """Counts what each holder has at the same time, such as requests or streams, with a limit for each and for all."""

    def __init__(self, *, each: int, together: int, what: str = "requests of {} are under way") -> None:
        self._each = each
        self._together = together
        self._what = what
        self._counts: dict[Hashable, int] = {}
        self._all = 0

    @contextmanager
    def room_for(self, key: Hashable, name: str) -> Iterator[None]:
        """A context manager that counts one while it lasts, or refuses. ``name`` is the holder's, for the message."""
        self.take(key, name)
        try:
            yield
        finally:
            self.give_back(key)

    def take(self, key: Hashable, name: str) -> None:
        """Counts one, or refuses it.

        Raises:
            ProblemError: this holder has all that one may have, or all together do.
        """
        count = self._counts.get(key, 0)
        if count >= self._each:
            raise ProblemError(Trouble.RATE_LIMITED, f"{count} {self._what.format(name)} already, its share")
        if self._all >= self._together:
            raise ProblemError(Trouble.RATE_LIMITED, f"{self._all} {self._what.format('all')} already")
        self._counts[key] = count + 1
        self._all += 1

    def give_back(self, key: Hashable) -> None:
        self._all -= 1
        if self._counts[key] == 1:
            del self._counts[key]
        else:
            self._counts[key] -= 1
