"""The TCP ports on which enclaves may be TLS servers: made by the supervisor, lent to one enclave at a time.

A confined host opens no socket, and a port should outlive its host. So a host inherits bound sockets; one listens from
its first loan on. While its enclave or its host is started again, clients wait in the backlog.
"""

import socket
from collections.abc import Sequence

_BACKLOG = 128


class TlsPorts:
    """Owns ``listeners``: bound TCP sockets.

    Which port an enclave gets follows from its number where that port is free, so that it is mostly the same one after
    its host, which knows nothing of earlier loans, was started again.
    """

    def __init__(self, listeners: Sequence[socket.socket]) -> None:
        self._listeners = tuple(sorted(listeners, key=lambda listener: listener.getsockname()[1]))
        self._free = set(self._listeners)
        self._last: dict[int, socket.socket] = {}
        """The listener that each enclave had last."""

    def lend(self, enclave: int) -> socket.socket | None:
        """A listening socket of its own for that enclave, the one it had before if it can be; None if all are lent."""
        if not self._free:
            return None
        wanted = self._last.get(enclave) or self._listeners[enclave % len(self._listeners)]
        listener = wanted if wanted in self._free else next(each for each in self._listeners if each in self._free)
        self._free.remove(listener)
        self._last[enclave] = listener
        listener.listen(_BACKLOG)
        listener.settimeout(0)
        return listener

    def exchange(self, one: int, other: int) -> None:
        """Takes note that two enclaves have exchanged their listeners."""
        self._last[one], self._last[other] = self._last[other], self._last[one]

    def give_back(self, listener: socket.socket) -> None:
        """Takes a listener back, to be lent again."""
        self._free.add(listener)

    def forget(self, enclave: int) -> None:
        """Forgets which listener an enclave had: it is destroyed."""
        self._last.pop(enclave, None)
