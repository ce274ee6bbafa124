"""The gateway's process: the host's, which serves HTTP beside its Unix socket."""

import argparse
import asyncio
import gc
import importlib
import socket
import ssl
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from casemate.gateway.app import Gateway
from casemate.gateway.http.host_header import host_name
from casemate.gateway.http.request_log import RequestLog
from casemate.gateway.http.server import HttpServer
from casemate.gateway.http.settings import LOOPBACK_NAMES, Settings
from casemate.gateway.http.tokens import TokenStore
from casemate.gateway.v1.machine import MachineFile
from casemate.host.orchestrator import Orchestrator
from casemate.host.serving import add_arguments, host_options, prepare, serve
from casemate.host.vm.vm_table import VmTable
from casemate.link.server_tls import CertificateFileError, server_context

_LATE_IMPORTS = (
    "anyio._backends._asyncio",
    "concurrent.futures.thread",
    "encodings.idna",
    "encodings.latin_1",
    "prometheus_client.exposition",
    "stringprep",
)
"""What would else be imported by the first request that needs it. Python's own files stay readable under confinement;
this is for the time that the first request takes."""

_DIGEST_SIZE = 32


def main() -> int:
    """Serves until SIGTERM, or until chip or supervisor is gone; returns the exit status."""
    parser = argparse.ArgumentParser(prog="casemate.gateway")
    add_arguments(parser)
    parser.add_argument("--http-fd", type=int, action="append", required=True, help="a TCP socket that listens")
    parser.add_argument(
        "--url", default="", help="where clients find it: its name is one that the Host header may have"
    )
    parser.add_argument("--token-digest", type=_digest, help="SHA-256 of this run's own token, hex")
    parser.add_argument("--tls-cert", type=Path, help="PEM: the server's certificate, then its issuers'")
    parser.add_argument("--tls-key", type=Path, help="PEM, without passphrase")
    parser.add_argument("--cors-origin", action="append", default=[], help="an origin whose pages may call")
    parser.add_argument("--allow-host", action="append", default=[], help="a name that the Host header may have")
    given = parser.parse_args()
    options = host_options(given)
    try:
        tls = server_context(given.tls_cert, given.tls_key) if given.tls_cert is not None else None
    except CertificateFileError as error:
        sys.stderr.write(f"casemate.gateway: {error}\n")
        return 2
    for module in _LATE_IMPORTS:
        importlib.import_module(module)
    log = RequestLog(options.directory / "gateway.log")
    facing = Facing(
        sockets=[socket.socket(fileno=number) for number in given.http_fd],
        tls=tls,
        tokens=TokenStore(options.directory / "tokens.json", given.token_digest),
        log=log,
        folder=options.directory,
        settings=Settings(
            hosts=LOOPBACK_NAMES | host_name(given.url) | {name.lower() for name in given.allow_host},
            origins=frozenset(given.cors_origin),
        ),
    )
    prepared = prepare(options)
    gc.collect()
    gc.freeze()  # what was imported stays: the collector need not look at it again, nor touch its pages
    return serve(prepared, lambda orchestrator, vms: HttpWay(orchestrator, vms, facing))


@dataclass(frozen=True, slots=True)
class Facing:
    """All that the way in by HTTP is made of."""

    sockets: Sequence[socket.socket]
    tls: ssl.SSLContext | None
    tokens: TokenStore
    log: RequestLog
    folder: Path
    settings: Settings


class HttpWay:
    """Serves HTTP beside the Unix socket (:class:`casemate.host.serving.Beside`)."""

    def __init__(self, orchestrator: Orchestrator, vms: VmTable, facing: Facing) -> None:
        self._gateway = Gateway(
            orchestrator,
            vms,
            tokens=facing.tokens,
            machine=MachineFile(facing.folder / "machine.json"),
            learner=facing.folder / "learner",
            guests=facing.folder / "guests",
            log=facing.log,
            settings=facing.settings,
        )
        self._server = HttpServer(
            self._gateway.edge,
            connections=facing.settings.connections,
            tls=facing.tls,
            malformed=facing.log.metrics.malformed.inc,
            each_second=self._gateway.edge.look_again,
        )
        self._sockets = facing.sockets
        self._done = asyncio.Event()

    async def run(self) -> None:
        """Serves until :meth:`drain`."""
        try:
            await self._server.run_on(self._sockets)
        finally:
            self._done.set()

    async def drain(self, patience: float) -> None:
        """Refuses new connections, ends the streams of events and consoles, and waits for requests under way."""
        self._gateway.close()
        self._server.drain(patience)
        try:
            async with asyncio.timeout(patience + 1):
                await self._done.wait()
        except TimeoutError:
            return


def _digest(text: str) -> bytes:
    try:
        digest = bytes.fromhex(text)
    except ValueError:
        digest = b""
    if len(digest) != _DIGEST_SIZE:
        raise argparse.ArgumentTypeError("want 32 bytes in hexadecimal")
    return digest
