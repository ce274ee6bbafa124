"""The collateral cache: what the maker publishes, as the supervisor last put it there."""

from pathlib import Path

from casemate.process.plain_file import read_plain
from casemate.wire.errors import os_error_text
from casemate.wire.messages.host import MAX_COLLATERAL
from casemate.wire.protocol.faults import Code, refuse


class CollateralCache:
    """Reads ``path`` anew when it changes."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._stamp: tuple[int, int] | None = None
        self._content = b""

    def read(self) -> bytes:
        """The newest collateral, as QuoteCollateralV3 JSON; unverified, like everything of the host's."""
        try:
            status = self._path.stat()
            stamp = (status.st_mtime_ns, status.st_ino)
            if stamp != self._stamp:
                self._content = read_plain(self._path, MAX_COLLATERAL + 1)
                self._stamp = stamp
        except OSError as error:
            raise refuse(Code.UNAVAILABLE, f"no collateral at {self._path}: {os_error_text(error)}") from None
        if len(self._content) > MAX_COLLATERAL:
            raise refuse(Code.UNAVAILABLE, f"collateral is over {MAX_COLLATERAL} bytes")
        return self._content
