"""The handlers' process: loads the operator's module, then answers the supervisor and each host that it brings."""

import argparse
import asyncio
import contextlib
import faulthandler
import logging
import os
import resource
import signal
import socket
import sys
from pathlib import Path

from casemate.link.async_channel import AsyncChannel
from casemate.link.calls import Reply, serve, serve_frames
from casemate.link.channel import Frame, enlarge_send_buffer
from casemate.ocalls.answering import Answering
from casemate.ocalls.errors import HandlersError
from casemate.ocalls.handlers import load_handlers
from casemate.ocalls.output import log_to
from casemate.process.hardening import die_with_parent
from casemate.wire.encodings.message import parse_message, tag_of
from casemate.wire.messages.ocalls import (
    AT_ONCE,
    OCALLS_FRAME,
    AreYouThere,
    AskHandler,
    HandlerAnswer,
    HandlersAre,
    ListHandlers,
    ServeHost,
)
from casemate.wire.protocol.faults import Code, refuse

_log = logging.getLogger(__name__)


def main() -> int:
    """Serves until SIGTERM, or until the supervisor is gone; 1 where the module cannot be loaded."""
    parser = argparse.ArgumentParser(prog="casemate.ocalls", allow_abbrev=False)
    parser.add_argument("--module", type=Path, required=True, help="the operator's handlers")
    parser.add_argument("--log", type=Path, required=True)
    parser.add_argument("--supervisor-fd", type=int, required=True)
    given = parser.parse_args()
    die_with_parent(os.getppid())
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))  # a core file would hold the operator's secrets
    faulthandler.enable(sys.stderr)  # the supervisor ends a process that hangs by SIGABRT, and its log shows where
    log_to(given.log)
    supervisor = socket.socket(fileno=given.supervisor_fd)
    try:
        answering = Answering(load_handlers(given.module), given.module, _end)
    except HandlersError as error:
        asyncio.run(_refuse(supervisor, error))
        return 1
    _log.info("%s answers %s", given.module, ", ".join(answering.names))
    asyncio.run(_serve(supervisor, answering))
    return 0


async def _refuse(supervisor: socket.socket, error: HandlersError) -> None:
    async def answer(_message: bytes) -> Reply:
        raise refuse(Code.LAUNCH_REFUSED, str(error))

    await serve(AsyncChannel(supervisor), answer, at_once=1)


async def _serve(supervisor: socket.socket, answering: Answering) -> None:
    stopping = asyncio.Event()
    asyncio.get_running_loop().add_signal_handler(signal.SIGTERM, stopping.set)
    hosts: set[asyncio.Task[None]] = set()
    names = HandlersAre(answering.names)

    async def answer(frame: Frame) -> Reply:
        asked: object = parse_message(frame.payload, ListHandlers, ServeHost, AreYouThere)
        match asked:
            case ServeHost():
                for descriptor in frame.descriptors[:1]:
                    host = asyncio.create_task(_serve_host(socket.socket(fileno=os.dup(descriptor)), answering))
                    hosts.add(host)
                    host.add_done_callback(hosts.discard)
            case AreYouThere():
                await answering.check_alive()
        return Reply(names)

    takes = tag_of(ServeHost)
    serving = asyncio.create_task(
        serve_frames(AsyncChannel(supervisor), answer, at_once=2, takes=lambda message: message[: len(takes)] == takes)
    )
    await asyncio.wait({serving, asyncio.create_task(stopping.wait())}, return_when=asyncio.FIRST_COMPLETED)


async def _serve_host(link: socket.socket, answering: Answering) -> None:
    """Answers one host until it is gone."""

    async def answer(message: bytes) -> Reply:
        return Reply(HandlerAnswer(await answering.answer(parse_message(message, AskHandler))))

    enlarge_send_buffer(link)
    channel = AsyncChannel(link, limit=OCALLS_FRAME, descriptors=False)
    with contextlib.closing(channel):
        await serve(channel, answer, at_once=AT_ONCE)


def _end() -> None:
    """Ends this process at once: nothing else ends threads that hang."""
    reason = "too many handlers go on after their time is up"
    _log.error("%s: this process ends, and is started anew", reason)
    os.write(2, f"{reason}\n".encode())
    os._exit(1)
