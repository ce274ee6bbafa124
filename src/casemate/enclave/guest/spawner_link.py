"""The enclave's link to the spawner, which gives it guests and says when and why one is gone."""

import itertools
import os
from collections.abc import Collection
from typing import Protocol

from casemate.enclave.guest.gauge import Gauge
from casemate.enclave.io.loop import Signal
from casemate.enclave.io.socket_peer import SocketPeer
from casemate.wire.encodings.message import encode_message, parse_message
from casemate.wire.messages.spawner import GuestGiven, GuestGone, GuestRefused, Interrupt, NeedGuest, Unwatch, Watch
from casemate.wire.protocol.faults import Code, Fault, fault
from casemate.wire.protocol.sandbox_layers import Layer

MAX_SPAWNER_FRAME = 64 * 1024
"""Longest frame from the spawner (bytes)."""


class Asking(Protocol):
    """Whoever has asked for a guest: :class:`casemate.enclave.guest.guest.Guest`."""

    def given(self, layers: tuple[Layer, ...], pipes: tuple[int, int], gauge: Gauge) -> None:
        """It is there: its layers, the pipes to write to and to read from, and what measures it."""

    def gone(self, failure: Fault) -> None:
        """It has ended, for this reason."""

    def refused(self, refusal: Fault) -> None:
        """There is none to be had."""


class SpawnerLink:
    """Passes the spawner's words on to the guests that they are about. The spawner is trusted, and may be gone."""

    def __init__(self, spawner: SocketPeer) -> None:
        self._spawner = spawner
        self._numbers = itertools.count(1)
        self._asking: dict[int, Asking] = {}
        self._alive: set[int] = set()
        """Those of whom the spawner has not said its last word."""
        self._ended = Signal()
        spawner.hear(self._heard)

    def need(self, asking: Asking, engine: str, memory_mib: int, *, copy_of: int = 0) -> int:
        """Asks for a guest, which is to be a copy of the one with that number where it is not 0; its own number."""
        number = next(self._numbers)
        self._asking[number] = asking
        self._alive.add(number)
        self._spawner.send(encode_message(NeedGuest(number, engine, memory_mib, copy_of)))
        return number

    def tell(self, message: Watch | Unwatch | Interrupt) -> None:
        """Says something about a guest."""
        self._spawner.send(encode_message(message))

    def forget(self, number: int) -> None:
        """Hears no more of this guest."""
        self._asking.pop(number, None)

    async def buried(self, numbers: Collection[int], deadline: float) -> bool:
        """Waits until these have ended and are reaped; whether all are, at the ``deadline`` (monotonic clock)."""
        return await self._ended.until(lambda: self._alive.isdisjoint(numbers), deadline)

    def _heard(self, frame: bytes | None) -> None:
        said: object = parse_message(frame or b"", GuestGiven, GuestGone, GuestRefused)
        if isinstance(said, GuestGone | GuestRefused):
            self._alive.discard(said.guest)
            self._ended.set()
        match said:
            case GuestGiven(number, pid, layers, has_status):
                take = self._spawner.descriptors.popleft
                pipes, gauge = (take(), take()), Gauge(pid, take() if has_status else None)
                asking = self._asking.get(number)
                if asking is not None:
                    asking.given(layers, pipes, gauge)
                else:  # it was given up before it came
                    gauge.close()
                    for descriptor in pipes:
                        os.close(descriptor)
            case GuestGone(number, code, reason) if number in self._asking:
                self._asking[number].gone(fault(_code(code), reason))
            case GuestRefused(number, refusal) if number in self._asking:
                self._asking[number].refused(refusal)


def _code(name: str) -> Code:
    try:
        return Code(name)
    except ValueError:
        return Code.GUEST_CRASHED
