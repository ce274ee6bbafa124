"""Lines that the guest prints. A debug enclave, which has no secrets, sends them to the host; any other drops them."""

from collections import deque

from casemate.enclave.io.socket_peer import SocketPeer
from casemate.wire.encodings.message import encode_message
from casemate.wire.messages.entry import Log

MAX_LINES = 256
"""Most lines that are kept until the host listens; older ones are dropped."""

MAX_BACKLOG = 64 * 1024
"""Lines are dropped while the host has this many bytes yet to take."""


class Console:
    """Keeps lines until an entry is under way: only then does the host listen."""

    def __init__(self, host: SocketPeer, *, debug: bool) -> None:
        self._host = host
        self._debug = debug
        self._lines: deque[str] = deque(maxlen=MAX_LINES)

    def print(self, text: str) -> None:
        """Keeps a line, in a debug enclave."""
        if self._debug:
            self._lines.append(text)

    def flush(self) -> None:
        """Sends all lines that are kept."""
        while self._lines:
            line = Log(self._lines.popleft())
            if self._host.backlog < MAX_BACKLOG:
                self._host.send(encode_message(line))
