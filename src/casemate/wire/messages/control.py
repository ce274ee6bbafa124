"""A machine's owner to its supervisor, over a socket in the state directory: maintenance of the machine and its makers.

``AcceptRollback`` and ``ListAnchors`` (``messages.supervisor``) are passed on to the chip unchanged.
"""

import hashlib
from dataclasses import dataclass
from typing import Annotated

from casemate.wire.encodings.message import U32, U64, Bytes32, Bytes64, Fixed, Limit, Name, message
from casemate.wire.messages.ocalls import MAX_HANDLERS
from casemate.wire.protocol.runtime_lock import Runtime
from casemate.wire.snp.tcb import Product
from casemate.wire.snp.vlek import MAX_CSP_ID


def seed_digest(seed: str | None) -> bytes | None:
    """The digest that identifies a seed; seeds are public, and may be long."""
    return None if seed is None else hashlib.sha256(seed.encode("utf-8", "surrogatepass")).digest()


@message(0x90)
@dataclass(frozen=True, slots=True)
class RecoverTcb:
    """The maker publishes a new TCB level: platforms below it become out of date. Reply: ``Done``."""

    advisory: Name
    """Such as ``INTEL-SA-99001``."""


@message(0x91)
@dataclass(frozen=True, slots=True)
class UpdateMicrocode:
    """Brings this chip to the newest published TCB. Reply: ``Done``."""


@message(0x92)
@dataclass(frozen=True, slots=True)
class RevokeChip:
    """The maker revokes this chip's PCK certificate. Reply: ``Done``."""


@message(0x74)
@dataclass(frozen=True, slots=True)
class RenewMachine:
    """The maker renews what is not valid now: its own certificates, roots too, and this chip's. Reply: ``Done``."""


@message(0x93)
@dataclass(frozen=True, slots=True)
class Done:
    """The action was done; ``said`` tells what changed."""

    said: Annotated[str, Limit(1024)]


@message(0x94)
@dataclass(frozen=True, slots=True)
class MachineStatus:
    """Reply: ``MachineIs``."""


@dataclass(frozen=True, slots=True)
class ProcessIs:
    """One process of a machine."""

    name: Name
    """``supervisor``, ``chip``, ``host`` or ``gateway`` (which is a host behind HTTP), and ``handlers`` where the
    operator has OCALL handlers."""
    pid: U32
    """0 while it is being started anew."""
    restarts: U32
    """Restarts since the machine was started."""
    started_at: U64
    """Seconds since 1970."""
    last_death: Annotated[str, Limit(2048)]
    """Why its predecessor ended; empty if there was none."""


@message(0x95)
@dataclass(frozen=True, slots=True)
class MachineIs:
    """A running machine."""

    processes: tuple[ProcessIs, ...]
    host_socket: Annotated[str, Limit(4096)]
    url: Annotated[str, Limit(4096)]
    """The URL of its gateway; empty if it has none."""
    started_at: U64
    """Seconds since 1970."""
    lasting: bool
    """Its deployments are kept in the state directory, and started again after a restart."""
    platform: Name
    runtime: Runtime
    """The runtime of its enclaves."""
    seed_digest: Bytes32 | None
    """SHA-256 of the public seed that it was started with (:func:`seed_digest`); None where it was started without."""
    root_certificate: Annotated[bytes, Limit(65536)]
    """The simulated maker's root (DER), for policies that name it."""
    clock: Annotated[str, Limit(1024)] = ""
    """Why this computer's clock, or a certificate of this machine, cannot be right; empty if both can."""
    ocalls: Annotated[tuple[Name, ...], Limit(MAX_HANDLERS)] = ()
    """The OCALLs that the operator's own handlers answer."""
    ocalls_module: Annotated[str, Limit(4096)] = ""
    """The path of their module; empty where there is none."""

    @property
    def seeded(self) -> bool:
        """Whether it was made from a public seed, so that its keys are public."""
        return self.seed_digest is not None

    def pid(self, *names: str) -> int:
        """The id of the first process with one of these names; 0 if none runs at the moment."""
        return next((process.pid for process in self.processes if process.name in names), 0)

    @property
    def supervisor_pid(self) -> int:
        """The supervisor's process id."""
        return self.pid("supervisor")

    @property
    def chip_pid(self) -> int:
        """The chip's; 0 while it is started anew."""
        return self.pid("chip")

    @property
    def host_pid(self) -> int:
        """The host's, with or without a gateway; 0 while it is started anew."""
        return self.pid("host", "gateway")


@message(0x96)
@dataclass(frozen=True, slots=True)
class EndMachine:
    """Ends this machine. Reply: ``Done``, before the end; the supervisor closes the connection after it."""

    at_once: bool
    """Do not wait for calls under way."""


@message(0x97)
@dataclass(frozen=True, slots=True)
class RecoverSnpTcb:
    """The maker publishes firmware of a higher TCB for this machine's SEV-SNP processor. Reply: ``Done``."""

    advisory: Name


@message(0x98)
@dataclass(frozen=True, slots=True)
class UpdateSnpFirmware:
    """Brings this machine's SEV-SNP platform to the newest published firmware. Reply: ``Done``."""

    commit: bool
    """Commit it as well, so that reports name its TCB; otherwise the host has to."""


@message(0x99)
@dataclass(frozen=True, slots=True)
class RevokeSnpKey:
    """The maker revokes every certificate of a key that signs reports, or of its issuer. Reply: ``Done``."""

    provider: Annotated[str, Limit(MAX_CSP_ID)]
    """The provider whose VLEK is revoked; empty for this chip's VCEK."""
    issuer: bool
    """Revoke the issuer instead (ASK, or with a provider ASVK), and so everything that it has signed."""


@message(0x9A)
@dataclass(frozen=True, slots=True)
class AskSnpRoot:
    """Reply: ``SnpRootIs``. The first time it takes the maker seconds to make that root."""


@message(0x9B)
@dataclass(frozen=True, slots=True)
class SnpRootIs:
    """The simulated AMD's root for this machine's processor, for policies that name it."""

    product: Product
    root_certificate: Annotated[bytes, Limit(65536)]
    """ARK (DER)."""
    revocation_list: Annotated[bytes, Limit(65536)]
    """The root's current list (DER)."""
    newest_tcb: Annotated[bytes, Fixed(8)]
    """The TCB of the newest firmware that it has published."""
    chip_id: Bytes64
    """The id of this machine's chip, as in reports that do not mask it."""


@message(0x9C)
@dataclass(frozen=True, slots=True)
class UseMachine:
    """Keeps this machine running for its sender. Reply: ``InUse``, with a descriptor.

    As long as the descriptor is open, a machine that was made for one command, such as `casemate run`, goes on.
    """


@message(0x9D)
@dataclass(frozen=True, slots=True)
class InUse:
    """The machine is kept running while the descriptor that comes with this is open."""
