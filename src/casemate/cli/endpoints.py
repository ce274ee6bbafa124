"""Where a command finds its enclaves: a machine on this computer, by its state directory, or a gateway, by its URL."""

import os
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import typer

from casemate.cli.files import STANDARD_INPUT, InputFileError, read_file
from casemate.process.ownership import PlaceError, read_own_secret
from casemate.wire.errors import CasemateError, os_error_text
from casemate.wire.protocol.tee import Tee

if TYPE_CHECKING:
    from casemate.client.local import LocalMachine
    from casemate.client.sync import Client
    from casemate.images.image import Image

URL_VARIABLE, TOKEN_VARIABLE, CA_VARIABLE = "CASEMATE_URL", "CASEMATE_TOKEN", "CASEMATE_CA"

MAX_TOKEN_FILE = 4096
"""Longest token file (bytes)."""


class TokenElsewhereError(CasemateError):
    """The environment's token is for another gateway than the one that the command line names."""


@dataclass(frozen=True, slots=True)
class EndpointOptions:
    """Which endpoint the command line names."""

    state: Path | None = None
    url: str | None = None
    token_file: Path | None = None
    ca: Path | None = None


@dataclass(frozen=True, slots=True)
class LocalEndpoint:
    """A machine that runs on this computer."""

    machine: "LocalMachine"

    def __str__(self) -> str:
        return str(self.machine.state)

    def own_machine(self) -> "LocalMachine | None":
        return self.machine

    def connect(self) -> "Client":
        from casemate.client.sync import connect

        return connect(self.machine.host_socket)


@dataclass(frozen=True, slots=True)
class GatewayEndpoint:
    """A gateway. Nothing that it says of its machine is believed."""

    url: str
    token: str | None
    ca: Path | None

    def __repr__(self) -> str:
        """Without the token."""
        return f"GatewayEndpoint({self.url!r})"

    def __str__(self) -> str:
        return self.url

    def own_machine(self) -> "LocalMachine | None":
        """The machine behind it, where that is this user's own; None where only its operator could say what it is.

        It is, if a machine runs on this user's state directory whose supervisor says that this very URL is its
        gateway's: `casemate up` has its user export both.
        """
        from casemate.cli.own_machine import MachineGoneError, machine_on
        from casemate.client.local import NoMachineError
        from casemate.link.errors import TimedOutError

        try:
            machine = machine_on(None)
        except (NoMachineError, MachineGoneError, PlaceError, TimedOutError):  # none that is certainly this user's own
            return None
        return machine if machine.status.url == self.url.rstrip("/") else None

    def connect(self) -> "Client":
        from casemate.client.sync import connect

        return connect(self.url, token=self.token, verify=self.ca)


Endpoint = LocalEndpoint | GatewayEndpoint


def endpoint_of(given: EndpointOptions) -> Endpoint:
    """The endpoint that the command line names, or else the environment.

    What stands nearer wins: options, then ``CASEMATE_URL``, then ``CASEMATE_STATE``.

    The environment's token and CA belong to ``CASEMATE_URL``: another gateway could use the token there.

    Raises:
        NoMachineError: it is a state directory on which no machine runs.
        InputFileError: the token's file cannot be read.
        TokenElsewhereError: the environment has a token, for another gateway than the one that is named.
        AddressError: a URL is none.
    """
    if given.url is not None and given.state is not None:
        raise typer.BadParameter("give --url for a gateway, or --state for a machine on this computer, not both")
    exported = os.environ.get(URL_VARIABLE) or None
    url = given.url or (None if given.state is not None else exported)
    if url:
        is_exported = exported is not None and _is_same_gateway(url, exported)
        ca = Path(os.environ[CA_VARIABLE]) if is_exported and os.environ.get(CA_VARIABLE) else None
        token = _file_token(given.token_file) if given.token_file is not None else _exported_token(url, exported)
        return GatewayEndpoint(url, token, given.ca or (ca if url.startswith("https:") else None))
    for option, value in (("--token-file", given.token_file), ("--ca", given.ca)):
        if value is not None:
            raise typer.BadParameter(f"{option} is a gateway's, and no --url names one", param_hint=option)
    from casemate.cli.own_machine import machine_on

    return LocalEndpoint(machine_on(given.state))


def connected(given: EndpointOptions) -> "Client":
    """A connection to the host at the endpoint that the command line names."""
    return endpoint_of(given).connect()


@contextmanager
def launched(endpoint: Endpoint, client: "Client", image: "Image", tee: Tee = Tee.SGX) -> Iterator[int]:
    """Launches an enclave that is destroyed when the block ends, whether it ends well or not."""
    number = client.launch(image, temporary=True, tee=tee)
    try:
        yield number
    finally:
        # By a connection of its own: after Ctrl-C or an error, an answer to something else may wait on the other one.
        with suppress(CasemateError), endpoint.connect() as another:
            another.destroy(number)


def enclave_or_image(client: "Client", target: str) -> int | None:
    """The number of the enclave that the user has named; None where that is an image to launch.

    A function's name goes before a file's or folder's, which may be written with a path: ``./hello``.

    Raises:
        HostRefusedError: it looks like a function's name, and neither a function nor a file bears it; or several do.
    """
    from casemate.cli.own_machine import enclave_number
    from casemate.wire.protocol.faults import Code, FaultError
    from casemate.wire.protocol.function_name import is_function_name

    number = enclave_number(target)
    if number is not None or not is_function_name(target):
        return number
    try:
        return client.function(target).current.enclave
    except FaultError as error:
        if error.fault.code is Code.UNKNOWN_ENCLAVE and Path(target).exists():
            return None
        raise


def _is_same_gateway(url: str, other: str) -> bool:
    """Whether two URLs have the same scheme, host, port and path."""
    from casemate.client.address import base_url

    return url == other or base_url(url) == base_url(other)


def _exported_token(url: str, exported: str | None) -> str | None:
    token = os.environ.get(TOKEN_VARIABLE) or None
    if token is None or (exported is not None and _is_same_gateway(url, exported)):
        return token
    whose = f"is for {exported} ({URL_VARIABLE})" if exported else f"is for no gateway: {URL_VARIABLE} is not set"
    raise TokenElsewhereError(f"the token in {TOKEN_VARIABLE} {whose}, and is not sent to {url}")


def _file_token(file: Path) -> str:
    """The token in a file. It is never taken from the command line, which other users can see."""
    try:
        if file != STANDARD_INPUT:
            return read_own_secret(file, MAX_TOKEN_FILE).decode("ascii").strip()
        return read_file(file, what="token", limit=MAX_TOKEN_FILE).decode("ascii").strip()
    except PlaceError as error:
        raise InputFileError(f"token {error}") from None
    except OSError as error:
        raise InputFileError(f"token {file}: {os_error_text(error)}") from None
    except UnicodeDecodeError:
        raise InputFileError(f"token {file}: got other bytes, want one line of letters and digits") from None
