"""What becomes of an attack: told by what the guest read and the machine answered, never by the mode's name."""

from dataclasses import dataclass
from enum import StrEnum


class AttackOutcome(StrEnum):
    """From the attacker's best to his worst."""

    SUCCESS = "success"
    """He got what he wanted, and nothing has noticed."""
    GARBAGE = "undetected garbage"
    """The guest computes with what nobody has written, and nothing has told it."""
    FAULT = "fault"
    """The guest does not go on: whatever he did was noticed when the guest met it."""
    REFUSAL = "refusal"
    """He was told no, and nothing has changed."""
    NOTHING = "nothing"
    """It was done, and got him nowhere."""


@dataclass(frozen=True, slots=True)
class Result:
    """Of one attack on one VM."""

    outcome: AttackOutcome
    by: str
    """What noticed or refused it, in the machine's own word: an exit, a fault's code, a status, a rule; or empty."""
    words: str
    """What happened, for a person."""

    @property
    def cell(self) -> str:
        """As tables show it."""
        return f"{self.outcome} ({self.by})" if self.by else str(self.outcome)
