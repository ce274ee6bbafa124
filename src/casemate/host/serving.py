"""The host's process, with or without a gateway in it: reads its command line, confines itself, serves.

``casemate.host`` serves the Unix socket alone; ``casemate.gateway`` takes the same arguments and a few of its own, and
passes its HTTP server as ``beside``.
"""

import argparse
import asyncio
import logging
import os
import resource
import signal
import socket
import sys
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

from casemate.host.catalogue import Catalogue, CatalogueError
from casemate.host.endorsements import CollateralCache, Endorsements
from casemate.host.events import MachineEvent
from casemate.host.host_server import HostServer
from casemate.host.ocall_handlers import OcallHandlers
from casemate.host.orchestrator import Orchestrator
from casemate.host.state_keeper import StateKeeper
from casemate.host.tls_ports import TlsPorts
from casemate.host.vm.firmware import SevFirmware
from casemate.host.vm.vm_table import VmTable
from casemate.link.async_channel import AsyncChannel
from casemate.link.calls import Caller
from casemate.process.hardening import die_with_parent
from casemate.process.log_file import LogFileHandler, OneLineFormatter, RotatingFile
from casemate.process.memory import give_back_memory, keep_memory_of_pieces
from casemate.sandbox.host import confine_host
from casemate.wire.encodings.message import parse_message
from casemate.wire.messages.chip import StateIs
from casemate.wire.messages.snp_firmware import VmProcessIs

LAST_WORDS = 0.5
"""How long a host that has lost its chip goes on refusing its clients before it ends (seconds)."""

DRAIN_TIME = 10.0
"""How long calls under way may take to end after SIGTERM (seconds)."""

LOG_SIZE = 4 * 1024 * 1024
"""Longest log file (bytes): guests can make the host write. One older file is kept."""

SETTLED = 1.0
"""Seconds after its start when a host has imported and made what it needs, and gives free memory back."""

MAX_DESCRIPTORS = 4096
"""One for each client and each enclave, and some more: the usual soft limit of 1,024 is too low."""


@dataclass(frozen=True, slots=True)
class HostOptions:
    """The host's command line, which the supervisor writes."""

    directory: Path
    """The host's own folder in the state directory; all that it may write to."""
    catalogue: Path
    """Where it keeps images and deployments."""
    passing: bool
    """The next machine in the state directory removes that file, so it need not outlive the computer."""
    chip_fd: int
    """The host's end of the link to the chip."""
    listener_fd: int
    """The Unix socket that clients connect to: made by the supervisor, so that it outlives a host."""
    ra_tls_fds: tuple[int, ...]
    """TCP ports for enclaves that are TLS servers: bound by the supervisor, so that they outlive a host, too."""
    ready_fd: int | None
    """A pipe: a byte is written to it once clients are answered."""
    ocalls_fd: int | None
    """The link over which the supervisor gives the operator's OCALL handlers; None where there are none."""
    event: str
    """Why this host was started, for its first event: empty at the machine's start."""


@dataclass(frozen=True, slots=True)
class Prepared:
    """A confined process that can serve."""

    options: HostOptions


class Beside(Protocol):
    """A second server of the same host, next to the Unix socket: the gateway."""

    async def run(self) -> None:
        """Serves until :meth:`drain` has done its work, or until it fails."""

    async def drain(self, patience: float) -> None:
        """Takes no new clients, and returns when no call is under way any more, after ``patience`` seconds at most."""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """The arguments that every host takes."""
    parser.add_argument("--directory", type=Path, required=True, help="the host's own folder in the state directory")
    parser.add_argument("--catalogue", type=Path, required=True, help="the file of images and deployments")
    parser.add_argument("--passing", action="store_true", help="that file is for this machine's time alone")
    parser.add_argument("--chip-fd", type=int, required=True)
    parser.add_argument("--listener-fd", type=int, required=True)
    parser.add_argument("--ra-tls-fds", type=int, nargs="*", default=(), metavar="FD")
    parser.add_argument("--ready-fd", type=int, metavar="FD", help="is written to once clients are answered")
    parser.add_argument("--ocalls-fd", type=int, metavar="FD", help="brings the operator's OCALL handlers")
    parser.add_argument("--event", default="", metavar="TEXT", help="why this host was started")


def host_options(given: argparse.Namespace) -> HostOptions:
    """The values of these arguments."""
    return HostOptions(
        given.directory,
        given.catalogue,
        given.passing,
        given.chip_fd,
        given.listener_fd,
        tuple(given.ra_tls_fds),
        given.ready_fd,
        given.ocalls_fd,
        given.event,
    )


def prepare(options: HostOptions) -> Prepared:
    """Ties this process to its supervisor, opens its log and gives up what a host does not need.

    Whatever else a process reads or opens comes before this: afterwards it has its own folder, Python's files, and the
    descriptors that it inherited. No thread may have been started yet.
    """
    die_with_parent(os.getppid())
    handler = LogFileHandler(RotatingFile(options.directory / "host.log", LOG_SIZE))
    handler.setFormatter(OneLineFormatter("%(asctime)s %(name)s %(levelname)s %(message)s"))
    logging.basicConfig(level=logging.INFO, handlers=[handler])
    _, most = resource.getrlimit(resource.RLIMIT_NOFILE)
    wanted = MAX_DESCRIPTORS if most == resource.RLIM_INFINITY else min(most, MAX_DESCRIPTORS)
    resource.setrlimit(resource.RLIMIT_NOFILE, (wanted, most))
    for layer in confine_host(read=(options.directory,), write=(options.directory,)):
        logging.getLogger(__name__).info("layer %s: %s %s", layer.name, layer.state, layer.detail)
    return Prepared(options)


def serve(prepared: Prepared, beside: Callable[[Orchestrator, VmTable], Beside] | None = None) -> int:
    """Serves until SIGTERM, or until the chip is gone; the exit status.

    Args:
        prepared: by :func:`prepare`.
        beside: makes the second way in, once there is something behind it.
    """
    try:
        return asyncio.run(_serve(prepared, beside))
    except CatalogueError as error:
        sys.stderr.write(f"casemate.host: {error}\n")
        return 1


async def _serve(prepared: Prepared, beside: Callable[[Orchestrator, VmTable], Beside] | None) -> int:
    """Serves. The catalogue is read before the first client is accepted; the end begins with accepting no more."""
    keep_memory_of_pieces()
    options = prepared.options
    loop = asyncio.get_running_loop()
    stopping = asyncio.Event()
    loop.add_signal_handler(signal.SIGTERM, stopping.set)
    loop.add_signal_handler(signal.SIGINT, lambda: None)  # the supervisor decides
    chip_link = Caller(AsyncChannel(socket.socket(fileno=options.chip_fd)))
    endorsements = Endorsements(
        CollateralCache(options.directory / "collateral.json"), SevFirmware(chip_link), options.directory
    )
    keeper = StateKeeper(options.directory / "records.db")
    fd = options.ocalls_fd
    ocalls = None if fd is None else OcallHandlers(AsyncChannel(socket.socket(fileno=fd)))
    orchestrator = Orchestrator(
        chip_link,
        endorsements=endorsements,
        keeper=keeper,
        catalogue=Catalogue(options.catalogue, passing=options.passing),
        tls_ports=TlsPorts([socket.socket(fileno=descriptor) for descriptor in options.ra_tls_fds]),
        ocalls=ocalls,
    )
    vms = VmTable(chip_link, options.directory / "vms")

    def on_news(message: bytes) -> None:
        news: object = parse_message(message, StateIs, VmProcessIs)
        if isinstance(news, StateIs):
            orchestrator.on_news(news)
        elif isinstance(news, VmProcessIs):
            vms.on_news(news)

    listening = asyncio.create_task(chip_link.run(on_news))
    taking = None if ocalls is None else asyncio.create_task(ocalls.run())
    await orchestrator.restore()
    if options.event:
        orchestrator.events.publish(MachineEvent(options.event))
    server = HostServer(orchestrator, vms).server(socket.socket(fileno=options.listener_fd))
    other = None if beside is None else beside(orchestrator, vms)
    ways = [asyncio.create_task(server.run())] + ([] if other is None else [asyncio.create_task(other.run())])
    stopped = asyncio.create_task(stopping.wait())
    if options.ready_fd is not None:
        await asyncio.sleep(0)  # all listeners have started
        os.write(options.ready_fd, b"\n")
        os.close(options.ready_fd)
    asyncio.get_running_loop().call_later(SETTLED, give_back_memory)
    await asyncio.wait({listening, stopped, *ways}, return_when=asyncio.FIRST_COMPLETED)
    failed = [way for way in ways if way.done()]
    if listening.done():  # nothing can go on without the chip; clients that wait get a refusal
        orchestrator.chip_died()
        vms.chip_died()
    patience = DRAIN_TIME if stopped.done() else LAST_WORDS
    await asyncio.gather(server.drain(patience), *([] if other is None else [other.drain(patience)]))
    for task in (listening, stopped, *ways, *(() if taking is None else (taking,))):
        task.cancel()
    await keeper.close()
    for way in failed:
        way.result()
    return 0
