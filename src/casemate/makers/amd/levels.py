"""The firmware that the simulated AMD has published for each product, and what TCB recovery adds."""

from dataclasses import dataclass, replace
from datetime import UTC, datetime

from casemate.makers.errors import MakerError
from casemate.wire.encodings.fields import MAX_U8
from casemate.wire.snp.simulated_platform import FIRST_FIRMWARE, Firmware
from casemate.wire.snp.tcb import Product

_RAISED = ("snp", "microcode")
"""The parts that a recovery raises: as AMD's bulletins do, firmware and microcode together."""

_FIRST_DATE = datetime(2025, 3, 12, tzinfo=UTC)


@dataclass(frozen=True, slots=True)
class Level:
    """One firmware, and why it was published."""

    firmware: Firmware
    date: datetime
    advisory: str
    """The advisory that it answers; empty for a product's first."""


def first_levels(product: Product) -> tuple[Level, ...]:
    """What there is when a machine is made: the firmware that its chip leaves the factory with."""
    return (Level(FIRST_FIRMWARE[product], _FIRST_DATE, ""),)


def recover(levels: tuple[Level, ...], advisory: str, now: datetime) -> tuple[Level, ...]:
    """Adds firmware above the newest. AMD publishes no status of a TCB: policies say which one they demand."""
    newest = levels[0].firmware
    for part in _RAISED:
        if getattr(newest.tcb, part) == MAX_U8:
            raise MakerError(f"security patch level of {part} is {MAX_U8}, a byte holds no more: make a new machine")
    if newest.build == MAX_U8:
        raise MakerError(f"build is {MAX_U8}, a byte holds no more: make a new machine")
    tcb = replace(newest.tcb, **{part: getattr(newest.tcb, part) + 1 for part in _RAISED})
    return (Level(replace(newest, tcb=tcb, build=newest.build + 1), now, advisory), *levels)
