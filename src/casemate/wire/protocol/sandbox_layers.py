"""What confines a process: the layers that can be asked for, and the ones that were really applied."""

from dataclasses import dataclass
from enum import StrEnum
from typing import Annotated

from casemate.wire.encodings.message import Limit


class LayerName(StrEnum):
    """The layers, outermost first, in the order in which they are applied."""

    NAMESPACES = "namespaces"  # net, ipc, uts, mount (and user where not root)
    CGROUP = "cgroup"  # memory and pids
    UID = "uid"  # a user id of the process's own
    RLIMITS = "rlimits"
    NO_NEW_PRIVS = "no-new-privs"
    LANDLOCK = "landlock"
    SECCOMP = "seccomp"
    WATCHDOG = "watchdog"  # the parent kills on wall time and resident memory


class LayerMode(StrEnum):
    """What the machine's owner asks of a layer."""

    REQUIRE = "require"  # refuse to launch without it
    PREFER = "prefer"  # apply it where the platform can
    OFF = "off"


class LayerState(StrEnum):
    """What became of a layer."""

    APPLIED = "applied"
    OFF = "off"
    UNAVAILABLE = "unavailable"


@dataclass(frozen=True, slots=True)
class Layer:
    """One layer as it was applied, or why it was not."""

    name: LayerName
    state: LayerState
    detail: Annotated[str, Limit(256)]


@dataclass(frozen=True, slots=True)
class LayerRequest:
    """One layer as it was asked for."""

    name: LayerName
    mode: LayerMode


MAX_LAYERS = 32
"""Most layers in a list: bounds what a process that was taken over can make its peer parse."""

Layers = Annotated[tuple[Layer, ...], Limit(MAX_LAYERS)]
LayerRequests = Annotated[tuple[LayerRequest, ...], Limit(MAX_LAYERS)]


@dataclass(frozen=True, slots=True)
class SandboxLayers:
    """The layers around an enclave's process and around its guest's, as the enclave reports them of itself."""

    enclave: Layers
    guest: Layers
