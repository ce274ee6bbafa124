"""The rules by which the guest of an enclave is ended, and what its end means to the caller."""

import os
import signal
from dataclasses import dataclass

from casemate.sandbox.cgroup import Group
from casemate.spawner.confined_fork import end_of
from casemate.spawner.guest_process import MIB, OVERHEAD_MIB, GuestProcess
from casemate.spawner.process_memory import cpu_time_of, memory_of
from casemate.wire.protocol.faults import Code

GRACE = 0.25
"""How much later than its deadline a guest is killed (seconds): the enclave, which knows the deadline, comes first.
The deadline is that of a lease, which lasts longer than the call (``enclave/guest/lease.py``)."""

SAMPLE_WORKING = 0.025
"""Seconds between looks at the memory of a guest that works; what it grabs in between, the hard limits bound."""

SAMPLE_RESTING = 1.0
"""Seconds between looks at a guest that should be waiting for a call. The first comes at once, and notes how much the
guest has computed so far; what it computes before that is not counted."""

RESTING_CPU = 2.0
"""Seconds that a guest may compute between two calls: enough to collect garbage and to compile, not to work on."""

SLACK_MIB = 16
"""How far the watchdog lets a guest go beyond RLIMIT_DATA, which gives the guest an exception where it can."""

_OUT_OF_MEMORY = (b"out of memory", b"memory allocation of", b"allocation failed", b"Failed to reserve", b"OOM")
"""Texts that V8 and Rust write before they abort. A guest that writes them only causes a wrong reason for its own
end."""

_NEVER_LOADED = b"Top-level await promise never resolved"
"""What the engine writes when nothing is left to run that could settle what a module's top level awaits. It ends
itself then, before it would ask the bootstrap."""

_GAVE_UP = (signal.SIGTRAP, signal.SIGABRT, signal.SIGSEGV, signal.SIGILL, signal.SIGBUS)
"""How V8 and Rust end when they get no memory: on purpose, or by way of a null pointer."""


@dataclass(frozen=True, slots=True)
class Gone:
    """Why a guest is gone."""

    code: Code
    reason: str


class Watchdog:
    """Watches the time and memory of one guest that an enclave has."""

    def __init__(self, guest: GuestProcess, now: float, *, sleeps: bool) -> None:
        memory = memory_of(guest.pid)
        self._pid = guest.pid
        self._limit = (guest.memory_mib + OVERHEAD_MIB + SLACK_MIB) * MIB + (0 if memory is None else memory.resident)
        self._asked = guest.memory_mib
        self._sleeps = sleeps
        self._deadline: float | None = None
        self._cpu: float | None = None
        self._rest(now)

    def watch(self, deadline_ms: int, now: float) -> None:
        """The guest works from now on."""
        self._deadline = now + deadline_ms / 1000 + GRACE
        self._next = now + SAMPLE_WORKING

    def unwatch(self, now: float) -> None:
        """The guest has answered a while ago, and should wait for a call now."""
        self._deadline = None
        self._rest(now)

    @property
    def due(self) -> float:
        """When to :meth:`look` next, on the monotonic clock."""
        if self._sleeps:
            return float("inf")
        return self._next if self._deadline is None else min(self._next, self._deadline)

    def look(self, now: float) -> Gone | None:
        """Why the guest must be ended now; None if it may go on."""
        if now < self.due:
            return None
        if self._deadline is not None and now >= self._deadline:
            return Gone(Code.TIME_LIMIT, "the guest worked for longer than its time limit")
        self._next = now + (SAMPLE_RESTING if self._deadline is None else SAMPLE_WORKING)
        memory = memory_of(self._pid)
        if memory is not None and memory.resident > self._limit:
            return Gone(Code.MEMORY_LIMIT, f"the guest used more than its {self._asked} MiB")
        return self._look_at_rest() if self._deadline is None else None

    def _look_at_rest(self) -> Gone | None:
        computed = cpu_time_of(self._pid) or 0.0
        if self._cpu is None:
            self._cpu = computed
        elif computed - self._cpu > RESTING_CPU:
            return Gone(Code.GUEST_CRASHED, "the guest kept computing between calls")
        return None

    def _rest(self, now: float) -> None:
        self._next = now
        self._cpu = None


def cause_of_death(guest: GuestProcess, status: int, last_words: bytes, peak: int) -> Gone:
    """Why a guest ended for which no rule of the watchdog gave a reason.

    Args:
        guest: the one that ended.
        status: of wait4.
        last_words: what it wrote to its standard error.
        peak: its largest resident set (bytes), program text included.
    """
    code = os.waitstatus_to_exitcode(status)
    starved = isinstance(guest.group, Group) and guest.group.was_out_of_memory()
    if starved or any(sign in last_words for sign in _OUT_OF_MEMORY):
        return Gone(Code.MEMORY_LIMIT, f"the guest used more than its {guest.memory_mib} MiB")
    if -code in _GAVE_UP and peak > (guest.memory_mib + OVERHEAD_MIB) * MIB:
        return Gone(
            Code.MEMORY_LIMIT, f"the engine gave up with {peak // MIB} MiB in use, of {guest.memory_mib} allowed"
        )
    if code == 1 and _NEVER_LOADED in last_words:
        return Gone(
            Code.GUEST_ERROR,
            "the code cannot be loaded: a promise that a module awaits at its top level can never be settled: "
            "nothing is left to run",
        )
    return Gone(Code.GUEST_CRASHED, f"the guest {end_of(status)}")
