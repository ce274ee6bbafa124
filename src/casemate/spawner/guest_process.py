"""Guest processes: forked, confined, and turned into an engine that waits for its program."""

import contextlib
import fcntl
import os
import signal
import time
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from enum import StrEnum
from itertools import chain

from casemate.engines.frames import NO_CALL, PREFIX_SIZE, WARM_FRAME_SIZE, FrameKind, frame
from casemate.engines.javascript.engine import JavaScript
from casemate.link.frames import header
from casemate.sandbox.cgroup import Group
from casemate.sandbox.confinement import GUEST_THREADS, Confinement, NoGroup, confine, modes_of
from casemate.sandbox.engine_root import EngineRoot
from casemate.sandbox.errors import UnavailableError
from casemate.sandbox.probe import find_group
from casemate.sandbox.program import Program
from casemate.sandbox.rlimits import limit_data, low_limits
from casemate.spawner.confined_fork import Child, Confined, fork, report_of
from casemate.spawner.process_memory import memory_of
from casemate.wire.errors import CasemateError
from casemate.wire.protocol.sandbox_layers import Layer, LayerMode, LayerName, LayerRequest, LayerState

MIB = 1024 * 1024

OVERHEAD_MIB = 64
"""Memory that a guest may use beside its manifest's: V8's young generation, compiled code, frames, stacks (MiB)."""

BASE_MIB = 192
"""Memory that a control group is charged in addition: the engine's own heap, and file pages it touches first (MiB)."""

START_TIME = 10.0
"""Seconds from fork to warm; a loaded machine takes long, a broken engine for ever."""

STDERR_SIZE = 64 * 1024
"""Most of what a guest wrote to its standard error that is read (bytes): as much as a pipe holds."""

PIPE_SIZE = 256 * 1024
"""What each pipe of a guest's is asked to hold (bytes): a piece of a stream passes in four turns of enclave and guest
instead of sixteen. Not all of a MiB: Linux lets one user's pipes hold 64 MiB together, and makes further ones tiny."""

MAX_WORDS = 300
"""Most characters of an engine's complaint that are told."""

_WARM = frame(FrameKind.WARM, NO_CALL)
_WARM_FRAME = header(_WARM, WARM_FRAME_SIZE - PREFIX_SIZE) + _WARM


class StartError(CasemateError):
    """A guest did not get as far as being warm; the message says why."""


class GuestProcessState(StrEnum):
    """The states of a guest process that the spawner can tell apart."""

    STARTING = "starting"  # forked; it has not said that it is warm
    WARM = "warm"  # in the pool, waiting for its program
    GIVEN = "given"  # an enclave has its pipes
    DYING = "dying"  # killed, not reaped yet


_NEXT: Mapping[GuestProcessState, frozenset[GuestProcessState]] = {
    GuestProcessState.STARTING: frozenset({GuestProcessState.WARM, GuestProcessState.DYING}),
    GuestProcessState.WARM: frozenset({GuestProcessState.GIVEN, GuestProcessState.DYING}),
    GuestProcessState.GIVEN: frozenset({GuestProcessState.DYING}),
    GuestProcessState.DYING: frozenset({GuestProcessState.DYING}),
}
"""The states that may follow each state. All end when the process is reaped, which forgets it."""


@dataclass(slots=True)
class GuestProcess:
    """One guest process, as its spawner knows it."""

    pid: int
    memory_mib: int
    to_guest: int
    """Pipes: the spawner's ends, until an enclave has them."""
    from_guest: int
    last_words: int
    """A pipe with what the engine writes to its standard error. It tells how the engine died; callers never see it."""
    group: Group | NoGroup
    child: Child | None
    """Until it has reported its layers."""
    since: float
    state: GuestProcessState = GuestProcessState.STARTING
    layers: tuple[Layer, ...] = ()
    heard: bytes = field(default=b"", repr=False)
    """The part of the guest's first frame that has arrived."""

    def become(self, state: GuestProcessState) -> None:
        """Changes the state; a change that is not in the table is a defect of the spawner's."""
        if state not in _NEXT[self.state]:
            raise RuntimeError(f"guest process {self.pid} is {self.state}, it cannot become {state}")
        self.state = state

    def hear_warm(self) -> bool:
        """Reads what a starting guest has written; whether it is warm now.

        Raises:
            StartError: it ended, or said something else.
        """
        piece = os.read(self.from_guest, WARM_FRAME_SIZE - len(self.heard))
        self.heard += piece
        if not piece or not _WARM_FRAME.startswith(self.heard):
            raise StartError(self.refusal())
        if self.heard != _WARM_FRAME:
            return False
        self.layers = self._confined_layers()
        self.become(GuestProcessState.WARM)
        return True

    def _confined_layers(self) -> tuple[Layer, ...]:
        """The layers of a guest that is warm now."""
        return self._bounded(self._report().layers)

    def _bounded(self, layers: tuple[Layer, ...]) -> tuple[Layer, ...]:
        """Sets RLIMIT_DATA, above what the engine has reserved at its start; gives the layers with that limit in them.

        V8 reserves address space far beyond its heap, which counts. So the ceiling cannot be set before the engine
        runs, and is measured from what it uses once it is warm. Systems other than Linux do not count this way.
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
        """Closes the spawner's ends; an enclave that was given them has its own."""
        for name in ("to_guest", "from_guest"):
            if getattr(self, name) >= 0:
                os.close(getattr(self, name))
                setattr(self, name, -1)

    def kill(self) -> None:
        """Ends it; it is reaped later."""
        self.become(GuestProcessState.DYING)
        with contextlib.suppress(ProcessLookupError):
            os.kill(self.pid, signal.SIGKILL)

    def interrupt(self) -> None:
        """Has it say where it is, if it is of a kind that can."""

    def bury(self) -> bytes:
        """Closes all that a reaped guest had; what it wrote to its standard error last."""
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
        """Why it did not become warm. It has had nobody's data yet, so its own words can be told."""
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


def guest_pipes() -> list[tuple[int, int]]:
    """Three pipes for a guest: to it, from it, and for its last words. Each as its ends to read and to write.

    Raises:
        OSError: the system has no room for them.
    """
    to_guest, from_guest, last_words = pipes = _pipes(3)
    os.set_blocking(last_words[0], False)
    for pipe in (to_guest, from_guest):
        _enlarge(pipe[0])
    return pipes


def _pipes(count: int) -> list[tuple[int, int]]:
    """Pipes; none is left open where they cannot all be made."""
    pipes: list[tuple[int, int]] = []
    try:
        for _ in range(count):
            pipes.append(os.pipe())  # noqa: PERF401 - the list must hold those made before one that fails
    except OSError:
        for descriptor in chain.from_iterable(pipes):
            os.close(descriptor)
        raise
    return pipes


def _enlarge(pipe: int) -> None:
    """Has a pipe hold :data:`PIPE_SIZE` bytes, where the system lets one (fcntl(2), F_SETPIPE_SZ); macOS does not."""
    if hasattr(fcntl, "F_SETPIPE_SZ"):
        with contextlib.suppress(OSError):  # this user's pipes may hold no more together
            fcntl.fcntl(pipe, fcntl.F_SETPIPE_SZ, PIPE_SIZE)


def first_words(complaint: bytes) -> str:
    """The line in which an engine says why it ends, shortened and printable.

    V8 draws a frame of ``#`` around that line, and lists its stack below.
    """
    for line in complaint.decode("utf-8", "replace").splitlines():
        words = line.strip("# \t")
        if words:
            return "".join(letter if letter.isprintable() else "?" for letter in words[:MAX_WORDS])
    return ""


@dataclass(frozen=True, slots=True)
class GuestFactory:
    """Starts guests of one engine."""

    engine: JavaScript
    program: Program
    confinement: Confinement
    requests: tuple[LayerRequest, ...]

    def start(self, memory_mib: int, number: int) -> GuestProcess:
        """Forks a guest. Once it is warm it says so on its pipe.

        Raises:
            OSError: the system has no room for one more.
        """
        # The guest's ends of the pipes block: it has nothing else to do. Those that stay here must never make the
        # spawner wait for a guest.
        to_guest, from_guest, last_words = guest_pipes()
        group = self._group(memory_mib, number)
        command = self.engine.command(self.program.path, memory_mib=memory_mib)
        environment = {**command.environment, **self.program.environment}
        theirs = (to_guest[0], from_guest[1], last_words[1])

        def become_engine(_: tuple[Layer, ...]) -> None:
            signal.signal(signal.SIGPIPE, signal.SIG_DFL)  # Python ignores it, and exec would pass that on
            os.execve(self.program.binary, command.arguments, environment)  # noqa: S606 - no shell, on purpose

        def confine_guest(parent: int) -> tuple[Layer, ...]:
            for standard, inherited in enumerate(theirs):
                os.dup2(inherited, standard)
                os.close(inherited)
            return confine(self.confinement, self.requests, parent=parent, group=group)

        try:
            child = fork((*theirs, *self._until_executed()), confine_guest, become_engine)
        except OSError:
            for descriptor in (to_guest[1], from_guest[0], last_words[0]):
                os.close(descriptor)
            if isinstance(group, Group):
                group.remove()
            raise
        finally:
            for descriptor in theirs:
                os.close(descriptor)
        return GuestProcess(
            pid=child.pid,
            memory_mib=memory_mib,
            to_guest=to_guest[1],
            from_guest=from_guest[0],
            last_words=last_words[0],
            group=group,
            child=child,
            since=time.monotonic(),
        )

    def _until_executed(self) -> tuple[int, ...]:
        """Descriptors that a child needs to become the engine; all are closed by that."""
        root = self.confinement.root
        return (*self.program.descriptors, *((root.root,) if isinstance(root, EngineRoot) else ()))

    def _group(self, memory_mib: int, number: int) -> Group | NoGroup:
        if modes_of(self.requests)[LayerName.CGROUP] is LayerMode.OFF:
            return NoGroup("off")
        ceiling = (memory_mib + OVERHEAD_MIB + BASE_MIB) * MIB
        return find_group(f"casemate-{os.getpid()}-{number}", memory=ceiling, threads=GUEST_THREADS)
