"""Warm guests, kept so that an enclave need not wait for an engine to start."""

from collections.abc import Sequence

from casemate.spawner.guest_process import GuestProcess, GuestProcessState

REFILL_DELAY = 0.1
"""Seconds between giving a guest of a full pool away and starting its successor, so that this does not slow the
enclave's start."""

RETRY_DELAY = 5.0
"""Seconds before the pool tries again after a guest that did not start."""


class GuestPool:
    """Which warm guests there should be: so many of the usual size, and one of each other size asked for lately.

    An enclave's guests have one size, its manifest's. So one size is remembered for each enclave, and one that asks for
    many keeps nobody else's from being warm.

    The pool stays empty until the first enclave starts, to keep an idle machine small.
    """

    MOST_SIZES = 4
    """Sizes kept warm besides the usual one; that of the enclave which asked longest ago gives way."""

    MOST_ENCLAVES = 256
    """Most enclaves whose size is remembered, those that are gone included."""

    def __init__(self, usual_mib: int, count: int) -> None:
        self._usual = usual_mib
        self._count = count
        self._is_open = False
        self._others: dict[int, int] = {}
        """Sizes asked for lately, by the enclave that did; the newest last."""
        self.guests: list[GuestProcess] = []
        """Starting and warm ones."""
        self.refill_at = 0.0
        """When a guest that is missing may be started, on the monotonic clock."""

    def open(self) -> None:
        """Fills the pool from now on."""
        self._is_open = True

    def note(self, enclave: int, memory_mib: int) -> None:
        """Remembers the size of guest that an enclave has asked for last."""
        self._others.pop(enclave, None)
        if self._count and memory_mib != self._usual:
            self._others[enclave] = memory_mib
            while len(set(self._others.values())) > self.MOST_SIZES or len(self._others) > self.MOST_ENCLAVES:
                del self._others[next(iter(self._others))]

    def note_failure(self, now: float) -> None:
        """Remembers that a guest did not start."""
        self.refill_at = now + RETRY_DELAY

    def take(self, memory_mib: int, now: float) -> GuestProcess | None:
        """Takes a warm guest of that size out of the pool; None if there is none."""
        was_full = self.missing() is None
        for guest in self.guests:
            if guest.state is GuestProcessState.WARM and guest.memory_mib == memory_mib:
                self.guests.remove(guest)
                if was_full:  # else it is being filled: if each guest put that off, a run of them would empty it
                    self.refill_at = max(self.refill_at, now + REFILL_DELAY)
                return guest
        return None

    def starting(self) -> list[GuestProcess]:
        """Guests of all sizes that are starting."""
        return [guest for guest in self.guests if guest.state is GuestProcessState.STARTING]

    def missing(self) -> int | None:
        """A size of which one more guest should be started; None if there are enough."""
        if not self._is_open:
            return None
        for size, wanted in self._wanted().items():
            if sum(guest.memory_mib == size for guest in self.guests) < wanted:
                return size
        return None

    def surplus(self) -> Sequence[GuestProcess]:
        """Warm guests that the pool does not need: nobody asks for their size, or it has enough of them."""
        left = self._wanted()
        surplus: list[GuestProcess] = []
        for guest in self.guests:
            if guest.state is GuestProcessState.WARM:
                left[guest.memory_mib] = left.get(guest.memory_mib, 0) - 1
                if left[guest.memory_mib] < 0:
                    surplus.append(guest)
        return surplus

    def _wanted(self) -> dict[int, int]:
        """How many guests of each size there should be."""
        return {self._usual: self._count} | dict.fromkeys(self._others.values(), 1)
