"""The layers that confine a process, as they are asked for and as they were applied."""

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
    """The result for one layer."""

    APPLIED = "applied"
    OFF = "off"
    UNAVAILABLE = "unavailable"


@dataclass(frozen=True, slots=True)
class Layer:
    """A sandbox layer and its state: applied, or the reason why not."""

    name: LayerName
    state: LayerState
    detail: Annotated[str, Limit(256)]


@dataclass(frozen=True, slots=True)
class LayerRequest:
    """A sandbox layer that was requested."""

    name: LayerName
    mode: LayerMode


MAX_LAYERS = 32
"""Most layers in a list: a peer that was taken over must not make the reader parse more."""

Layers = Annotated[tuple[Layer, ...], Limit(MAX_LAYERS)]
LayerRequests = Annotated[tuple[LayerRequest, ...], Limit(MAX_LAYERS)]


@dataclass(frozen=True, slots=True)
class SandboxLayers:
    """The layers around an enclave's process and around its guest's. The enclave itself reports them."""

    enclave: Layers
    guest: Layers
