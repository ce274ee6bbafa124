"""The confinement of each kind of process, prepared once in the parent and applied layer by layer in each child."""

import contextlib
import os
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from casemate.process.hardening import die_with_parent, forbid_dumps
from casemate.sandbox import linux
from casemate.sandbox.cgroup import Group
from casemate.sandbox.engine_root import EngineRoot, NoRoot
from casemate.sandbox.errors import LayerRequiredError, UnavailableError
from casemate.sandbox.landlock import Access, PathRule, restrict_paths
from casemate.sandbox.namespaces import enter_namespaces
from casemate.sandbox.privileges import refuse_new_privileges, take_own_uid
from casemate.sandbox.program import Program
from casemate.sandbox.rlimits import Limits, set_limits
from casemate.sandbox.seccomp import SyscallFilter, compile_filter, install_filter
from casemate.sandbox.syscalls import ENCLAVE, GUEST, VM
from casemate.wire.messages.spawner import MAX_GUESTS
from casemate.wire.protocol.sandbox_layers import Layer, LayerMode, LayerName, LayerRequest, LayerState

_DETAIL_SIZE = 256
"""Bytes that ``Layer.detail`` carries."""

ENCLAVE_DATA = 1024 * 1024 * 1024
"""RLIMIT_DATA of an enclave (bytes): pages, arguments and results of the largest size, parsed, and room to spare."""

GUEST_THREADS = 32
"""The engine starts three, and a few more for work that it does beside JavaScript."""

_VM_THREADS = 2
"""The emulator's, and one that stops it."""
_VM_DATA = 1024 * 1024 * 1024
"""Bytes beside the guest's memory: the emulator's translations, and the tables of the memory controller."""


@dataclass(frozen=True, slots=True)
class Confinement:
    """The layers for one kind of process."""

    paths: tuple[PathRule, ...]
    limits: Limits
    syscalls: SyscallFilter
    watched: bool
    """Whether the parent's watchdog guards this kind of process."""
    root: EngineRoot | NoRoot | None = None
    """What it sees of the file system, if that is not to be all that its starter sees."""


@dataclass(frozen=True, slots=True)
class NoGroup:
    """There is no control group for the child, and why."""

    reason: str


def prepare_enclave() -> Confinement:
    """An enclave's confinement. It opens nothing, so no path is left to it."""
    warm(ENCLAVE)
    files = 64 + 3 * MAX_GUESTS  # two pipes to each guest, and what tells how large it has grown
    return Confinement((), Limits(open_files=files, threads=1, data=ENCLAVE_DATA), ENCLAVE, watched=False)


def prepare_guest(program: Program, root: EngineRoot | NoRoot) -> Confinement:
    """A guest's confinement: of the file system, its engine's binary and libraries are left, each by itself."""
    warm(GUEST)
    rules = tuple(PathRule(path, Access.READ_FILE | Access.EXECUTE) for path in (program.binary, *program.libraries))
    limits = Limits(open_files=64, threads=GUEST_THREADS, data=None)
    return Confinement(rules, limits, GUEST, watched=True, root=root)


def confine(
    confinement: Confinement, requests: Sequence[LayerRequest], *, parent: int, group: Group | NoGroup
) -> tuple[Layer, ...]:
    """Applies every layer to the calling process, for good.

    Args:
        confinement: what it is held to.
        requests: what the machine's owner asks; a layer that is not named is preferred.
        parent: the pid that the process must not outlive.
        group: the control group that the parent has made.

    Raises:
        LayerRequiredError: a required layer is unavailable. Some may have been applied; the process must end.
    """
    modes = modes_of(requests)
    layers: dict[LayerName, Layer] = {}

    def apply(name: LayerName, step: Callable[[], str]) -> bool:
        layers[name] = apply_layer(name, modes[name], step)
        return layers[name].state is LayerState.APPLIED

    apply(LayerName.CGROUP, lambda: _enter(group))  # by its files, which a root of the process's own does not have
    apply(LayerName.NAMESPACES, lambda: _enter_namespaces(confinement.root))
    own_uid = apply(LayerName.UID, take_own_uid)
    apply(LayerName.RLIMITS, lambda: set_limits(confinement.limits, own_uid=own_uid))
    die_with_parent(parent)
    forbid_dumps()
    no_gain = apply(LayerName.NO_NEW_PRIVS, refuse_new_privileges)
    if confinement.root is not None and no_gain and not own_uid:
        linux.drop_capabilities()  # with which root leaves a root again; the layers below need none, with the one above
    apply(LayerName.LANDLOCK, lambda: restrict_paths(confinement.paths, network=False))
    apply(LayerName.SECCOMP, lambda: install_filter(compile_filter(confinement.syscalls)))
    apply(LayerName.WATCHDOG, lambda: _watch(confinement))
    return tuple(layers[name] for name in LayerName)


def modes_of(requests: Sequence[LayerRequest]) -> dict[LayerName, LayerMode]:
    """The mode of each layer; of several requests for one, the last."""
    return dict.fromkeys(LayerName, LayerMode.PREFER) | {request.name: request.mode for request in requests}


def apply_layer(name: LayerName, mode: LayerMode, step: Callable[[], str]) -> Layer:
    """Applies one layer as its mode says; ``step`` gives the detail, or raises :class:`UnavailableError`."""
    if mode is LayerMode.OFF:
        return Layer(name, LayerState.OFF, "")
    try:
        return Layer(name, LayerState.APPLIED, _cut(step()))
    except UnavailableError as error:
        if mode is LayerMode.REQUIRE:
            raise LayerRequiredError(name, str(error)) from None
        return Layer(name, LayerState.UNAVAILABLE, _cut(str(error)))


def _enter_namespaces(root: EngineRoot | NoRoot | None) -> str:
    """Enters namespaces, and a root within them, where a process without rights may; root may do so without them."""
    if root is None:
        return enter_namespaces()
    view = ""

    def enter_root() -> None:
        nonlocal view
        view = _enter_root(root)

    try:
        entered = enter_namespaces(enter_root)
    except UnavailableError as error:
        if not view:
            enter_root()
        raise UnavailableError(f"{error}; {view}") from None
    return f"{entered}; {view}"


def _enter_root(root: EngineRoot | NoRoot) -> str:
    """Enters the root where that can be; what the process sees now."""
    try:
        if isinstance(root, NoRoot):
            raise UnavailableError(root.reason)
        root.enter()
    except UnavailableError as error:
        return f"its starter's root ({error})"
    return "root with its engine alone"


def _enter(group: Group | NoGroup) -> str:
    if isinstance(group, NoGroup):
        raise UnavailableError(group.reason)
    return group.enter()


def _watch(confinement: Confinement) -> str:
    """The watchdog lives in the parent, which reports here through what it prepared."""
    return "time and resident memory" if confinement.watched else "ends with its parent; its guest is watched"


def warm(syscalls: SyscallFilter) -> None:
    """Compiles the filter, before any fork or confinement; a process that cannot have it says why itself."""
    with contextlib.suppress(UnavailableError):
        compile_filter(syscalls)


def _cut(text: str) -> str:
    return text.encode()[:_DETAIL_SIZE].decode(errors="ignore")


def confine_vm(requests: Sequence[LayerRequest], *, memory: int, dram: int) -> tuple[Layer, ...]:
    """Confines the calling process, which the chip has started, for good.

    Args:
        requests: what the machine's owner asks; a layer that is not named is preferred.
        memory: what the process has mapped for its guest (bytes).
        dram: size of the DRAM file (bytes).

    Raises:
        LayerRequiredError: a required layer is unavailable; the process must end.
    """
    warm(VM)  # loads libseccomp while files can still be opened: Landlock comes before seccomp
    limits = Limits(open_files=64, threads=_VM_THREADS, data=memory + _VM_DATA, file_size=dram)
    group = NoGroup("a VM has no control group: its memory is bounded by its DRAM")
    return confine(Confinement((), limits, VM, watched=False), requests, parent=os.getppid(), group=group)
