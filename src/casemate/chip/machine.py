"""The chip put together: state directory, fuses, silicon, runtime copy, supervisor and host."""

import asyncio
import os
import signal
import socket
import sys
from pathlib import Path

from casemate.chip.counters import Counters
from casemate.chip.fuses import load_fuses
from casemate.chip.options import ChipOptions
from casemate.chip.platform import this_platform
from casemate.chip.runtime import ENGINE, RuntimeCopy
from casemate.chip.server import ChipServer
from casemate.chip.silicon import Silicon
from casemate.chip.state_directory import open_state_directory
from casemate.chip.supervisor_link import SupervisorLink
from casemate.chip.tcb import load_tcb
from casemate.chip.thrift import give_back_memory
from casemate.link.async_channel import AsyncChannel
from casemate.link.errors import PeerGoneError
from casemate.wire.errors import CasemateError
from casemate.wire.faults import Code, fault
from casemate.wire.message import encode_message
from casemate.wire.messages.parent import Configure
from casemate.wire.messages.supervisor import ChipReady

SUPERVISOR_FRAME_LIMIT = 64 * 1024
"""Longest frame on the supervisor's link (bytes); a PCK chain is its longest content."""


def run_machine(options: ChipOptions) -> int:
    """Serves until SIGTERM or until the supervisor is gone; the exit status."""
    for descriptor in (options.host_fd, options.supervisor_fd, options.runtime_lock):
        os.set_inheritable(descriptor, False)  # noqa: FBT003 - the one way to call it
    return asyncio.run(_run(options))


async def _run(options: ChipOptions) -> int:
    stopping = asyncio.Event()
    asyncio.get_running_loop().add_signal_handler(signal.SIGTERM, stopping.set)
    supervisor = AsyncChannel(socket.socket(fileno=options.supervisor_fd), limit=SUPERVISOR_FRAME_LIMIT)
    host = AsyncChannel(socket.socket(fileno=options.host_fd))
    try:
        folder, _lock = open_state_directory(Path(os.fsdecode(options.state)))
        fuses = load_fuses(folder, options.seed)
        silicon = Silicon(folder, fuses, load_tcb(folder))
        counters = Counters(folder, fuses)
        link = SupervisorLink(supervisor, silicon)
        await link.certify()
    except PeerGoneError:
        return 0
    except CasemateError as error:
        return await _give_up(supervisor, error)
    copy = options.copy
    server = ChipServer(
        host,
        silicon,
        counters,
        platform=this_platform(),
        runtime=copy,
        configure=Configure(options.layers, str(copy.directory / ENGINE), options.pool),
    )
    serving = asyncio.create_task(server.run())
    try:
        await link.say(_ready(copy, silicon))
        give_back_memory()
        await _until_ended(asyncio.create_task(link.run()), asyncio.create_task(stopping.wait()), serving)
    except PeerGoneError:
        pass
    finally:
        serving.cancel()
        await server.end()
    return 0


async def _until_ended(
    supervised: "asyncio.Task[None]", stopped: "asyncio.Task[bool]", serving: "asyncio.Task[None]"
) -> None:
    """Until the supervisor is gone or says stop. A host that is gone ends nothing; a defect of the server ends all."""
    ends: set[asyncio.Task[None] | asyncio.Task[bool]] = {supervised, stopped}
    await asyncio.wait({*ends, serving}, return_when=asyncio.FIRST_COMPLETED)
    if serving.done() and serving.exception() is None:
        await asyncio.wait(ends, return_when=asyncio.FIRST_COMPLETED)
    for task in ends:
        task.cancel()
    if serving.done():
        serving.result()


async def _give_up(supervisor: AsyncChannel, error: CasemateError) -> int:
    sys.stderr.write(f"casemate.chip: {error}\n")
    try:
        await supervisor.send(encode_message(fault(Code.UNAVAILABLE, str(error))))
    except PeerGoneError:
        return 1  # said on standard error
    return 1


def _ready(copy: RuntimeCopy, silicon: Silicon) -> ChipReady:
    return ChipReady(
        pid=os.getpid(),
        ppid=silicon.ppid,
        platform=this_platform(),
        runtime_digest=copy.digest,
        runtime_rebuilt=copy.rebuilt,
        cpu_svn=silicon.tcb.cpu_svn,
        pce_svn=silicon.tcb.pce_svn,
    )
