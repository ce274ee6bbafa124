"""The spawner's links: from the chip, and from enclaves, for which it starts and watches guests."""

from dataclasses import dataclass
from typing import Annotated

from casemate.wire.encodings.message import U32, U64, Limit, Name, message
from casemate.wire.messages.leaf import OptionalPart
from casemate.wire.protocol.sandbox_layers import LayerRequests, Layers


@message(0x40)
@dataclass(frozen=True, slots=True)
class Configure:
    """The chip's first frame to the spawner."""

    layers: LayerRequests
    deno: Annotated[str, Limit(4096)]
    """Absolute path of the engine's binary in the runtime copy."""
    pool: U32
    """How many warm guests to keep."""


@message(0x41)
@dataclass(frozen=True, slots=True)
class SpawnerReady:
    """The spawner has imported all that an enclave needs, and its pool is being filled."""


@message(0x42)
@dataclass(frozen=True, slots=True)
class Spawn:
    """Forks an enclave.

    Two descriptors come with it: the enclave's ends of its socket pairs with the chip and the host.

    Reply: ``Spawned`` or ``Fault``.
    """

    enclave: U64


@message(0x43)
@dataclass(frozen=True, slots=True)
class Spawned:
    """The new process of the enclave."""

    enclave: U64
    pid: U32


@message(0x44)
@dataclass(frozen=True, slots=True)
class Kill:
    """Ends an enclave's process and its guest. The ``Exited`` that follows is the reply."""

    enclave: U64


@message(0x45)
@dataclass(frozen=True, slots=True)
class Exited:
    """An enclave's process has ended, and its guest with it."""

    enclave: U64
    reason: Annotated[str, Limit(256)]


@message(0x46)
@dataclass(frozen=True, slots=True)
class LoadPart:
    """Chip to spawner: load this, for all enclaves forked from now on. Reply: ``SpawnerReady`` or ``Fault``."""

    part: OptionalPart


@message(0x48)
@dataclass(frozen=True, slots=True)
class NeedGuest:
    """Enclave to spawner: asks for a confined engine process; an earlier one is killed first.

    Reply: ``GuestGiven`` or ``Fault``.
    """

    engine: Name
    memory_mib: U32


@message(0x49)
@dataclass(frozen=True, slots=True)
class GuestGiven:
    """Two descriptors come with it: a pipe to write to the guest and one to read from it."""

    pid: U32
    layers: Layers


@message(0x4A)
@dataclass(frozen=True, slots=True)
class Watch:
    """Enclave to spawner: the guest starts to work; kill it after this many milliseconds.

    With 0 it is killed at once, and ``GuestGone`` says why it ended: by that, or by an earlier cause.
    """

    deadline_ms: U32


@message(0x4B)
@dataclass(frozen=True, slots=True)
class Unwatch:
    """Enclave to spawner: the guest has answered."""


@message(0x4C)
@dataclass(frozen=True, slots=True)
class GuestGone:
    """Spawner to enclave, unasked: the guest was killed or died, and why (a ``Code`` of ``wire.protocol.faults``)."""

    code: Name
    reason: Annotated[str, Limit(256)]
