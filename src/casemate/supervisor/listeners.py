"""The machine's listening sockets: the supervisor's own, so that clients wait in them while a host is started anew."""

import errno
import ipaddress
import socket
from pathlib import Path

from casemate.link.listen_address import address_problem
from casemate.process.places import listen_for_clients
from casemate.supervisor.errors import PortError
from casemate.supervisor.options import DEFAULT_PORT, PORTS_TRIED, HttpOptions
from casemate.wire.errors import os_error_text

BACKLOG = 1024
"""Clients that may wait to be let in; the kernel has a limit of its own."""

RA_TLS_PORTS = 8
"""How many enclaves of a machine can be TLS servers of their own at the same time."""


class Listeners:
    """All sockets that clients connect to, open as long as the machine runs."""

    def __init__(self, options: HttpOptions | None) -> None:
        """Opens the gateway's, if there is to be one: before anything is made in the state directory.

        Raises:
            PortError: it cannot be had.
        """
        self.http: socket.socket | None = None
        self.host: socket.socket | None = None
        self.ra_tls: tuple[socket.socket, ...] = ()
        """Bound, and listening once an enclave has one."""
        self.url = ""
        """The gateway's URL; empty if there is none."""
        if options is not None:
            self.http = listen_http(options.address, options.port)
            self.url = _url(options, self.http.getsockname()[1])

    def open(self, state: Path) -> None:
        """Opens the others, which are in the state directory or have no place of their own.

        Raises:
            PlaceError: the socket's folder is not this user's alone.
        """
        self.host = listen_for_clients(state, backlog=BACKLOG)
        self.ra_tls = tuple(_bound_to_loopback() for _ in range(RA_TLS_PORTS))

    def close(self) -> None:
        """Closes all; who still waits is hung up on."""
        for listener in (self.http, self.host, *self.ra_tls):
            if listener is not None:
                listener.close()


def _bound_to_loopback() -> socket.socket:
    """A TCP socket at a port that the system chooses."""
    listener = socket.socket(socket.AF_INET, socket.SOCK_STREAM, socket.IPPROTO_TCP)
    listener.bind(("127.0.0.1", 0))
    return listener


def listen_http(address: str, port: int | None) -> socket.socket:
    """A listening TCP socket.

    Raises:
        PortError: the address is none of this computer's, or the port is taken.
    """
    problem = address_problem(address)
    if problem:
        raise PortError(problem)
    family = socket.AF_INET6 if ipaddress.ip_address(address).version == 6 else socket.AF_INET
    ports = [port] if port is not None else [*range(DEFAULT_PORT, DEFAULT_PORT + PORTS_TRIED)]
    for tried in ports:
        # The protocol is named since asyncio sets TCP_NODELAY on such sockets alone; else each call waits 40 ms.
        listener = socket.socket(family, socket.SOCK_STREAM, socket.IPPROTO_TCP)
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            listener.bind((address, tried))
            listener.listen(BACKLOG)
        except OSError as error:
            listener.close()
            if error.errno == errno.EADDRINUSE and port is None:
                continue
            raise PortError(_why(address, tried, error)) from None
        return listener
    raise PortError(f"no port of {address} from {ports[0]} to {ports[-1]} is free: name one with --port")


def _why(address: str, port: int, error: OSError) -> str:
    advice = {
        errno.EADDRINUSE: "somebody listens there already: name another with --port, or none",
        errno.EACCES: "ports below 1024 are root's: name another with --port",
        errno.EADDRNOTAVAIL: "it is none of this computer's addresses: name one with --bind",
    }
    return f"cannot listen at {address} port {port}: {advice.get(error.errno or 0) or os_error_text(error)}"


def _url(options: HttpOptions, port: int) -> str:
    address = ipaddress.ip_address(options.address)
    if address.is_unspecified:  # every address of this computer: the URL is for this computer's own clients
        address = ipaddress.ip_address("127.0.0.1" if address.version == 4 else "::1")
    host = f"[{address}]" if address.version == 6 else str(address)
    return f"{options.scheme}://{host}:{port}"
