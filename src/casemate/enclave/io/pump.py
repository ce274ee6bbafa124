"""The enclave's one place to wait: every peer is served while any one of them is waited for."""

import select
import time
from collections.abc import Callable
from typing import Protocol


class Watched(Protocol):
    """What :class:`Pump` polls."""

    def fileno(self) -> int:
        """The descriptor."""

    def wants(self) -> int:
        """The events of ``select.poll`` to wait for now. Its end is always waited for."""

    def ready(self, events: int) -> None:
        """Takes what has come and sends what can go, without waiting."""


class Pump:
    """Polls peers and lets each take and send what it can. Nothing else here blocks on a peer that may be hostile."""

    __slots__ = ("_poll", "_watched")

    def __init__(self) -> None:
        self._poll = select.poll()
        self._watched: dict[int, tuple[Watched, int]] = {}

    def watch(self, peer: Watched) -> None:
        """Polls ``peer`` from now on."""
        wants = peer.wants()
        self._poll.register(peer.fileno(), wants)
        self._watched[peer.fileno()] = (peer, wants)

    def forget(self, descriptor: int) -> None:
        """Polls this descriptor no more; to be called before it is closed."""
        if self._watched.pop(descriptor, None) is not None:
            self._poll.unregister(descriptor)

    def turn(self, deadline: float | None) -> None:
        """Waits until a peer is ready or ``deadline`` (on the monotonic clock) has come, and serves who is ready."""
        for descriptor, (peer, registered) in self._watched.items():
            wants = peer.wants()
            if wants != registered:
                self._poll.modify(descriptor, wants)
                self._watched[descriptor] = (peer, wants)
        wait = None if deadline is None else max(0.0, deadline - time.monotonic()) * 1000
        for descriptor, events in self._poll.poll(wait):
            if descriptor in self._watched:  # an earlier peer's turn may have ended this one
                self._watched[descriptor][0].ready(events)

    def until(self, condition: Callable[[], bool], deadline: float | None) -> bool:
        """Serves everybody until ``condition`` holds; whether it did before the ``deadline``."""
        while not condition():
            if deadline is not None and time.monotonic() >= deadline:
                return False
            self.turn(deadline)
        return True
