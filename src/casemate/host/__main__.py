"""``python -I -m casemate.host``: started by the supervisor with the chip's link and a listening socket inherited."""

import argparse
import asyncio
import logging
import os
import resource
import signal
import socket
from logging.handlers import RotatingFileHandler
from pathlib import Path

from casemate.host.collateral import CollateralCache
from casemate.host.ocalls import BUILT_IN
from casemate.host.orchestrator import Orchestrator
from casemate.host.server import Reception
from casemate.link.async_channel import AsyncChannel
from casemate.link.calls import Caller
from casemate.sandbox.host import confine_host
from casemate.sandbox.lifeline import die_with_parent

LAST_WORDS = 0.5
"""How long a host without a chip goes on telling its clients so (seconds)."""

LOG_SIZE = 4 * 1024 * 1024
"""Longest log file (bytes): guests can make the host write. One older file is kept."""

MAX_DESCRIPTORS = 4096
"""One a client, one an enclave, and some: the usual soft limit of 1,024 is too few."""


def main() -> None:
    """Serves until SIGTERM, or until the chip or the supervisor is gone."""
    die_with_parent(os.getppid())
    parser = argparse.ArgumentParser(prog="casemate.host")
    parser.add_argument("--directory", type=Path, required=True, help="the host's own folder in the state directory")
    parser.add_argument("--chip-fd", type=int, required=True)
    parser.add_argument("--listener-fd", type=int, required=True)
    options = parser.parse_args()
    logging.basicConfig(
        level=logging.INFO,
        format="%(asctime)s %(name)s %(levelname)s %(message)s",
        handlers=[RotatingFileHandler(options.directory / "host.log", maxBytes=LOG_SIZE, backupCount=1)],
    )
    _, most = resource.getrlimit(resource.RLIMIT_NOFILE)
    wanted = MAX_DESCRIPTORS if most == resource.RLIM_INFINITY else min(most, MAX_DESCRIPTORS)
    resource.setrlimit(resource.RLIMIT_NOFILE, (wanted, most))
    for layer in confine_host(read=(options.directory,), write=(options.directory,)):
        logging.getLogger(__name__).info("layer %s: %s %s", layer.name, layer.state, layer.detail)
    asyncio.run(_serve(options.directory, options.chip_fd, options.listener_fd))


async def _serve(directory: Path, chip_fd: int, listener_fd: int) -> None:
    loop = asyncio.get_running_loop()
    stopping = asyncio.Event()
    loop.add_signal_handler(signal.SIGTERM, stopping.set)
    loop.add_signal_handler(signal.SIGINT, lambda: None)  # the supervisor decides
    chip_link = Caller(AsyncChannel(socket.socket(fileno=chip_fd)))
    orchestrator = Orchestrator(chip_link, CollateralCache(directory / "collateral.json"), BUILT_IN)
    listening = asyncio.create_task(_listen_to_chip(chip_link, orchestrator))
    door = asyncio.create_task(Reception(orchestrator).door(socket.socket(fileno=listener_fd)).run())
    stopped = asyncio.create_task(stopping.wait())
    await asyncio.wait({listening, door, stopped}, return_when=asyncio.FIRST_COMPLETED)
    if listening.done():  # without its chip a host is nothing, but those who wait are told
        await asyncio.wait({stopped}, timeout=LAST_WORDS)
    for task in (door, listening, stopped):
        task.cancel()


async def _listen_to_chip(chip_link: Caller, orchestrator: Orchestrator) -> None:
    await chip_link.run(orchestrator.on_news)
    orchestrator.chip_died()


if __name__ == "__main__":
    main()
