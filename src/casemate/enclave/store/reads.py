"""What a transaction has read of a state, and whether other calls' changes are to any of it."""

from bisect import bisect_left, bisect_right
from collections.abc import Mapping
from dataclasses import dataclass

from casemate.enclave.store.state import State

MAX_READS = 4096
"""Most keys and lists that are remembered of one transaction; one that reads more counts as having read everything."""


class Effect:
    """What changes do to a state: which keys get another value, and which of these appear or vanish."""

    __slots__ = ("_moved", "_sorted", "changed")

    def __init__(self) -> None:
        self.changed: set[str] = set()
        self._moved: set[str] = set()
        self._sorted: list[str] | None = None

    def add(self, state: State, changes: Mapping[str, bytes | None]) -> None:
        """Adds further changes to ``state``, which has none of these yet; a key's last change counts."""
        for key, value in changes.items():
            old = state.get(key)
            if value == old:
                self.changed.discard(key)
            else:
                self.changed.add(key)
            if (value is None) is (old is None):
                self._moved.discard(key)
            else:
                self._moved.add(key)
        self._sorted = None

    @property
    def moved(self) -> list[str]:
        """Keys that appear or vanish, in their order."""
        if self._sorted is None:
            self._sorted = sorted(self._moved)
        return self._sorted


@dataclass(frozen=True, slots=True)
class KeyRange:
    """The keys that a list has looked at: those that would stand in it, were they there."""

    first: str
    inclusive: bool
    """Whether it begins at ``first``, or after it."""
    prefix: str
    last: str | None
    """The last key that was given, where the list ended there; None where it went on to the last key of the prefix."""

    def has_any(self, keys: list[str]) -> bool:
        """Whether one of the keys, which are sorted, is in it."""
        at = (bisect_left if self.inclusive else bisect_right)(keys, self.first)
        if at == len(keys):
            return False
        return keys[at].startswith(self.prefix) and (self.last is None or keys[at] <= self.last)


class Reads:
    """The keys and lists that one transaction has read."""

    __slots__ = ("_is_everything", "_keys", "_ranges")

    def __init__(self) -> None:
        self._keys: set[str] = set()
        self._ranges: set[KeyRange] = set()
        self._is_everything = False

    def add_key(self, key: str) -> None:
        """Its value was read, or that it has none."""
        if not self._is_everything:
            self._keys.add(key)
            self._bound()

    def add_range(self, looked_at: KeyRange) -> None:
        """Which keys there are was read; not what values they have."""
        if not self._is_everything:
            self._ranges.add(looked_at)
            self._bound()

    def are_changed_by(self, effect: Effect) -> bool:
        """Whether any of what was read is different now."""
        if self._is_everything:
            return bool(effect.changed)
        if not self._keys.isdisjoint(effect.changed):
            return True
        return any(looked_at.has_any(effect.moved) for looked_at in self._ranges)

    def _bound(self) -> None:
        if len(self._keys) + len(self._ranges) > MAX_READS:
            self._keys.clear()
            self._ranges.clear()
            self._is_everything = True
