"""Results of attacks, judged by what the guest read and the machine answered, never by the mode's name."""

from dataclasses import dataclass
from enum import StrEnum


class AttackOutcome(StrEnum):
    """Outcomes, from the attacker's best to the worst."""

    SUCCESS = "success"
    """The attacker got what they wanted, unnoticed."""
    GARBAGE = "undetected garbage"
    """The guest computes with data that nobody wrote, unnoticed."""
    FAULT = "fault"
    """The guest stopped: the change was noticed when the guest accessed it."""
    REFUSAL = "refusal"
    """The operation was refused, and nothing changed."""
    NOTHING = "nothing"
    """The operation was done, to no effect."""


@dataclass(frozen=True, slots=True)
class AttackResult:
    """The result of one attack on one VM."""

    outcome: AttackOutcome
    by: str
    """The exit, fault code, status or rule by which the attack was noticed or refused; or empty."""
    words: str
    """What happened, for a person."""

    @property
    def cell(self) -> str:
        """The text for a table."""
        return f"{self.outcome} ({self.by})" if self.by else str(self.outcome)
