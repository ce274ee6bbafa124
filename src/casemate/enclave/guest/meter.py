"""Adds up what a call, or all steps of a stream, used."""

import time
from collections.abc import Iterator
from contextlib import contextmanager

from casemate.enclave.guest.guest import Guest
from casemate.wire.protocol.call import CallMetrics

_MICROSECONDS = 1e6


class Meter:
    """Measures one call."""

    __slots__ = ("_bytes_out", "_cold", "_computed", "_peak_kib", "_wall", "ocalls")

    def __init__(self) -> None:
        self._wall = 0.0
        self._computed: float | None = 0.0
        self._peak_kib: int | None = None
        self._bytes_out = 0
        self._cold = False
        self.ocalls = 0
        """OCALLs that the function has asked for."""

    @contextmanager
    def working(self, guest: Guest) -> Iterator[None]:
        """While the guest works on the call, or on a step of it."""
        self._cold = self._cold or not guest.has_served
        before, began = guest.gauge.computed(), time.monotonic()
        try:
            yield
        finally:
            self._wall += time.monotonic() - began
            self._add(before, guest.gauge.computed())
            self._peak_kib = guest.gauge.peak_kib() or self._peak_kib

    def put_out(self, piece: bytes) -> None:
        """Notes what goes to the caller."""
        self._bytes_out += len(piece)

    def metrics(self) -> CallMetrics:
        """What the call has used so far."""
        computed = self._computed
        return CallMetrics(
            wall_us=round(self._wall * _MICROSECONDS),
            cpu_us=None if computed is None else round(computed * _MICROSECONDS),
            peak_kib=self._peak_kib,
            bytes_out=self._bytes_out,
            ocalls=self.ocalls,
            cold=self._cold,
        )

    def _add(self, before: float | None, after: float | None) -> None:
        if self._computed is None or before is None or after is None:
            self._computed = None
        else:
            self._computed += max(0.0, after - before)
