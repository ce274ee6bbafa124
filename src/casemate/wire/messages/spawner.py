"""The spawner's links: from the chip, and from enclaves, for which it starts and watches guests."""

from dataclasses import dataclass
from typing import Annotated

from casemate.wire.encodings.message import U32, U64, Limit, Name, message
from casemate.wire.messages.leaf import OptionalPart
from casemate.wire.protocol.faults import Fault
from casemate.wire.protocol.sandbox_layers import LayerRequests, Layers

MAX_GUESTS = 86
"""Most guests of one enclave: those that it waits for, those that it has, and those that are not reaped yet. More than
a manifest may ask for, since the one that others are copies of takes no calls, one is ready for the next caller, and
some are about to be reaped; and 16 for code that callers bring, which takes none from the callers of the function."""


@message(0x40)
@dataclass(frozen=True, slots=True)
class Configure:
    """The chip's first frame to the spawner."""

    layers: LayerRequests
    deno: Annotated[str, Limit(4096)]
    """Absolute path of Deno's binary in the runtime copy."""
    python: Annotated[str, Limit(4096)]
    """Absolute path of the interpreter there, which runs Python guests."""
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
    """Ends an enclave's process and its guests. The ``Exited`` that follows is the reply."""

    enclave: U64


@message(0x45)
@dataclass(frozen=True, slots=True)
class Exited:
    """An enclave's process has ended, and all its guests with it."""

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
    """Enclave to spawner: asks for one more confined engine process.

    Reply: ``GuestGiven`` or ``GuestRefused``. Several may be asked for at once; which is there first is not said.
    """

    guest: U32
    """Its number, chosen by the enclave: higher than that of every guest that this enclave has asked for before."""
    engine: Name
    memory_mib: U32
    copy_of: U32 = 0
    """The guest of this enclave that it is to be a copy of, for an engine whose guests are copied: one that has loaded
    the program, and takes no calls. 0: a guest that is to be given its program."""


@message(0x49)
@dataclass(frozen=True, slots=True)
class GuestGiven:
    """Two descriptors come with it: a pipe to write to the guest and one to read from it; perhaps a third."""

    guest: U32
    pid: U32
    """By which the enclave finds its clock; 0 where there is none."""
    layers: Layers
    has_status: bool = False
    """A third descriptor comes with it: /proc/PID/status, which says how large the guest has grown."""


@message(0x4A)
@dataclass(frozen=True, slots=True)
class Watch:
    """Enclave to spawner: the guest works; kill it in this many milliseconds, unless told otherwise before.

    With 0 it is killed at once, and ``GuestGone`` says why it ended: by that, or by an earlier cause. A guest that is
    still waited for is not given any more: ``GuestRefused`` says so. Nothing is said about a guest that is gone.
    """

    guest: U32
    deadline_ms: U32


@message(0x4B)
@dataclass(frozen=True, slots=True)
class Unwatch:
    """Enclave to spawner: the guest waits for a call, and has no deadline any more."""

    guest: U32


@message(0x4E)
@dataclass(frozen=True, slots=True)
class Interrupt:
    """Enclave to spawner: send the guest SIGALRM, upon which one of a debug enclave tells the enclave where it is.

    There is no reply. Nothing is done where the guest is gone, or no copy of another.
    """

    guest: U32


@message(0x4C)
@dataclass(frozen=True, slots=True)
class GuestGone:
    """Spawner to enclave, unasked: the guest was killed or died, and why (a ``Code`` of ``wire.protocol.faults``).

    The last message about this guest, which counts as one of ``MAX_GUESTS`` until then.
    """

    guest: U32
    code: Name
    reason: Annotated[str, Limit(256)]


@message(0x4D)
@dataclass(frozen=True, slots=True)
class GuestRefused:
    """Spawner to enclave: the guest that it asked for does not come. The last message about this guest."""

    guest: U32
    fault: Fault
