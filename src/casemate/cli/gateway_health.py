"""Whether a gateway that was just started answers, asked by the way that its clients will take."""

import socket
import ssl
import time
from typing import TYPE_CHECKING
from urllib.parse import urlsplit

from casemate.wire.errors import CasemateError, os_error_text

if TYPE_CHECKING:
    from casemate.client.local import LocalMachine

HEALTH_TIME = 20.0
"""How long a gateway may take to answer /health (seconds); it has imported its modules before."""

_TRY_TIME = 5.0
_PAUSE = 0.1
_GOOD = b"HTTP/1.1 200 "


class UnhealthyError(CasemateError):
    """The gateway that was started does not answer."""


def wait_for_health(machine: "LocalMachine") -> None:
    """Returns once the gateway has answered ``GET /health`` over its own port.

    Raises:
        UnhealthyError: it does not, within :data:`HEALTH_TIME`; with its last words if it died.
    """
    deadline = time.monotonic() + HEALTH_TIME
    while True:
        try:
            answer = _asked(machine.status.url)
        except OSError as error:
            answer = os_error_text(error).encode()
        if answer.startswith(_GOOD):
            return
        died = _death(machine)
        if died or time.monotonic() > deadline:
            said = answer.split(b"\r\n", 1)[0].decode("latin-1")[:200]
            log = f"{machine.state / 'machine.log'} tells more"
            raise UnhealthyError(f"{died or f'the gateway at {machine.status.url} does not serve: {said}'}; {log}")
        time.sleep(_PAUSE)


def _death(machine: "LocalMachine") -> str:
    """How the gateway died, as the supervisor reports it; empty if it has not."""
    from casemate.client.local import NoMachineError, running_machine

    try:
        processes = running_machine(machine.state).status.processes
    except NoMachineError as error:
        return str(error)
    return next((process.last_death for process in processes if process.name == "gateway"), "")


def _asked(url: str) -> bytes:
    """The first bytes of the answer to ``GET /health``.

    The certificate is not checked, since nothing secret is sent.
    """
    place = urlsplit(url)
    with socket.create_connection((str(place.hostname), place.port or 0), _TRY_TIME) as sock:
        connection = sock
        if place.scheme == "https":
            context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
            context.check_hostname = False
            context.verify_mode = ssl.CERT_NONE
            connection = context.wrap_socket(sock)
        with connection:
            connection.sendall(f"GET /health HTTP/1.1\r\nHost: {place.netloc}\r\nConnection: close\r\n\r\n".encode())
            return connection.recv(4096)
