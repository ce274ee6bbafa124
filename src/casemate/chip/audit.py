"""The chip's own audit log: what its owner has made it do against its rules; see :mod:`casemate.process.audit_log`."""

import os
from datetime import datetime
from pathlib import Path

from casemate.chip.errors import StateError
from casemate.chip.inventory import expect
from casemate.process.audit_log import AuditEntry, append_entry
from casemate.process.ownership import PlaceError
from casemate.wire.errors import os_error_text

FILE_NAME = "audit.log"


def log_act(directory: Path, what: str, reason: str, now: datetime, **facts: str | int) -> None:
    """Writes a line, durable on return; :class:`StateError` if it cannot be written."""
    path = directory / FILE_NAME
    try:
        append_entry(path, AuditEntry(now, os.getuid(), what, reason, facts))
    except PlaceError as error:
        raise StateError(str(error)) from None
    except OSError as error:
        raise StateError(f"{path} cannot be written: {os_error_text(error)}") from None
    expect(directory, FILE_NAME)
