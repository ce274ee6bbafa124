"""The guests that enclaves wait for, and whose turn it is."""

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import chain, zip_longest


@dataclass(frozen=True, slots=True)
class Want:
    """One guest that an enclave has asked for and not got yet."""

    enclave: int
    """The enclave's number."""
    guest: int
    """The enclave's number for the guest."""
    engine: str
    memory_mib: int


class GuestQueue:
    """What enclaves wait for. They take turns, one guest each, so one that asks for many does not hold up the others.

    An enclave's own guests come in the order in which it has asked for them.
    """

    def __init__(self) -> None:
        self._wants: dict[int, dict[int, Want]] = {}
        """By enclave, the next in turn first, and by guest. No enclave in here has none."""

    def __len__(self) -> int:
        """How many guests are waited for."""
        return sum(map(len, self._wants.values()))

    def __contains__(self, want: Want) -> bool:
        """Whether this is waited for still."""
        return want.guest in self._wants.get(want.enclave, {})

    def count(self, enclave: int) -> int:
        """How many guests an enclave waits for."""
        return len(self._wants.get(enclave, ()))

    def add(self, want: Want) -> None:
        """An enclave waits for one more guest."""
        self._wants.setdefault(want.enclave, {})[want.guest] = want

    def in_turn(self) -> Sequence[Want]:
        """All that is waited for now, in the order in which it is to be served."""
        rounds = zip_longest(*(wants.values() for wants in self._wants.values()))
        return [want for want in chain.from_iterable(rounds) if want is not None]

    def of_kind(self, engine: str, memory_mib: int | None) -> Sequence[Want]:
        """All that wait for a guest of this engine and size, or of any size."""
        return [want for want in self.in_turn() if want.engine == engine and memory_mib in (want.memory_mib, None)]

    def remove(self, enclave: int, guest: int) -> bool:
        """Forgets a want, because it is served or given up; whether it was there. It is others' turn then."""
        wants = self._wants.pop(enclave, {})
        found = wants.pop(guest, None) is not None
        if wants:
            self._wants[enclave] = wants
        return found

    def forget(self, enclave: int) -> None:
        """Forgets all that an enclave waits for, since it is gone."""
        self._wants.pop(enclave, None)
