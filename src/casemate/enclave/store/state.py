"""A whole sealed state in memory: keys in order, values as sorted JSON."""

from bisect import bisect_left, bisect_right, insort
from collections.abc import Iterator, Mapping

from casemate.wire.protocol.state_changes import Change

ENTRY_COST = 64
"""What each entry counts besides the bytes of its key and value (bytes): many small entries take memory, too."""

OWN = "\x00"
"""Keys of the enclave's own begin with it: they are sealed with the others, and no function reads or writes them."""
AFTER_OWN = "\x01"
"""All other keys come from here on."""


def cost(key: str, value: bytes) -> int:
    """What an entry counts towards ``[state] max_kib`` (bytes)."""
    return len(key.encode()) + len(value) + ENTRY_COST


class State:
    """Keys in the order of their UTF-8 bytes, which is that of their code points."""

    __slots__ = ("_keys", "_values", "size")

    def __init__(self) -> None:
        self._keys: list[str] = []
        self._values: dict[str, bytes] = {}
        self.size = 0
        """The cost of all entries (bytes)."""

    def __iter__(self) -> Iterator[str]:
        """The keys, in order."""
        return iter(self._keys)

    def get(self, key: str) -> bytes | None:
        """The value, None where there is none."""
        return self._values.get(key)

    def keys_from(self, first: str, *, inclusive: bool) -> Iterator[str]:
        """The keys from ``first`` on, or after it."""
        find = bisect_left if inclusive else bisect_right
        for at in range(find(self._keys, first), len(self._keys)):
            yield self._keys[at]

    def changes(self) -> Iterator[Change]:
        """The changes that make this state out of an empty one."""
        return (Change(key, self._values[key]) for key in self._keys)

    def apply(self, changes: Mapping[str, bytes | None]) -> None:
        """Gives keys new values, or none."""
        for key, value in changes.items():
            old = self._values.get(key)
            if old is not None:
                self.size -= cost(key, old)
            if value is not None:
                self._values[key] = value
                self.size += cost(key, value)
                if old is None:
                    self._insert(key)
            elif old is not None:
                del self._values[key]
                del self._keys[bisect_left(self._keys, key)]

    def _insert(self, key: str) -> None:
        if not self._keys or key > self._keys[-1]:
            self._keys.append(key)  # the usual case: the keys of a checkpoint are sorted
        else:
            insort(self._keys, key)
