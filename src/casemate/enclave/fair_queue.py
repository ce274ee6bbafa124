"""Who waits, in rounds of one for each party: a party with much to do delays another by one turn."""

from collections import OrderedDict, deque
from collections.abc import Callable, Hashable
from typing import Generic, TypeVar

T = TypeVar("T")


class FairQueue(Generic[T]):
    """Waiting items of several parties."""

    __slots__ = ("_waiting",)

    def __init__(self) -> None:
        self._waiting: OrderedDict[Hashable, deque[T]] = OrderedDict()

    def __bool__(self) -> bool:
        return bool(self._waiting)

    def add(self, party: Hashable, item: T) -> None:
        """Appends an item behind those of its party."""
        self._waiting.setdefault(party, deque()).append(item)

    def remove(self, party: Hashable, item: T) -> None:
        """Takes out an item that waits no longer, if it still waits."""
        waiting = self._waiting.get(party)
        if waiting is not None and item in waiting:
            waiting.remove(item)
            if not waiting:
                del self._waiting[party]

    def serve(self, give: Callable[[Hashable, T], bool]) -> None:
        """Offers each party's first item its turn, the party that has waited longest first.

        Args:
            give: takes the item, or says that it must go on waiting. Called until it takes no item of any party.
        """
        if not self._waiting:  # nearly always
            return
        refused: set[Hashable] = set()
        while True:
            party = next((party for party in self._waiting if party not in refused), None)
            if party is None:
                return
            waiting = self._waiting[party]
            if not give(party, waiting[0]):
                refused.add(party)
                continue
            waiting.popleft()
            if waiting:
                self._waiting.move_to_end(party)  # its next one comes after one of each other party
            else:
                del self._waiting[party]
