"""What a machine is started with."""

from dataclasses import dataclass
from pathlib import Path


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
