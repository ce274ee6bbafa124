"""A line of the audit log: who pulled which of a machine's levers, when, and what came of it.

audit.jsonl in the state directory has one such line for each, oldest first, and is never cut. It is its owner's own
notebook: whoever may write to the state directory may write to it, too.

Example:
    {"at": "2026-11-22T10:00:00Z", "uid": 1000, "what": "up", "details": "supervisor, http://127.0.0.1:8800"}
"""

import contextlib
import json
from dataclasses import dataclass
from datetime import datetime
from typing import Self

from casemate.wire.encodings.json_object import date_text, parse_object
from casemate.wire.errors import WireError

NAME = "audit.jsonl"
"""The file's name."""
MAX_LINE = 64 * 1024
"""Longest line (bytes)."""


@dataclass(frozen=True, slots=True)
class AuditEntry:
    """One lever."""

    at: datetime
    """UTC, to the second."""
    uid: int
    """The user who pulled it."""
    what: str
    details: str

    @classmethod
    def parse(cls, line: bytes) -> Self:
        """From one line; :class:`WireError` where it is none."""
        body = parse_object("audit", line, limit=MAX_LINE)
        return cls(body.date("at"), body.uint("uid", 0xFFFF_FFFF), body.text("what"), body.text("details"))

    def encode(self) -> bytes:
        """The line, with its end."""
        said = {"at": date_text(self.at), "uid": self.uid, "what": self.what, "details": self.details}
        return json.dumps(said).encode() + b"\n"


def last_entry_at(tail: bytes) -> datetime | None:
    """The time of the last whole line in the end of a log; None where there is none."""
    for line in reversed(tail.splitlines()):
        with contextlib.suppress(WireError):
            return AuditEntry.parse(line).at
    return None
