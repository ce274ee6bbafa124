"""What verified endorsements say of when, and in which order, their maker issued them.

A relying party that remembers the highest of these can refuse what is older, though it be signed and not run out.
"""

from dataclasses import dataclass
from datetime import datetime


@dataclass(frozen=True, slots=True)
class ListNumber:
    """The number of a revocation list that was used (cRLNumber, RFC 5280, section 5.2.3)."""

    issuer: bytes
    """SHA-256 of the issuer's public key (SubjectPublicKeyInfo)."""
    number: int


@dataclass(frozen=True, slots=True)
class IssueMarks:
    """Of everything that was verified along with one piece of evidence."""

    root: bytes
    """SHA-256 of the root's public key, below which all of it stands."""
    newest: datetime
    """The latest issue date of any certificate, list or document."""
    lists: tuple[ListNumber, ...]
    """Of the lists that have one."""
    evaluation_number: int | None
    """The lower one of TCB info and QE identity (tcbEvaluationDataNumber); None where the maker issues no such
    documents."""
