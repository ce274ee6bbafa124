"""The confinement of the processes that Python guests come from: of the base, each image process, and each copy.

Python code has no wall of its own, so what must be there is there or nothing starts: no_new_privs, the resource
limits, seccomp, and either Landlock's rules for files or a root below which there is nothing.
"""

import contextlib
import os
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

from casemate.process.hardening import die_with_parent, forbid_dumps
from casemate.sandbox import linux
from casemate.sandbox.confinement import NoGroup, apply_layer, modes_of
from casemate.sandbox.empty_root import enter_empty_root
from casemate.sandbox.errors import LayerRequiredError, UnavailableError
from casemate.sandbox.landlock import restrict_paths
from casemate.sandbox.namespaces import enter_namespaces
from casemate.sandbox.privileges import refuse_new_privileges, take_own_uid
from casemate.sandbox.python_syscalls import BASE, IMAGE, PYTHON_GUEST
from casemate.sandbox.rlimits import Limits, set_limits
from casemate.sandbox.seccomp import compile_filter, install_filter
from casemate.wire.errors import os_error_text
from casemate.wire.messages.spawner import MAX_GUESTS
from casemate.wire.protocol.sandbox_layers import Layer, LayerMode, LayerName, LayerRequest, LayerState

MIB = 1024 * 1024

OVERHEAD_MIB = 64
"""What a guest may use beside its manifest's memory (MiB): the program itself, frames, arguments, fragments."""

OPEN_FILES = 32
"""RLIMIT_NOFILE of image processes and guests."""

_STACK = 8 * MIB
_SPARE_PROCESSES = 8
"""Copies that are dead and not reaped yet count, too."""

ALWAYS = (LayerName.RLIMITS, LayerName.NO_NEW_PRIVS, LayerName.LANDLOCK, LayerName.SECCOMP)
"""Layers that Python guests need, whatever the machine's owner says."""


Groups = Sequence[int] | NoGroup
"""Files by which a process enters its control group, or why it has none."""


class NotConfinableError(LayerRequiredError):
    """A layer without which no Python guest starts is off or unavailable."""

    def __init__(self, name: LayerName, reason: str) -> None:
        super().__init__(name, reason)
        self.args = (
            f"layer {name} is {reason}; Python functions run only with it, since Python code has no wall of its own: "
            + (
                f"start the machine without `--layer {name}=off`"
                if reason == LayerMode.OFF
                else "run them on a Linux system that offers it, or write the function in JavaScript"
            ),
        )


@dataclass(frozen=True, slots=True)
class ConfinedBase:
    """What a base has applied to itself, and what its copies need for theirs."""

    requests: tuple[LayerRequest, ...]
    layers: tuple[Layer, ...]
    """Its own layers; those of its copies are reported by them."""
    address_space: int
    """VmSize of the base (bytes), as it was when all was loaded."""
    data: int
    """VmData (bytes), likewise."""
    image_filter: bytes
    guest_filter: bytes


def check_requests(requests: Sequence[LayerRequest]) -> None:
    """Refuses settings under which no Python guest may start, with :class:`NotConfinableError`."""
    modes = modes_of(requests)
    for name in ALWAYS:
        if modes[name] is LayerMode.OFF:
            raise NotConfinableError(name, LayerMode.OFF)
        if not linux.IS_LINUX:
            raise NotConfinableError(name, "unavailable on this system")


def confine_base(requests: Sequence[LayerRequest], *, parent: int) -> ConfinedBase:
    """Confines the calling process, which has loaded all that it will, for good.

    Raises:
        LayerRequiredError: a layer that is needed, or required by the owner, is off or unavailable.
    """
    check_requests(requests)
    modes = modes_of(requests)
    is_root_empty = False
    address_space, data = _memory()
    try:  # before files are out of reach: a filter is written to one
        filters = [compile_filter(syscalls) for syscalls in (BASE, IMAGE, PYTHON_GUEST)]
    except UnavailableError as error:
        raise NotConfinableError(LayerName.SECCOMP, f"unavailable ({error})") from None

    def leave_files() -> None:
        nonlocal is_root_empty
        with contextlib.suppress(UnavailableError):
            enter_empty_root()
            is_root_empty = True

    def enter() -> str:
        entered = enter_namespaces(leave_files)
        return f"{entered}; empty root" if is_root_empty else entered

    namespaces = apply_layer(LayerName.NAMESPACES, modes[LayerName.NAMESPACES], enter)
    if not is_root_empty:
        leave_files()
    if os.geteuid() == 0:
        linux.drop_capabilities(linux.CAP_SETGID, linux.CAP_SETUID)  # a user id for each image
    die_with_parent(parent)
    forbid_dumps()
    privileges = _needed(LayerName.NO_NEW_PRIVS, refuse_new_privileges)
    landlock = apply_layer(LayerName.LANDLOCK, modes[LayerName.LANDLOCK], lambda: restrict_paths((), network=False))
    if landlock.state is not LayerState.APPLIED and not is_root_empty:
        raise NotConfinableError(LayerName.LANDLOCK, f"unavailable ({landlock.detail})")
    seccomp = _needed(LayerName.SECCOMP, lambda: install_filter(filters[0]))
    return ConfinedBase(
        tuple(requests), (namespaces, privileges, landlock, seccomp), address_space, data, filters[1], filters[2]
    )


def confine_image(base: ConfinedBase, memory_mib: int, groups: Groups, *, parent: int) -> tuple[Layer, ...]:
    """Confines a fresh copy of the base, before it reads anything; its layers are those of all copies of it.

    Args:
        base: what it inherits.
        memory_mib: the guests' size.
        groups: files ``cgroup.procs`` of the group that is made for it, open for writing; closed here. Or why there is
            none.
        parent: the pid of the spawner, which it must not outlive.

    Raises:
        LayerRequiredError: as for :func:`confine_base`.
    """
    os.setsid()
    modes = modes_of(base.requests)
    inherited = {layer.name: layer for layer in base.layers}
    group = apply_layer(LayerName.CGROUP, modes[LayerName.CGROUP], lambda: _join(groups))
    uid = apply_layer(LayerName.UID, modes[LayerName.UID], take_own_uid)
    linux.drop_capabilities()
    own = uid.state is LayerState.APPLIED
    room = (memory_mib + OVERHEAD_MIB) * MIB
    limits = Limits(
        open_files=OPEN_FILES,
        threads=MAX_GUESTS + _SPARE_PROCESSES,
        data=base.data + room,
        address_space=base.address_space + room,
        stack=_STACK,
    )
    rlimits = _needed(LayerName.RLIMITS, lambda: set_limits(limits, own_uid=own))
    die_with_parent(parent)  # which forking and a new user id have undone
    forbid_dumps()
    seccomp = _needed(LayerName.SECCOMP, lambda: install_filter(base.image_filter))
    watchdog = apply_layer(LayerName.WATCHDOG, modes[LayerName.WATCHDOG], lambda: "time and resident memory")
    applied = inherited | {layer.name: layer for layer in (group, uid, rlimits, seccomp, watchdog)}
    return tuple(applied[name] for name in LayerName)


def confine_copy(base: ConfinedBase, *, parent: int) -> None:
    """Confines a copy of an image process. That it does so is its own word, and nothing hangs on it."""
    die_with_parent(parent)
    install_filter(base.guest_filter)


def _needed(name: LayerName, step: Callable[[], str]) -> Layer:
    try:
        return apply_layer(name, LayerMode.REQUIRE, step)
    except LayerRequiredError as error:
        raise NotConfinableError(name, f"unavailable ({error.reason})") from None


def _join(groups: Groups) -> str:
    """Enters a control group by files that the spawner has opened: the kernel looks at the rights of who did."""
    if isinstance(groups, NoGroup):
        raise UnavailableError(groups.reason)
    try:
        for descriptor in groups:
            os.write(descriptor, b"0")  # this process
    except OSError as error:
        raise UnavailableError(f"entering a control group: {os_error_text(error)}") from None
    finally:
        for descriptor in groups:
            os.close(descriptor)
    return "memory, pids; with all guests of its enclave"


def _memory() -> tuple[int, int]:
    """VmSize and VmData of this process (bytes; proc(5), status)."""
    lines = Path("/proc/self/status").read_text("ascii", "replace").splitlines()
    fields = dict(line.split(":", 1) for line in lines if ":" in line)
    return int(fields["VmSize"].split()[0]) * 1024, int(fields["VmData"].split()[0]) * 1024
