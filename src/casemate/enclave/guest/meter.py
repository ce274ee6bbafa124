"""Adds up what a call, or all steps of a stream, used."""

import time
from collections.abc import Iterator
from contextlib import contextmanager

from casemate.enclave.guest.guest import Guest
from casemate.enclave.guest.monitor import Monitor
from casemate.wire.protocol.call import CallMetrics

_MICROSECONDS = 1e6


class Meter:
    """Measures one call, and tells the enclave's monitor."""

    __slots__ = ("_bytes_out", "_cold", "_computed", "_monitor", "_ocalls", "_peak_kib", "_run_peak_kib", "_wall")

    def __init__(self, monitor: Monitor) -> None:
        self._monitor = monitor
        self._wall = 0.0
        self._computed: float | None = 0.0
        self._peak_kib: int | None = None
        self._run_peak_kib = 0
        self._bytes_out = 0
        self._cold = False
        self._ocalls = 0

    @contextmanager
    def working(self, guest: Guest) -> Iterator[None]:
        """While the guest works on the call, or on a step of it."""
        self._cold = self._cold or not guest.has_served
        before, began = guest.gauge.computed(), time.monotonic()
        try:
            yield
        finally:
            took = time.monotonic() - began
            computed = _difference(before, guest.gauge.computed())
            peak = guest.gauge.peak_kib()
            self._wall += took
            self._computed = None if self._computed is None or computed is None else self._computed + computed
            self._peak_kib = peak or self._peak_kib
            grown = None if peak is None or guest.loaded_kib is None else peak - guest.loaded_kib
            self._monitor.worked(took if computed is None else computed, grown, died=guest.is_gone)

    def ask(self) -> None:
        """Notes an OCALL."""
        self._ocalls += 1
        self._monitor.asked()

    def ran(self, seconds: float, peak_kib: int | None) -> None:
        """Adds what code has used that the call had run; its end, however violent, is none of the function's.

        Args:
            seconds: what it computed; where nobody can tell, how long it took.
            peak_kib: the most memory that its process had; None where nobody can tell.
        """
        self._computed = None if self._computed is None else self._computed + seconds
        self._run_peak_kib = max(self._run_peak_kib, peak_kib or 0)
        self._monitor.worked(seconds, None, died=False)

    def put_out(self, piece: bytes) -> None:
        """Notes what goes to the caller."""
        self._bytes_out += len(piece)

    def metrics(self) -> CallMetrics:
        """What the call has used so far."""
        computed = self._computed
        return CallMetrics(
            wall_us=round(self._wall * _MICROSECONDS),
            cpu_us=None if computed is None else round(computed * _MICROSECONDS),
            peak_kib=None if self._peak_kib is None else self._peak_kib + self._run_peak_kib,
            bytes_out=self._bytes_out,
            ocalls=self._ocalls,
            cold=self._cold,
        )


def _difference(before: float | None, after: float | None) -> float | None:
    return None if before is None or after is None else max(0.0, after - before)
