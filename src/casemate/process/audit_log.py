"""The audit log: who made a machine do something beyond its usual run, when, why, and what came of it.

Supervisor and `casemate token` write to ``audit.jsonl`` in the state directory, the chip to ``chip/audit.log``: one
line of JSON for each act, oldest first, never cut. Each is its owner's own notebook: whoever may write to the state
directory may write to it, too.

Example:
    {"at": "2026-11-22T10:00:00Z", "uid": 1000, "what": "up", "details": "supervisor, http://127.0.0.1:8800"}
    {"at": "2026-11-22T10:05:00Z", "uid": 1000, "what": "rollback accepted", "details": "the disk died", "epoch": 2}

The first four members stand in every line; the others are facts of that act. Older chips wrote ``time``, ``event`` and
``reason`` for ``at``, ``what`` and ``details``, and no ``uid``: such lines are read as well.
"""

import contextlib
import json
import os
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Self

from casemate.process.durable_files import sync, sync_directory
from casemate.process.ownership import open_own_file
from casemate.process.plain_file import open_plain, read_plain
from casemate.wire.encodings.fields import MAX_U32
from casemate.wire.encodings.json_object import JsonObject, date_text, parse_object
from casemate.wire.errors import WireError

NAME = "audit.jsonl"
"""The supervisor's log, in the state directory."""
MAX_LINE = 64 * 1024
"""Longest line (bytes)."""

_NAMES, _OLD_NAMES = ("at", "uid", "what", "details"), ("time", "event", "reason")


@dataclass(frozen=True, slots=True)
class AuditEntry:
    """One act."""

    at: datetime
    """UTC, to the second."""
    uid: int | None
    """The user who ran the process that did it; None in a line of a chip that did not write it down."""
    what: str
    details: str
    facts: Mapping[str, str | int] = field(default_factory=dict)

    @classmethod
    def parse(cls, line: bytes) -> Self:
        """The entry in a line of today's format or of the chip's older one; :class:`WireError` for others."""
        body = parse_object("audit", line, limit=MAX_LINE)
        if body.has("event"):
            details = body.text("reason") if body.has("reason") else ""
            return cls(_old_time(body), None, body.text("event"), details, _facts(body, _OLD_NAMES))
        uid = body.uint("uid", MAX_U32)
        return cls(body.date("at"), uid, body.text("what"), body.text("details"), _facts(body, _NAMES))

    def encode(self) -> bytes:
        """The line, with its end."""
        said = {"at": date_text(self.at), "uid": self.uid, "what": self.what, "details": self.details}
        return json.dumps({**said, **self.facts}).encode() + b"\n"


def append_entry(path: Path, entry: AuditEntry) -> None:
    """Writes one line; it is on the disk when this returns, so that nothing is done which no log tells of.

    Raises:
        PlaceError: something else has the file's name, or it is not this user's alone.
        OSError: it cannot be written.
    """
    is_new = not path.exists()
    descriptor = open_own_file(path, os.O_WRONLY | os.O_CREAT | os.O_APPEND)
    with os.fdopen(descriptor, "wb") as file:  # which writes all of it: one call may write a part on a full disk
        file.write(entry.encode())
        file.flush()
        sync(descriptor)
    if is_new:
        sync_directory(path.parent)


def log_act(state: Path, what: str, details: str) -> None:
    """One line of this moment in the log of the machine in ``state``, as :func:`append_entry` writes it."""
    append_entry(state / NAME, AuditEntry(datetime.now(UTC), os.getuid(), what, details))


def read_entries(path: Path) -> tuple[AuditEntry, ...]:
    """All whole entries, oldest first; a line that a power cut tore is left out: what it was to tell has not happened.

    Raises:
        OSError: the log cannot be read.
    """
    return _entries(read_plain(path).splitlines())


def last_entry_at(path: Path) -> datetime | None:
    """When a log was last written to; None where it has no whole line, or cannot be read."""
    try:
        with os.fdopen(open_plain(path), "rb") as file:
            file.seek(max(0, file.seek(0, os.SEEK_END) - MAX_LINE))
            entries = _entries(file.read().splitlines())
    except OSError:
        return None
    return entries[-1].at if entries else None


def _entries(lines: Iterable[bytes]) -> tuple[AuditEntry, ...]:
    found = []
    for line in lines:
        with contextlib.suppress(WireError):
            found.append(AuditEntry.parse(line))
    return tuple(found)


def _facts(body: JsonObject, others: tuple[str, ...]) -> dict[str, str | int]:
    members = {name: body.value(name) for name in body.names() if name not in others}
    return {name: value for name, value in members.items() if isinstance(value, str | int)}


def _old_time(body: JsonObject) -> datetime:
    text = body.text("time")
    try:
        moment = datetime.fromisoformat(text)
    except ValueError:
        raise WireError("audit.time", got=ascii(text), want="a time such as 2026-11-22T10:00:00+00:00") from None
    return moment.astimezone(UTC).replace(microsecond=0)
