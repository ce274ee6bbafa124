"""A line of the audit log: who pulled which of a machine's levers, when, and what came of it.

audit.jsonl in the state directory has one such line for each, oldest first, and is never cut. It is its owner's own
notebook: whoever may write to the state directory may write to it, too.

Example:
    {"at": "2026-11-22T10:00:00Z", "uid": 1000, "what": "up", "details": "supervisor, http://127.0.0.1:8800"}
"""

import json
from dataclasses import dataclass
from datetime import datetime

from casemate.wire.json_object import date_text

NAME = "audit.jsonl"
"""The file's name."""


@dataclass(frozen=True, slots=True)
class AuditEntry:
    """One lever."""

    at: datetime
    """UTC, to the second."""
    uid: int
    """The user who pulled it."""
    what: str
    details: str

    def encode(self) -> bytes:
        """The line, with its end."""
        said = {"at": date_text(self.at), "uid": self.uid, "what": self.what, "details": self.details}
        return json.dumps(said).encode() + b"\n"
