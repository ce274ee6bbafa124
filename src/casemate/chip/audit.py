"""The chip's own log of what its owner has made it do against its rules: a line of JSON each, durable, never cut."""

import json
import os
from datetime import datetime
from pathlib import Path

from casemate.chip.durable import sync, sync_directory
from casemate.chip.errors import StateError
from casemate.chip.inventory import expect
from casemate.process.ownership import open_own_file
from casemate.wire.errors import os_error_text
from casemate.wire.protocol.ownership import PlaceError

FILE_NAME = "audit.log"


class AuditLog:
    """Appends to ``audit.log`` in the chip's folder, which is there once something was written."""

    def __init__(self, directory: Path) -> None:
        self._path = directory / FILE_NAME

    def write(self, event: str, now: datetime, **facts: str | int) -> None:
        """One line, on the disk when it returns; :class:`StateError` where it cannot be written."""
        line = json.dumps({"time": now.isoformat(), "event": event, **facts}, ensure_ascii=True).encode() + b"\n"
        is_new = not self._path.exists()
        try:
            descriptor = open_own_file(self._path, os.O_WRONLY | os.O_APPEND | os.O_CREAT)
            with os.fdopen(descriptor, "wb") as file:  # all of it: a single call may write a part on a full disk
                file.write(line)
                file.flush()
                sync(descriptor)
        except PlaceError as error:
            raise StateError(str(error)) from None
        except OSError as error:
            raise StateError(f"{self._path} cannot be written: {os_error_text(error)}") from None
        if is_new:
            sync_directory(self._path.parent)
            expect(self._path.parent, FILE_NAME)
