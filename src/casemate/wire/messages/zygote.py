"""Between the spawner and the processes that Python guests are forked from; each message is one packet."""

from dataclasses import dataclass
from typing import Annotated

from casemate.wire.encodings.message import U32, Limit, message
from casemate.wire.protocol.sandbox_layers import LayerRequests, Layers

MAX_PACKET = 16 * 1024
"""Longest packet (bytes)."""


@message(0xF8)
@dataclass(frozen=True, slots=True)
class PrepareBase:
    """The spawner's first message to the base. Reply: ``BaseReady``."""

    layers: LayerRequests


@message(0xF9)
@dataclass(frozen=True, slots=True)
class BaseReady:
    """The base has loaded what guests may import, and is confined; or why it is of no use."""

    refusal: Annotated[str, Limit(1024)]
    """Empty if it serves."""


@message(0xFA)
@dataclass(frozen=True, slots=True)
class MakeImage:
    """Has the base fork an image process, which says ``ImageReport`` on its report socket.

    Descriptors come with it: the pipes that it reads from and writes to, one for its standard error, its control
    socket, its report socket, and the files of the control group that it is to enter, none to two.
    """

    memory_mib: U32
    no_group: Annotated[str, Limit(1024)]
    """Why there is no control group; empty if there is."""


@message(0xFB)
@dataclass(frozen=True, slots=True)
class ImageReport:
    """An image process is confined, before it has read anything; or why it is not, and ends."""

    layers: Layers
    refusal: Annotated[str, Limit(1024)]


@message(0xFC)
@dataclass(frozen=True, slots=True)
class MakeCopy:
    """Has an image process fork a copy of itself, which says ``CopyReport`` on its report socket.

    Descriptors come with it: the pipes that the copy reads from and writes to, one for its standard error, and its
    report socket.
    """


@message(0xFD)
@dataclass(frozen=True, slots=True)
class CopyReport:
    """A copy is there. What it says is worth nothing; who says it, the kernel tells."""
