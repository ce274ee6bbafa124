"""Ends an emulation from outside: when the hypervisor or the chip sends a message, or when time is up.

The emulator holds the process's only thread for as long as the guest runs. A second thread waits meanwhile, and tells
the emulator to stop; it does nothing else.
"""

import os
import select
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager

_AGAIN = 0.0005
"""Seconds between two calls of ``stop``, which is repeated: a call has no effect while the emulator is just being
started."""


class Alarm:
    """Rings while armed, when one of the descriptors is readable or the deadline is reached."""

    def __init__(self, descriptors: Sequence[int], stop: Callable[[], None]) -> None:
        """Watches nothing before :meth:`start`.

        Args:
            descriptors: what to wait for.
            stop: ends the emulation; called repeatedly until the alarm is acknowledged.
        """
        self._stop = stop
        self._reading, self._writing = os.pipe()
        self._poll = select.poll()
        for number in (*descriptors, self._reading):
            self._poll.register(number, select.POLLIN)
        self._armed = False
        self._rung = threading.Event()
        self._deadline = 0.0
        self._go = threading.Semaphore(0)

    def start(self) -> None:
        threading.Thread(target=self._watch, daemon=True, name="alarm").start()

    @property
    def rung(self) -> bool:
        """Whether it has rung since it was last acknowledged."""
        return self._rung.is_set()

    @contextmanager
    def armed(self, deadline: float) -> Iterator[None]:
        """Watches until ``deadline`` (of ``time.monotonic``) or the end of the context."""
        self._deadline = deadline
        self._arm()
        try:
            yield
        finally:
            self._disarm()

    def acknowledge(self) -> None:
        """Resets the alarm, which goes on watching."""
        self._disarm()
        self._arm()

    def _arm(self) -> None:
        self._rung.clear()
        self._armed = True
        self._go.release()

    def _disarm(self) -> None:
        self._armed = False
        self._rung.clear()
        os.write(self._writing, b"\0")

    def _watch(self) -> None:
        while True:
            self._go.acquire()
            left = max(0.0, self._deadline - time.monotonic())
            ready = self._poll.poll(left * 1000)
            if any(number == self._reading for number, _ in ready):
                os.read(self._reading, 1)
                continue
            while self._armed:
                self._rung.set()
                self._stop()
                time.sleep(_AGAIN)
            os.read(self._reading, 1)
