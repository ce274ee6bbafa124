"""The changes of one call to the sealed state: at its end all of them are kept, or none."""

from collections.abc import Callable, Iterator, Mapping
from heapq import merge
from typing import Protocol

from casemate.enclave.store.reads import Effect, KeyRange, Reads
from casemate.enclave.store.state import AFTER_OWN, OWN, State, cost
from casemate.wire.protocol.call import StateMark
from casemate.wire.protocol.faults import Code, FaultError, refuse
from casemate.wire.protocol.state_changes import MAX_KEY, MAX_VALUE

MAX_LISTED = 10_000
"""Most keys that one :meth:`Transaction.list` gives."""


class Base(Protocol):
    """The committed state under a transaction."""

    @property
    def state(self) -> State:
        """The newest one that is committed."""

    @property
    def mark(self) -> StateMark:
        """Where in the history it stands."""

    async def commit(self, transaction: "Transaction", deadline: float) -> StateMark:
        """Makes the transaction's changes durable, or raises and keeps none."""


class Transaction:
    """Reads the newest committed state under its own changes, as long as nobody else changes what it has read.

    Then all that it has read is true of the newest state, so transactions are serialisable in the order of their
    commits. Once another call has changed what this one has read, it is overtaken: each further step, and a commit of
    changes, is a ``state-conflict``. What it writes without reading it (:meth:`put`) conflicts with nobody.
    Everything raises :class:`FaultError`: ``state-limit`` for what is too large, ``state-conflict`` as said.
    """

    def __init__(self, base: Base, *, limit: int) -> None:
        """Made by :meth:`Store.begin`; ``limit`` is the size of the largest state (bytes)."""
        self._base = base
        self._limit = limit
        self._changed: dict[str, bytes | None] = {}
        self._grows = 0
        """What its changes add to the size of the committed state (bytes); negative where they shrink it."""
        self._reads = Reads()
        self._overtaken_at: StateMark | None = None
        """The last state of which all that it has read was true; None while that is the newest one."""

    @property
    def changes(self) -> Mapping[str, bytes | None]:
        """The new values, None where a key is removed."""
        return self._changed

    def get(self, key: str) -> bytes | None:
        """The value (sorted JSON), None where there is none."""
        self._check(key)
        return self._read(key)

    def put(self, key: str, value: bytes) -> None:
        """Sets a value (sorted JSON: :func:`~casemate.enclave.store.values.sorted_json`)."""
        self._check(key)
        self._put(key, value)

    def delete(self, key: str) -> bool:
        """Removes a key; whether it was there."""
        self._check(key)
        old = self._read(key)
        if old is None:
            return False
        self._remove(key, old)
        return True

    def compare_and_set(self, key: str, expected: bytes | None, value: bytes | None) -> bool:
        """Sets a value (None removes it) if it is what was expected (None: absent); whether it was.

        Both are sorted JSON.
        """
        self._check(key)
        old = self._read(key)
        if old != expected:
            return False
        if value is not None:
            self._put(key, value)
        elif old is not None:
            self._remove(key, old)
        return True

    def list(self, prefix: str = "", *, after: str | None = None, limit: int = 1000) -> list[str]:
        """The first keys with this prefix, in the order of their UTF-8 bytes.

        Args:
            prefix: may be empty.
            after: begin behind this key, which need not exist.
            limit: most keys, 1 to ``MAX_LISTED``.
        """
        self._check_not_overtaken()
        if not 1 <= limit <= MAX_LISTED:
            raise refuse(Code.STATE_LIMIT, f"a list of {limit} keys, 1 to {MAX_LISTED} can be had")
        first, inclusive = (prefix, True) if after is None or after < prefix else (after, False)
        if first < AFTER_OWN:
            first, inclusive = AFTER_OWN, True
        found: list[str] = []
        for key in self._keys_from(first, inclusive=inclusive):
            if not key.startswith(prefix) or len(found) == limit:
                break
            found.append(key)
        self._reads.add_range(KeyRange(first, inclusive, prefix, found[-1] if len(found) == limit else None))
        return found

    def get_own(self, name: str) -> bytes | None:
        """A value of the enclave's own, of which its functions know nothing."""
        self._check_not_overtaken()
        return self._read(OWN + name)

    def put_own(self, name: str, value: bytes) -> None:
        """Sets a value of the enclave's own."""
        self._check_not_overtaken()
        self._put(OWN + name, value)

    async def commit(self, deadline: float) -> StateMark:
        """Makes all changes durable, or none; where the history stands then. To be called once, as the last step.

        Without changes nothing is written, and the mark is that of the newest state of which all is true that was read.

        Args:
            deadline: for the host, on the monotonic clock; it has ``COMMIT_TIME`` in any case.

        Raises:
            FaultError: ``state-conflict``: another call or instance was faster; ``state-limit``: with what others have
                added meanwhile, the state would be too large; ``unavailable``: the host did not store it;
                ``state-refused``: a higher version has written. Nothing was kept, and the call may be made again.
        """
        if not self._changed:
            return self.abandon()
        self._check_not_overtaken()
        return await self._base.commit(self, deadline)

    def abandon(self) -> StateMark:
        """Drops all changes; the mark of the newest state of which all is true that was read."""
        return self._overtaken_at or self._base.mark

    def conflict_with(self, effect: Effect) -> FaultError | None:
        """For the store: the refusal where this was overtaken, or is by changes that come before it."""
        if self._overtaken_at is not None or self._reads.are_changed_by(effect):
            return _conflict()
        return None

    def follow(self, changes: Mapping[str, bytes | None], effect: Effect) -> None:
        """For the store, which is about to make ``changes``, others' than this one's, to the committed state."""
        if self._overtaken_at is not None:
            return
        if self._reads.are_changed_by(effect):
            self._overtaken_at = self._base.mark
            return
        for key in self._changed.keys() & changes.keys():
            self._grows += _cost(key, self._base.state.get(key)) - _cost(key, changes[key])

    def _read(self, key: str) -> bytes | None:
        if key in self._changed:
            return self._changed[key]
        self._reads.add_key(key)
        return self._base.state.get(key)

    def _unread(self, key: str) -> bytes | None:
        """The value, to count its size: no reading, as nothing that the call sees depends on it."""
        return self._changed[key] if key in self._changed else self._base.state.get(key)

    def _put(self, key: str, value: bytes) -> None:
        if len(value) > MAX_VALUE:
            raise refuse(Code.STATE_LIMIT, f"a value of {len(value)} bytes of JSON, at most {MAX_VALUE} can be kept")
        grows = cost(key, value) - _cost(key, self._unread(key))
        size = self._base.state.size + self._grows + grows
        if size > self._limit and grows > 0:
            raise too_large(size, self._limit)
        self._changed[key] = value
        self._grows += grows

    def _remove(self, key: str, old: bytes) -> None:
        self._grows -= cost(key, old)
        self._changed[key] = None

    def _keys_from(self, first: str, *, inclusive: bool) -> Iterator[str]:
        kept = (key for key in self._base.state.keys_from(first, inclusive=inclusive) if key not in self._changed)
        here: Callable[[str], bool] = (lambda key: key >= first) if inclusive else (lambda key: key > first)
        new = sorted(key for key, value in self._changed.items() if value is not None and here(key))
        return merge(kept, new)

    def _check(self, key: str) -> None:
        self._check_not_overtaken()
        try:
            size = len(key.encode())
        except UnicodeEncodeError:
            raise refuse(Code.STATE_LIMIT, "a key with a lone surrogate, which UTF-8 cannot hold") from None
        if not 1 <= size <= MAX_KEY:
            raise refuse(Code.STATE_LIMIT, f"a key of {size} bytes of UTF-8, want 1 to {MAX_KEY}")
        if key.startswith(OWN):
            raise refuse(Code.STATE_LIMIT, "a key that begins with U+0000, as the enclave's own do: choose another")

    def _check_not_overtaken(self) -> None:
        if self._overtaken_at is not None:
            raise _conflict()


def too_large(size: int, limit: int) -> FaultError:
    """The refusal of changes after which the state would have that size (bytes)."""
    return refuse(Code.STATE_LIMIT, f"the state would take {size} bytes, the manifest allows {limit}")


def _conflict() -> FaultError:
    return refuse(
        Code.STATE_CONFLICT,
        "another call changed what this one has read; nothing of it was kept: call again",
    )


def _cost(key: str, value: bytes | None) -> int:
    return 0 if value is None else cost(key, value)
