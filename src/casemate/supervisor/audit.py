"""Writes the audit log; see :mod:`casemate.process.audit_log`."""

import os
from datetime import UTC, datetime
from pathlib import Path

from casemate.process.audit_log import MAX_LINE, NAME, AuditEntry, last_entry_at
from casemate.process.ownership import open_own_file
from casemate.process.plain_file import check_plain, open_plain


class AuditLog:
    """The log of the machine in ``state``. Each line is on the disk before the lever is said to be done.

    Raises:
        NoPlainFileError: something else has its name.
    """

    def __init__(self, state: Path) -> None:
        self._path = state / NAME
        check_plain(self._path)

    def note(self, what: str, details: str) -> None:
        """One line; an :class:`OSError` or :class:`PlaceError` if it cannot be written."""
        entry = AuditEntry(datetime.now(UTC).replace(microsecond=0), os.getuid(), what, details)
        descriptor = open_own_file(self._path, os.O_WRONLY | os.O_CREAT | os.O_APPEND)
        with os.fdopen(descriptor, "wb") as file:  # all of it: a single call may write a part on a disk that is full
            file.write(entry.encode())
            file.flush()
            os.fsync(descriptor)


def last_entry(state: Path) -> datetime | None:
    """When the log of the machine in ``state`` was last written to; None where it has no whole line."""
    try:
        with os.fdopen(open_plain(state / NAME), "rb") as file:
            file.seek(max(0, file.seek(0, os.SEEK_END) - MAX_LINE))
            return last_entry_at(file.read())
    except OSError:
        return None
