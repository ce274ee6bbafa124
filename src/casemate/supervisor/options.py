"""The options that a machine is started with."""

from dataclasses import dataclass
from pathlib import Path

DEFAULT_ADDRESS = "127.0.0.1"
DEFAULT_PORT = 8800
PORTS_TRIED = 100
"""Ports from :data:`DEFAULT_PORT` on that are tried where none is asked for."""


@dataclass(frozen=True, slots=True)
class HttpOptions:
    """A machine with a gateway."""

    address: str
    """Where it listens: an IPv4 or IPv6 address of this computer."""
    port: int | None
    """The port; None for the first free one from 8800 on."""
    token_digest: bytes
    """SHA-256 of the token of this run."""
    scheme: str
    """``http`` or ``https``: the gateway's business, but the URL says it."""
    arguments: tuple[str, ...]
    """Further arguments for the gateway, which the supervisor does not read."""


@dataclass(frozen=True, slots=True)
class MachineOptions:
    """One simulated machine."""

    state: Path
    """The state directory: a whole machine."""
    seed: str | None
    """A public seed that makes fuses, roots and certificates; None for random ones."""
    layers: tuple[str, ...]
    """Sandbox layers as ``NAME=MODE``."""
    pool: int
    """How many warm guests to keep."""
    lasting: bool
    """Deployments are those of the state directory, and stay there; otherwise they end with this machine."""
    while_used: bool
    """It goes on without its starter as long as somebody else uses it."""
    snp: tuple[str, ...]
    """Arguments for the chip about its SEV-SNP processor, which the supervisor does not read."""
    http: HttpOptions | None
    """Options of the gateway; None for a machine with a Unix socket only."""
    accept_loss: str | None = None
    """Why the owner accepts that parts of the machine are lost, and has it begin anew without them; None if not."""
    ocalls: Path | None = None
    """The operator's module of OCALL handlers; None where there is none."""
