"""Limits the number of connections, each counted from the moment in which it is accepted."""

import asyncio
import errno
import logging
import socket
import ssl
import time
from collections import OrderedDict
from collections.abc import Callable
from ipaddress import IPv6Address, ip_address

from casemate.wire.errors import os_error_text

AT_A_TIME = 64
"""Most connections accepted before other tasks have a turn."""

PAUSE = 0.2
"""Seconds before accepting is tried again after the process ran out of descriptors."""

SILENCE = 60.0
"""Seconds between two log lines about a lack of descriptors."""

HANDSHAKE_TIMEOUT = 10.0
"""Longest TLS handshake (seconds)."""

_NO_ROOM = frozenset({errno.EMFILE, errno.ENFILE, errno.ENOBUFS, errno.ENOMEM})
_log = logging.getLogger(__name__)


def _nothing() -> None:
    return


def network_of(host: str) -> str:
    """The network by which limits count a peer: an IPv4 address, or the /64 that one IPv6 customer has."""
    try:
        address = ip_address(host.partition("%")[0])
    except ValueError:
        return host
    if not isinstance(address, IPv6Address):
        return host
    if address.ipv4_mapped is not None:
        return str(address.ipv4_mapped)
    return str(IPv6Address(int(address) >> 64 << 64))


class Place:
    """A connection's place among all, from TCP accept through the TLS handshake to its last request.

    Attributes:
        network: the peer's, by which limits count it.
        hang_up: ends the connection.
        connected: true once the TLS handshake, if any, is over.
    """

    __slots__ = ("connected", "hang_up", "network")

    def __init__(self, network: str) -> None:
        self.network = network
        self.hang_up: Callable[[], object] = _nothing
        self.connected = False


class Waiting:
    """Counts connections, and closes idle ones to make room: those without a request under way, longest idle first."""

    def __init__(self, most: int) -> None:
        self._most = most
        self._all = 0
        self._idle: dict[str, OrderedDict[Place, None]] = {}
        """Idle connections by network, the longest idle first."""

    def arrived(self, place: Place) -> None:
        """Counts a new connection. At the limit, an idle connection is closed; if all are busy, the new one."""
        self._all += 1
        self.idle(place)
        if self._all > self._most:
            self.make_room()

    def left(self, place: Place) -> None:
        """Stops counting a connection."""
        self._all -= 1
        self.busy(place)

    def busy(self, place: Place) -> None:
        """Marks a connection as busy: a request has begun."""
        group = self._idle.get(place.network)
        if group is not None:
            group.pop(place, None)
            if not group:
                del self._idle[place.network]

    def idle(self, place: Place, *, first: bool = False) -> None:
        """Marks a connection as idle. ``first``: it is the first to be closed when room is needed."""
        group = self._idle.setdefault(place.network, OrderedDict())
        group[place] = None
        group.move_to_end(place, last=not first)

    def make_room(self) -> None:
        """Closes the longest idle connection of the network with most of them, so no network can push out others."""
        if self._idle:
            group = max(self._idle.values(), key=len)
            longest = next(iter(group))
            self.busy(longest)
            longest.hang_up()


class Acceptor:
    """Accepts the connections of a listening socket and counts each before its TLS handshake begins.

    asyncio's own server reports a connection only after the handshake, so silent clients without number could hold
    descriptors that the host needs.
    """

    def __init__(
        self,
        listener: socket.socket,
        protocol: Callable[[Place], asyncio.Protocol],
        waiting: Waiting,
        tls: ssl.SSLContext | None,
    ) -> None:
        self._listener = listener
        self._protocol = protocol
        self._waiting = waiting
        self._tls = tls
        self._loop = asyncio.get_running_loop()
        self._greeting: set[asyncio.Task[object]] = set()
        self._is_open = True
        self._told = -SILENCE
        listener.settimeout(0)
        self._loop.add_reader(listener, self._accept)

    def close(self) -> None:
        """Stops accepting and ends the handshakes under way. The listener's owner closes it."""
        if self._is_open:
            self._is_open = False
            self._loop.remove_reader(self._listener)
            for task in self._greeting:
                task.cancel()

    async def wait_closed(self) -> None:
        """Returns at once; uvicorn expects a server to have this method."""

    def _accept(self) -> None:
        for _ in range(AT_A_TIME):
            try:
                connection, address = self._listener.accept()
            except (BlockingIOError, InterruptedError, ConnectionAbortedError):
                return
            except OSError as error:
                if error.errno not in _NO_ROOM:
                    raise
                self._wait_for_room(error)
                return
            self._take(connection, network_of(str(address[0])))

    def _take(self, connection: socket.socket, network: str) -> None:
        connection.settimeout(0)
        place = Place(network)
        task: asyncio.Task[object] = self._loop.create_task(self._greet(connection, place))

        def greeted(task: "asyncio.Task[object]") -> None:
            self._greeting.discard(task)
            if not place.connected:
                connection.close()
                self._waiting.left(place)
            if not task.cancelled() and (error := task.exception()) is not None and not isinstance(error, OSError):
                _log.error("a connection could not be served", exc_info=error)

        task.add_done_callback(greeted)
        self._greeting.add(task)
        place.hang_up = task.cancel
        self._waiting.arrived(place)

    async def _greet(self, connection: socket.socket, place: Place) -> object:
        return await self._loop.connect_accepted_socket(
            lambda: self._protocol(place),
            connection,
            ssl=self._tls,
            ssl_handshake_timeout=None if self._tls is None else HANDSHAKE_TIMEOUT,
        )

    def _wait_for_room(self, error: OSError) -> None:
        if (now := time.monotonic()) - self._told > SILENCE:
            self._told = now
            _log.warning("no connection can be accepted: %s", os_error_text(error))
        self._waiting.make_room()
        self._loop.remove_reader(self._listener)
        self._loop.call_later(PAUSE, self._look_again)

    def _look_again(self) -> None:
        if self._is_open:
            self._loop.add_reader(self._listener, self._accept)
