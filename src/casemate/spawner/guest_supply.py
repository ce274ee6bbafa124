"""Guests for the enclaves that wait for one: a pool for each engine, the queue before them, and what they start from.

| what happens | what it does |
| --- | --- |
| an enclave wants a guest | gives it a warm one as soon as there is one and it is this enclave's turn |
| a starting guest is warm | gives it to an enclave that waits, or keeps it |
| a guest in a pool says more, or ends | drops it |
| START_TIME is over | drops it, and refuses what waits for its kind |
| a pool lacks one | starts one |

JavaScript guests are forked from the spawner and become the engine. Python guests are never forked from there, where
other tenants' words have been, but from a base that is started when the first one is wanted.
"""

import os
import selectors
import sys
import time
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from itertools import chain

from casemate.engines.registry import JAVASCRIPT, PYTHON
from casemate.sandbox.cgroup import Group
from casemate.sandbox.confinement import NoGroup, prepare_guest
from casemate.sandbox.engine_root import EngineRoot, prepare_root
from casemate.sandbox.program import open_program
from casemate.spawner.confined_fork import end_of
from casemate.spawner.guest_pool import GuestPool
from casemate.spawner.guest_process import START_TIME, GuestFactory, GuestProcess, GuestProcessState, StartError
from casemate.spawner.guest_queue import GuestQueue, Want
from casemate.spawner.image_process import ImageFactory, ImageProcess
from casemate.spawner.python_base import BaseState, PythonBase
from casemate.wire.errors import os_error_text
from casemate.wire.messages.spawner import Configure

USUAL_MEMORY_MIB = 64
"""The guests of the pools are of this size until others are asked for."""

MOST_STARTING = max(1, (os.cpu_count() or 1) // 2)
"""Most guests of an engine that start at the same time; who comes later waits longer.

An engine computes for 27 ms until it is warm. As many as there are processors would leave none to the calls of others,
and each of them would be ready later."""


@dataclass(frozen=True, slots=True)
class Serves:
    """What the spawner's loop does for this module."""

    give: Callable[[int, int, GuestProcess], None]
    """Gives an enclave, by its number, a guest under the enclave's number for it."""
    refuse: Callable[[int, int, str], None]
    """Refuses an enclave a guest, and says why."""
    remove_group: Callable[[Group | NoGroup], None]
    """Removes the control group of a process that is gone."""


class GuestSupply:
    """Guests that no enclave has yet, and those that no enclave has any more.

    Args:
        selector: the loop's.
        configure: engines, layers, and how many guests are kept warm.
        serves: the loop's part.

    Raises:
        OSError: there is no engine at the path.
    """

    def __init__(self, selector: selectors.BaseSelector, configure: Configure, serves: Serves) -> None:
        self._selector = selector
        self._serves = serves
        # Reads and joins the engine's files now, so that settle_memory gives back what that takes.
        JAVASCRIPT.command(configure.deno, memory_mib=USUAL_MEMORY_MIB)
        program = open_program(configure.deno)
        self._engine_root = prepare_root(program)
        self._base = PythonBase(configure.python, configure.layers)
        confinement = prepare_guest(program, self._engine_root)
        self._factories: dict[str, GuestFactory | ImageFactory] = {
            JAVASCRIPT.name: GuestFactory(JAVASCRIPT, program, confinement, configure.layers),
            PYTHON.name: ImageFactory(self._base, configure.layers),
        }
        self._pools = {name: GuestPool(USUAL_MEMORY_MIB, configure.pool) for name in self._factories}
        """Guests that are given their program, by engine."""
        self._queue = GuestQueue()
        self._dropped: dict[int, GuestProcess] = {}
        """Guests that no enclave has and that are killed or dead, and not reaped yet, by pid."""
        self._started = 0

    def __len__(self) -> int:
        """How many guests are waited for."""
        return len(self._queue)

    def count(self, enclave: int) -> int:
        """How many guests an enclave waits for."""
        return self._queue.count(enclave)

    def refusal(self, engine: str) -> str:
        """Why there can be no guest of this engine; empty if there can."""
        return self._base.refusal if engine == PYTHON.name else ""

    def open(self) -> None:
        """An enclave has been started: keeps guests of the usual engine warm from now on."""
        self._pools[JAVASCRIPT.name].open()

    def want(self, want: Want, now: float) -> None:
        """An enclave waits for a guest."""
        self._queue.add(want)
        self._pools[want.engine].open()
        self._pools[want.engine].note(want.enclave, want.memory_mib)
        self._serve(now)

    def give_up(self, enclave: int, guest: int) -> bool:
        """An enclave waits for a guest no more; whether it did."""
        return self._queue.remove(enclave, guest)

    def forget(self, enclave: int) -> None:
        """An enclave is gone."""
        self._queue.forget(enclave)

    def drop(self, guest: GuestProcess) -> None:
        """Kills a process that no enclave has."""
        guest.kill()
        if guest.pid:
            self._dropped[guest.pid] = guest
        else:  # an image process that has not said who it is: it ends, since nobody listens to that
            guest.bury()
            self._serves.remove_group(guest.group)

    def pids(self) -> set[int]:
        """The processes that are here."""
        return {guest.pid for guest in self._pooled()} | self._dropped.keys() | {self._base.pid}

    def hear_reports(self) -> None:
        """Takes note of who the image processes in the pool are, as far as they have said so."""
        for image in self._pools[PYTHON.name].guests:
            if isinstance(image, ImageProcess):
                image.hear_report()

    # --- time -------------------------------------------------------------------------------------------------------

    def due(self) -> float:
        """When something is to be done next even if nothing happens."""
        due = [self._base.due]
        for engine, pool in self._pools.items():
            starting = pool.starting()
            due += [guest.since + START_TIME for guest in starting]
            lacks = pool.missing() is not None and len(starting) < MOST_STARTING
            if lacks and (engine != PYTHON.name or self._base.state is BaseState.READY):
                due.append(pool.refill_at)
        return min(due)

    def tend(self, now: float) -> None:
        """Does what is due."""
        for engine, pool in self._pools.items():
            for guest in pool.starting():
                if now >= guest.since + START_TIME:
                    self._drop_from_pool(engine, guest)
                    self._fail(engine, guest.memory_mib, f"the engine was not ready after {START_TIME:g} s")
                    self._serve(now)
        if now >= self._base.due:
            self._base.kill()
        self._refill(now)

    def _refill(self, now: float) -> None:
        for engine, pool in self._pools.items():
            for guest in pool.surplus():
                self._drop_from_pool(engine, guest)
            size = pool.missing()
            if size is not None and len(pool.starting()) < MOST_STARTING and now >= pool.refill_at:
                if engine == PYTHON.name and self._base.state is not BaseState.READY:
                    continue
                self._start(engine, size)

    # --- who waits --------------------------------------------------------------------------------------------------

    def _serve(self, now: float) -> None:
        """Gives warm guests to enclaves that wait, in turn, and starts as many as are lacking for them."""
        for want in self._queue.in_turn():
            guest = self._pools[want.engine].take(want.memory_mib, now)
            if guest is not None:
                self._queue.remove(want.enclave, want.guest)
                self._selector.unregister(guest.from_guest)
                self._serves.give(want.enclave, want.guest, guest)
        starting = Counter(
            (engine, guest.memory_mib) for engine, pool in self._pools.items() for guest in pool.starting()
        )
        for want in self._queue.in_turn():
            kind = (want.engine, want.memory_mib)
            if starting[kind]:
                starting[kind] -= 1
            elif len(self._pools[want.engine].starting()) >= MOST_STARTING or not self._can_start(want.engine, now):
                continue
            elif want in self._queue:  # not refused meanwhile, since one of its size could not be started
                self._start(*kind)

    def _can_start(self, engine: str, now: float) -> bool:
        """Whether a guest can be started now; what is missing for that is started, where it can be."""
        if engine != PYTHON.name or self._base.state is BaseState.READY:
            return True
        was_absent = self._base.state is BaseState.ABSENT
        try:
            there = self._base.start(now)
        except OSError as error:
            self._fail(engine, None, f"cannot fork: {os_error_text(error)}")
            return False
        if not there:
            self._fail(engine, None, "the process that Python guests come from ended a moment ago")
        elif was_absent:
            self._selector.register(self._base.fileno(), selectors.EVENT_READ, self._hear_base)
        return False

    def _fail(self, engine: str, memory_mib: int | None, reason: str) -> None:
        """Refuses the guests of this engine and size, or of any size, that are waited for."""
        self._pools[engine].note_failure(time.monotonic())
        for want in self._queue.of_kind(engine, memory_mib):
            self._queue.remove(want.enclave, want.guest)
            self._serves.refuse(want.enclave, want.guest, f"no guest: {reason}")

    # --- who starts -------------------------------------------------------------------------------------------------

    def _start(self, engine: str, memory_mib: int) -> None:
        self._started += 1
        try:
            guest = self._factories[engine].start(memory_mib, self._started)
        except (OSError, StartError) as error:
            reason = str(error) if isinstance(error, StartError) else f"cannot fork: {os_error_text(error)}"
            self._fail(engine, memory_mib, reason)
            return
        self._pools[engine].guests.append(guest)
        self._selector.register(guest.from_guest, selectors.EVENT_READ, lambda: self._hear(engine, guest))

    def _hear(self, engine: str, guest: GuestProcess) -> None:
        if guest.state is GuestProcessState.WARM:  # it waits for its program: what it says now, or its end, is its end
            self._drop_from_pool(engine, guest)
            return
        try:
            if guest.hear_warm():
                self._serve(time.monotonic())
        except StartError as error:
            self._drop_from_pool(engine, guest)
            sys.stderr.write(f"casemate.spawner: no guest: {error}\n")
            self._fail(engine, guest.memory_mib, str(error))
            self._serve(time.monotonic())

    def _hear_base(self) -> None:
        """The base says that it is ready, or why not; anything else is its end, which is noticed as it is reaped."""
        try:
            self._base.hear()
        except StartError as error:
            self._selector.unregister(self._base.fileno())
            self._base.kill()
            if self._base.refusal:  # else its end tells more
                self._fail(PYTHON.name, None, str(error))
            return
        self._serve(time.monotonic())

    def _drop_from_pool(self, engine: str, guest: GuestProcess) -> None:
        self._selector.unregister(guest.from_guest)
        self._pools[engine].guests.remove(guest)
        self.drop(guest)

    def _pooled(self) -> Iterator[GuestProcess]:
        return chain.from_iterable(pool.guests for pool in self._pools.values())

    # --- death ------------------------------------------------------------------------------------------------------

    def buried(self, pid: int, status: int) -> bool:
        """A child has been reaped; whether it was one of these."""
        if pid == self._base.pid:
            self._bury_base(status)
            return True
        for engine, pool in self._pools.items():
            for guest in list(pool.guests):
                if guest.pid == pid:
                    self._selector.unregister(guest.from_guest)
                    pool.guests.remove(guest)
                    self._dropped[pid] = guest
                    starts = guest.state is GuestProcessState.STARTING
                    reason = f"{guest.refusal()}; it {end_of(status)}" if starts else f"the engine {end_of(status)}"
                    self._fail(engine, guest.memory_mib, reason)
                    self._serve(time.monotonic())
        if pid not in self._dropped:
            return False
        guest = self._dropped.pop(pid)
        guest.bury()
        self._serves.remove_group(guest.group)
        return True

    def _bury_base(self, status: int) -> None:
        """The base has died. Image processes that it has made live on; those in the making may never come."""
        if self._base.fileno() in self._selector.get_map():
            self._selector.unregister(self._base.fileno())
        self._base.bury(time.monotonic())
        for guest in self._pools[PYTHON.name].starting():
            if not guest.pid:
                self._drop_from_pool(PYTHON.name, guest)
        words = f"the process that Python guests come from {end_of(status)}"
        sys.stderr.write(f"casemate.spawner: {words}\n")
        self._fail(PYTHON.name, None, words)

    def kill(self) -> list[GuestProcess]:
        """Kills all that are here, at the spawner's end; gives them, whose groups outlive them."""
        guests = [*self._pooled(), *self._dropped.values()]
        self._base.kill()
        for guest in guests:
            guest.kill()
            if not guest.pid:  # nobody listens to it any more, so it ends
                guest.bury()
        return guests

    def close(self) -> None:
        """All are reaped: removes what they saw of the file system."""
        if isinstance(self._engine_root, EngineRoot):
            self._engine_root.remove()
