"""Guest processes: forked, confined, and turned into an engine that waits for its program; some are kept warm."""

import contextlib
import os
import signal
import time
from collections import deque
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from enum import StrEnum

from casemate.engines.frames import NO_CALL, PREFIX_SIZE, WARM_FRAME_SIZE, Kind, frame
from casemate.engines.registry import Engine
from casemate.link.frames import header
from casemate.sandbox.cgroup import Group
from casemate.sandbox.confinement import GUEST_THREADS, Confinement, NoGroup, confine, modes_of
from casemate.sandbox.errors import UnavailableError
from casemate.sandbox.probe import find_group
from casemate.sandbox.rlimits import limit_data, low_limits
from casemate.spawner.fork import Child, Confined, fork, report_of
from casemate.spawner.process_memory import memory_of
from casemate.wire.errors import CasemateError
from casemate.wire.protocol.sandbox_layers import Layer, LayerMode, LayerName, LayerRequest, LayerState

MIB = 1024 * 1024

OVERHEAD_MIB = 64
"""What a guest may use beside its manifest's memory: V8's young generation, compiled code, frames, stacks."""

BASE_MIB = 192
"""What a control group is charged besides: the engine's own heap, and the file pages that it is the first to touch."""

START_TIME = 10.0
"""Seconds from fork to warm; a loaded machine takes long, a broken engine for ever."""

STDERR_SIZE = 64 * 1024
MAX_WORDS = 300
"""Most characters of an engine's complaint that are told."""

"""Most of a guest's last words that are read (bytes); what does not fit its pipe was never written."""

_WARM = frame(Kind.WARM, NO_CALL)
_WARM_FRAME = header(_WARM, WARM_FRAME_SIZE - PREFIX_SIZE) + _WARM


class StartError(CasemateError):
    """A guest did not get as far as being warm; the message says why."""


class GuestState(StrEnum):
    """Where a guest process stands."""

    STARTING = "starting"
    WARM = "warm"
    GIVEN = "given"  # an enclave has its pipes
    DYING = "dying"  # killed, not reaped yet


@dataclass(slots=True)
class Guest:
    """One guest process, as its parent knows it."""

    pid: int
    memory_mib: int
    to_guest: int
    """Pipes: the parent's ends, until an enclave has them."""
    from_guest: int
    last_words: int
    """What the engine writes to its standard error: evidence of how it died, and never told on."""
    group: Group | NoGroup
    child: Child | None
    """Until it has reported its layers."""
    since: float
    state: GuestState = GuestState.STARTING
    layers: tuple[Layer, ...] = ()
    heard: bytes = field(default=b"", repr=False)

    def hear_warm(self) -> bool:
        """Takes what a starting guest has written; whether it is warm now.

        Raises:
            StartError: it ended, or said something else.
        """
        piece = os.read(self.from_guest, WARM_FRAME_SIZE - len(self.heard))
        self.heard += piece
        if not piece or not _WARM_FRAME.startswith(self.heard):
            raise StartError(self.refusal())
        if self.heard != _WARM_FRAME:
            return False
        self.layers = self._bounded(self._report().layers)
        self.state = GuestState.WARM
        return True

    def _bounded(self, layers: tuple[Layer, ...]) -> tuple[Layer, ...]:
        """Sets the ceiling for what is about to come, above what the engine has reserved so far; its layers then.

        Elsewhere than on Linux nothing counts as RLIMIT_DATA what an engine reserves, so there is no such ceiling.
        """
        memory = memory_of(self.pid)
        if memory is None:
            return layers
        ceiling = memory.data + (self.memory_mib + OVERHEAD_MIB) * MIB
        try:
            limit_data(self.pid, ceiling)
        except UnavailableError as error:
            raise StartError(f"its memory cannot be limited: {error}") from None
        added = f", DATA {ceiling}"
        return tuple(
            replace(layer, detail=layer.detail + added)
            if layer.name is LayerName.RLIMITS and layer.state is LayerState.APPLIED
            else layer
            for layer in layers
        )

    def close_pipes(self) -> None:
        """Closes the parent's ends; an enclave that was given them has its own."""
        for name in ("to_guest", "from_guest"):
            if getattr(self, name) >= 0:
                os.close(getattr(self, name))
                setattr(self, name, -1)

    def kill(self) -> None:
        """Ends it; it is reaped later."""
        self.state = GuestState.DYING
        with contextlib.suppress(ProcessLookupError):
            os.kill(self.pid, signal.SIGKILL)

    def bury(self) -> bytes:
        """Lets go of all that a reaped guest had; its last words."""
        self.close_pipes()
        if self.child is not None:
            os.close(self.child.report)
            self.child = None
        words = self._words()
        os.close(self.last_words)
        return words

    def _report(self) -> Confined:
        child, self.child = self.child, None
        return Confined((), "") if child is None else report_of(child)

    def refusal(self) -> str:
        """Why it did not become warm: nothing of anybody's has reached it yet, so its own words can be told."""
        refusal = self._report().refusal
        if refusal:
            return refusal
        reasons = ["the engine did not start", first_words(self._words()), low_limits()]
        return "; ".join(reason for reason in reasons if reason)

    def _words(self) -> bytes:
        try:
            return os.read(self.last_words, STDERR_SIZE)
        except OSError:  # nothing is there, or not yet
            return b""


def first_words(complaint: bytes) -> str:
    """The line in which an engine says why it ends, of all that it writes then; shortened, and without what is no text.

    V8 draws a frame of ``#`` around it, and lists its stack below.
    """
    for line in complaint.decode("utf-8", "replace").splitlines():
        words = line.strip("# \t")
        if words:
            return "".join(letter if letter.isprintable() else "?" for letter in words[:MAX_WORDS])
    return ""


@dataclass(frozen=True, slots=True)
class Kitchen:
    """All that it takes to start guests."""

    engine: Engine
    binary: str
    confinement: Confinement
    requests: tuple[LayerRequest, ...]

    def start(self, memory_mib: int, number: int) -> Guest:
        """Forks a guest. It will say that it is warm.

        Raises:
            OSError: the system has no room for one more.
        """
        to_guest, from_guest, last_words = os.pipe(), os.pipe(), os.pipe()
        os.set_blocking(last_words[0], False)
        group = self._group(memory_mib, number)
        command = self.engine.command(self.binary, memory_mib=memory_mib)
        theirs = (to_guest[0], from_guest[1], last_words[1])

        def become_engine(_: tuple[Layer, ...]) -> None:
            signal.signal(signal.SIGPIPE, signal.SIG_DFL)
            os.execve(self.binary, command.arguments, command.environment)  # noqa: S606 - no shell, on purpose

        def confine_guest(parent: int) -> tuple[Layer, ...]:
            for standard, inherited in enumerate(theirs):
                os.dup2(inherited, standard)
                os.close(inherited)
            return confine(self.confinement, self.requests, parent=parent, group=group)

        try:
            child = fork(theirs, confine_guest, become_engine)
        except OSError:
            for descriptor in (to_guest[1], from_guest[0], last_words[0]):
                os.close(descriptor)
            if isinstance(group, Group):
                group.remove()
            raise
        finally:
            for descriptor in theirs:
                os.close(descriptor)
        return Guest(
            pid=child.pid,
            memory_mib=memory_mib,
            to_guest=to_guest[1],
            from_guest=from_guest[0],
            last_words=last_words[0],
            group=group,
            child=child,
            since=time.monotonic(),
        )

    def _group(self, memory_mib: int, number: int) -> Group | NoGroup:
        if modes_of(self.requests)[LayerName.CGROUP] is LayerMode.OFF:
            return NoGroup("off")
        ceiling = (memory_mib + OVERHEAD_MIB + BASE_MIB) * MIB
        return find_group(f"casemate-{os.getpid()}-{number}", memory=ceiling, threads=GUEST_THREADS)


class Pool:
    """Which warm guests there should be: so many of the usual size, and one of each other size asked for lately.

    None until it is opened: a guest is most of what a machine without enclaves would take.
    """

    MOST_SIZES = 4
    """Sizes kept warm besides the usual one; the one asked for longest ago gives way."""

    def __init__(self, usual_mib: int, count: int) -> None:
        self._usual = usual_mib
        self._count = count
        self._is_open = False
        self._others: deque[int] = deque(maxlen=self.MOST_SIZES)
        self.guests: list[Guest] = []
        """Starting and warm ones."""

    def open(self) -> None:
        """From now there should be guests."""
        self._is_open = True

    def note(self, memory_mib: int) -> None:
        """Remembers that this size was asked for."""
        if self._count and memory_mib != self._usual:
            with contextlib.suppress(ValueError):
                self._others.remove(memory_mib)
            self._others.append(memory_mib)

    def take(self, memory_mib: int) -> Guest | None:
        """A warm guest of that size, which is the pool's no more."""
        for guest in self.guests:
            if guest.state is GuestState.WARM and guest.memory_mib == memory_mib:
                self.guests.remove(guest)
                return guest
        return None

    def starting(self, memory_mib: int) -> int:
        """How many of that size are on their way."""
        return sum(guest.state is GuestState.STARTING and guest.memory_mib == memory_mib for guest in self.guests)

    def missing(self) -> int | None:
        """A size of which one more should be started."""
        if not self._is_open:
            return None
        for size, wanted in ((self._usual, self._count), *((size, 1) for size in self._others)):
            if sum(guest.memory_mib == size for guest in self.guests) < wanted:
                return size
        return None

    def surplus(self) -> Sequence[Guest]:
        """Warm guests of sizes that nobody has asked for lately."""
        sizes = {self._usual, *self._others}
        return [guest for guest in self.guests if guest.state is GuestState.WARM and guest.memory_mib not in sizes]
