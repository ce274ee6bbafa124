"""Owner of a machine to its supervisor, over a socket in the state directory: the levers a real owner has."""

from dataclasses import dataclass
from typing import Annotated

from casemate.wire.message import U32, Bytes32, Limit, Name, message


@message(0x90)
@dataclass(frozen=True, slots=True)
class RecoverTcb:
    """The vendor publishes a new TCB level: platforms below it become out of date. Reply: ``Done``."""

    advisory: Name
    """Such as ``INTEL-SA-99001``."""


@message(0x91)
@dataclass(frozen=True, slots=True)
class UpdateMicrocode:
    """Bring this chip to the newest published TCB. Reply: ``Done``."""


@message(0x92)
@dataclass(frozen=True, slots=True)
class RevokeChip:
    """The vendor revokes this chip's PCK certificate. Reply: ``Done``."""


@message(0x93)
@dataclass(frozen=True, slots=True)
class Done:
    """The lever was pulled; ``said`` tells what changed."""

    said: Annotated[str, Limit(1024)]


@message(0x94)
@dataclass(frozen=True, slots=True)
class MachineStatus:
    """Reply: ``MachineIs``."""


@message(0x95)
@dataclass(frozen=True, slots=True)
class MachineIs:
    """A running machine."""

    supervisor_pid: U32
    chip_pid: U32
    host_pid: U32
    host_socket: Annotated[str, Limit(4096)]
    platform: Name
    runtime_digest: Bytes32
    seeded: bool
    root_certificate: Annotated[bytes, Limit(65536)]
    """The simulated vendor's root (DER), for policies that name it."""
