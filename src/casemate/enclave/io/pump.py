"""The one place where the enclave waits: while it waits for one peer, all are served."""

import select
import time
from collections.abc import Callable
from typing import Protocol


class Watched(Protocol):
    """A peer that :class:`Pump` polls."""

    def fileno(self) -> int:
        """The descriptor."""

    def wants(self) -> int:
        """The events of ``select.poll`` to wait for now; the peer's end is always among them."""

    def ready(self, events: int) -> None:
        """Receives what has come and sends what can go, without waiting."""


class Pump:
    """Polls peers and has each receive and send what it can. No other code in the enclave blocks on a hostile peer."""

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
        """Stops polling this descriptor. Call it before the descriptor is closed: its number may be given out again."""
        if self._watched.pop(descriptor, None) is not None:
            self._poll.unregister(descriptor)

    def turn(self, deadline: float | None) -> None:
        """Waits until a peer is ready or the ``deadline`` (monotonic clock) has come, and serves all that are ready."""
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
        """Serves all peers until ``condition`` holds; false if it did not by the ``deadline``."""
        while not condition():
            if deadline is not None and time.monotonic() >= deadline:
                return False
            self.turn(deadline)
        return True
