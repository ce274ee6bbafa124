"""Limits of the time, instructions and output of a vCPU's run."""

from dataclasses import dataclass

from casemate.wire.messages.vm.hypervisor import UNLIMITED


@dataclass(frozen=True, slots=True)
class Budget:
    """When a run ends at the latest."""

    time: float = 10.0
    """Seconds."""
    instructions: int = UNLIMITED
    """Any other number has each instruction counted, which is slow."""
    console: int = 1 << 20
    """Bytes that the guest may print."""


USUAL = Budget()
"""The budget of a run whose caller names none."""
