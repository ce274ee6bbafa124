"""Lines that the guest prints. A debug enclave, which has no secrets, sends them to the host; any other drops them."""

from casemate.enclave.io.host_link import HostLink
from casemate.wire.messages.entry import Log

MAX_BACKLOG = 64 * 1024
"""Lines are dropped while the host has this many bytes yet to take."""


class Console:
    """Sends lines to the host, unless it does not listen."""

    def __init__(self, host: HostLink, *, debug: bool) -> None:
        self._host = host
        self._debug = debug

    def print(self, text: str) -> None:
        """Sends a line, in a debug enclave."""
        if self._debug and self._host.backlog < MAX_BACKLOG:
            self._host.tell(Log(text))
