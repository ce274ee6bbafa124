"""The changes of one call to the sealed state: at its end all of them are kept, or none."""

from collections.abc import Callable, Iterator
from heapq import merge
from typing import Protocol

from casemate.enclave.store.state import State, cost
from casemate.wire.protocol.call import StateMark
from casemate.wire.protocol.faults import Code, refuse
from casemate.wire.protocol.state_changes import MAX_KEY, MAX_VALUE, Change

MAX_LISTED = 10_000
"""Most keys that one :meth:`Transaction.list` gives."""


class Base(Protocol):
    """The committed state under a transaction."""

    state: State
    mark: StateMark

    def commit(self, changes: tuple[Change, ...], deadline: float) -> StateMark:
        """Makes the changes durable, or raises and keeps none."""


class Transaction:
    """Reads the state as it was when the transaction began, and what itself has changed.

    Another call that commits meanwhile (which a stream lets happen) makes the next step here a ``state-conflict``.
    Everything raises :class:`FaultError`: ``state-limit`` for what is too large, ``state-conflict`` as said.
    """

    def __init__(self, base: Base, *, limit: int) -> None:
        """Made by :meth:`Store.begin`; ``limit`` is the size of the largest state (bytes)."""
        self._base = base
        self._began = base.mark
        self._limit = limit
        self._changed: dict[str, bytes | None] = {}
        self._size = base.state.size

    def get(self, key: str) -> bytes | None:
        """The value (sorted JSON), None where there is none."""
        self._check(key)
        return self._changed[key] if key in self._changed else self._base.state.get(key)

    def put(self, key: str, value: bytes) -> None:
        """Sets a value (sorted JSON: :func:`~casemate.enclave.store.values.sorted_json`)."""
        if len(value) > MAX_VALUE:
            raise refuse(Code.STATE_LIMIT, f"a value of {len(value)} bytes of JSON, at most {MAX_VALUE} can be kept")
        old = self.get(key)
        size = self._size + cost(key, value) - (0 if old is None else cost(key, old))
        if size > self._limit and size > self._size:
            raise refuse(Code.STATE_LIMIT, f"the state would take {size} bytes, the manifest allows {self._limit}")
        self._changed[key] = value
        self._size = size

    def delete(self, key: str) -> bool:
        """Removes a key; whether it was there."""
        old = self.get(key)
        if old is None:
            return False
        self._size -= cost(key, old)
        self._changed[key] = None
        return True

    def compare_and_set(self, key: str, expected: bytes | None, value: bytes | None) -> bool:
        """Sets a value (None removes it) if it is what was expected (None: absent); whether it was.

        Both are sorted JSON.
        """
        if self.get(key) != expected:
            return False
        if value is not None:
            self.put(key, value)
        else:
            self.delete(key)
        return True

    def list(self, prefix: str = "", *, after: str | None = None, limit: int = 1000) -> list[str]:
        """The first keys with this prefix, in the order of their UTF-8 bytes.

        Args:
            prefix: may be empty.
            after: begin behind this key, which need not exist.
            limit: most keys, 1 to ``MAX_LISTED``.
        """
        self._check_base()
        if not 1 <= limit <= MAX_LISTED:
            raise refuse(Code.STATE_LIMIT, f"a list of {limit} keys, 1 to {MAX_LISTED} can be had")
        first, inclusive = (prefix, True) if after is None or after < prefix else (after, False)
        found: list[str] = []
        for key in self._keys_from(first, inclusive=inclusive):
            if not key.startswith(prefix) or len(found) == limit:
                break
            found.append(key)
        return found

    def mark(self) -> StateMark:
        """Where in the history this transaction stands if it changes nothing."""
        return self._began

    def commit(self, deadline: float) -> StateMark:
        """Makes all changes durable, or none; where the history stands then. To be called once.

        Without changes nothing is written, and the mark is that of the beginning.

        Args:
            deadline: for the host, on the monotonic clock.

        Raises:
            FaultError: ``state-conflict``: another instance or call was faster, nothing was kept, and the call may be
                made again; ``unavailable``: the host did not store it; ``state-refused``: a higher version has written.
        """
        if not self._changed:
            return self._began
        self._check_base()
        return self._base.commit(tuple(Change(key, value) for key, value in self._changed.items()), deadline)

    def _keys_from(self, first: str, *, inclusive: bool) -> Iterator[str]:
        kept = (key for key in self._base.state.keys_from(first, inclusive=inclusive) if key not in self._changed)
        here: Callable[[str], bool] = (lambda key: key >= first) if inclusive else (lambda key: key > first)
        new = sorted(key for key, value in self._changed.items() if value is not None and here(key))
        return merge(kept, new)

    def _check(self, key: str) -> None:
        self._check_base()
        try:
            size = len(key.encode())
        except UnicodeEncodeError:
            raise refuse(Code.STATE_LIMIT, "a key with a lone surrogate, which UTF-8 cannot hold") from None
        if not 1 <= size <= MAX_KEY:
            raise refuse(Code.STATE_LIMIT, f"a key of {size} bytes of UTF-8, want 1 to {MAX_KEY}")

    def _check_base(self) -> None:
        if self._base.mark != self._began:
            raise refuse(Code.STATE_CONFLICT, "another call changed the state meanwhile; nothing of this one was kept")
