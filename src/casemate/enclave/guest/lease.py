"""The arithmetic of a guest's lease: until when the spawner lets the guest live without hearing from the enclave.

A message to the spawner before and after each call would wake it twice. So the enclave asks for more time than a call
needs, and again only when the time that is left would not do for the next call; and it says that the guest rests only
when it has rested for a while.

The enclave ends a call at the call's own deadline. The spawner's deadline is for an enclave that hangs, and comes at
most :data:`LEASE` later than it would without a lease.
"""

from casemate.wire.messages.spawner import Unwatch, Watch

LEASE = 0.5
"""Seconds that a lease lasts beyond the deadline for which it is asked."""

SPARE = 0.4
"""The least that a lease lasts beyond the deadline of the call that uses it (seconds).

A guest that has answered rests on that lease until ``Unwatch``. An enclave whose thread is busy may send that too late
by so much, and the spawner's grace, before a guest that did nothing is killed. The rest of :data:`LEASE` is how long
calls with the same time limit go on without another message.
"""

REST = 0.1
"""Seconds from an answer to ``Unwatch``; most calls are followed by another one sooner."""


class Lease:
    """The lease of one guest. It says which message to send to the spawner, and when to ask again.

    Args:
        guest: the enclave's number for the guest.
    """

    def __init__(self, guest: int) -> None:
        self._guest = guest
        self._until: float | None = None
        """When the spawner will end the guest; None if it will not."""
        self._due: float | None = None

    @property
    def due(self) -> float | None:
        """When to call :meth:`attend`, on the clock of ``now``; None while the guest works or has no deadline."""
        return self._due

    def work(self, deadline: float, now: float) -> Watch | None:
        """The guest works from now on.

        Args:
            deadline: when the enclave will end it.
            now: on the same clock.

        Returns:
            What to send first; None if the spawner's deadline is between ``SPARE`` and ``LEASE`` after this one.
        """
        self._due = None
        if self._until is not None and SPARE <= self._until - deadline <= LEASE:
            return None
        milliseconds = max(1, int((deadline + LEASE - now) * 1000))  # 0 would end the guest
        self._until = now + milliseconds / 1000
        return Watch(self._guest, milliseconds)

    def rest(self, now: float) -> None:
        """The guest has answered, and should wait now."""
        self._due = now + REST

    def attend(self, now: float) -> Unwatch | None:
        """What to send once the guest has rested for long enough; None before."""
        if self._due is None or now < self._due:
            return None
        self._due = self._until = None
        return Unwatch(self._guest)
