"""A control group for one process, which limits its memory and its number of threads.

Works with version 1 (one tree for each controller) and version 2 (one tree), wherever this process may make groups
below its own.
"""

import contextlib
import os
from dataclasses import dataclass
from pathlib import Path

from casemate.sandbox import linux
from casemate.sandbox.errors import UnavailableError
from casemate.wire.errors import os_error_text

_CONTROLLERS = ("memory", "pids")


@dataclass(frozen=True, slots=True)
class Places:
    """The folder below which groups are made, one for each controller; in version 2 both are the same."""

    version: int
    memory: Path
    pids: Path


@dataclass(frozen=True, slots=True)
class Group:
    """One process's group; the parent makes it, the child enters it, the parent removes it when the child is gone."""

    places: Places
    name: str

    def make(self) -> None:
        """Makes the group's folders; :class:`UnavailableError` where this process may not."""
        try:
            for folder in self._folders():
                folder.mkdir()
        except OSError as error:
            raise UnavailableError(f"making a control group: {os_error_text(error)}") from None

    def limit(self, *, memory: int | None = None, threads: int | None = None) -> None:
        """Limits memory (bytes) and threads."""
        memory_file = "memory.limit_in_bytes" if self.places.version == 1 else "memory.max"
        try:
            if memory is not None:
                (self.places.memory / self.name / memory_file).write_text(str(memory))
            if threads is not None:
                (self.places.pids / self.name / "pids.max").write_text(str(threads))
        except OSError as error:
            raise UnavailableError(f"limits of a control group: {os_error_text(error)}") from None

    def enter(self) -> str:
        """Moves the calling process into the group."""
        try:
            for folder in self._folders():
                (folder / "cgroup.procs").write_text(str(os.getpid()))
        except OSError as error:
            raise UnavailableError(f"entering a control group: {os_error_text(error)}") from None
        return f"version {self.places.version}: {', '.join(_CONTROLLERS)}"

    def was_out_of_memory(self) -> bool:
        """Whether the kernel has killed in this group because its memory ran out."""
        events = "memory.oom_control" if self.places.version == 1 else "memory.events"
        try:
            lines = (self.places.memory / self.name / events).read_text().splitlines()
        except OSError:
            return False
        return any(line.startswith("oom_kill ") and line != "oom_kill 0" for line in lines)

    def remove(self) -> bool:
        """Removes the folders; False where the process has not quite ended, so that the caller has to try again."""
        for folder in self._folders():
            with contextlib.suppress(OSError):
                folder.rmdir()
        return not any(folder.exists() for folder in self._folders())

    def _folders(self) -> tuple[Path, ...]:
        return tuple(dict.fromkeys((self.places.memory / self.name, self.places.pids / self.name)))


def find_places() -> Places:
    """Where this process may make groups, or :class:`UnavailableError` with the reason."""
    if not linux.IS_LINUX:
        raise UnavailableError("control groups are Linux's")
    try:
        own = Path("/proc/self/cgroup").read_text()
        mounts = Path("/proc/self/mountinfo").read_text()
    except OSError as error:
        raise UnavailableError(f"/proc: {os_error_text(error)}") from None
    groups = {names: path for _, names, path in (line.split(":", 2) for line in own.splitlines())}
    if "memory" in groups and "pids" in groups:
        memory, pids = (_mounted(mounts, "cgroup", name, groups[name]) for name in _CONTROLLERS)
        return _writable(Places(1, memory, pids))
    if "" in groups:
        folder = _mounted(mounts, "cgroup2", None, groups[""])
        _delegate(folder)
        return _writable(Places(2, folder, folder))
    raise UnavailableError("no memory and pids controllers")


def remove_stale(places: Places, prefix: str) -> None:
    """Removes groups that an ended parent left: named ``prefix``, its pid, ``-`` and more."""
    for folder in {places.memory, places.pids}:
        for group in folder.glob(f"{prefix}*"):
            pid = group.name.removeprefix(prefix).split("-", 1)[0]
            if pid.isdecimal() and not Path(f"/proc/{pid}").exists():
                with contextlib.suppress(OSError):
                    group.rmdir()


def _mounted(mounts: str, kind: str, controller: str | None, path: str) -> Path:
    """The folder of group ``path``, in the tree whose line in mountinfo (proc(5)) is of that kind."""
    for line in mounts.splitlines():
        before, _, after = line.partition(" - ")
        root, place = before.split()[3:5]
        found, _, options = [*after.split(), "", ""][:3]
        if found == kind and (controller is None or controller in options.split(",")):
            below = path.removeprefix(root) if root != "/" else path
            return Path(place) / below.lstrip("/")
    raise UnavailableError(f"{kind} {controller or ''} is not mounted")


def _delegate(folder: Path) -> None:
    """Has version 2 pass the controllers on to groups below; it refuses while processes are in the group itself."""
    try:
        available = (folder / "cgroup.controllers").read_text().split()
        if not set(_CONTROLLERS) <= set(available):
            raise UnavailableError("the memory and pids controllers are not in this control group")
        if not set(_CONTROLLERS) <= set((folder / "cgroup.subtree_control").read_text().split()):
            (folder / "cgroup.subtree_control").write_text(" ".join(f"+{name}" for name in _CONTROLLERS))
    except OSError as error:
        raise UnavailableError(f"passing controllers on: {os_error_text(error)}") from None


def _writable(places: Places) -> Places:
    for folder in (places.memory, places.pids):
        if not os.access(folder, os.W_OK):
            raise UnavailableError(f"{folder} is not writable")
    return places
