"""Interim."""

import time
from collections.abc import Callable

from casemate.enclave.io.loop import Loop
from casemate.wire.messages.spawner import Unwatch, Watch


class Lease:
    def __init__(self, loop: Loop, number: int, tell: Callable[[Watch | Unwatch], None]) -> None:
        self._number = number
        self._tell = tell

    def work(self, deadline: float) -> None:
        self._tell(Watch(self._number, max(1, int((deadline - time.monotonic()) * 1000))))

    def rest(self) -> None:
        self._tell(Unwatch(self._number))

    def end(self) -> None:
        self._tell(Watch(self._number, 0))

    def close(self) -> None:
        pass
