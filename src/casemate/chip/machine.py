"""The chip put together: state directory, fuses, platforms, runtime copy, supervisor and host."""

import asyncio
import os
import signal
import socket
import sys
from datetime import UTC, datetime
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING

from casemate.chip.anchors import FILE_NAME as ANCHORS
from casemate.chip.anchors import Anchors
from casemate.chip.fuses import FILE_NAME as FUSES
from casemate.chip.fuses import Fuses, load_fuses
from casemate.chip.inventory import expect
from casemate.chip.losses import accept_another_chip, accept_losses, check_complete
from casemate.chip.options import ChipOptions
from casemate.chip.runtime import ENGINE, PYTHON, RuntimeCopy, this_platform
from casemate.chip.server import ChipServer
from casemate.chip.sgx.platform import SgxPlatform
from casemate.chip.sgx.tcb import load_tcb
from casemate.chip.state_directory import open_state_directory
from casemate.chip.supervisor_link import SupervisorLink
from casemate.link.async_channel import AsyncChannel
from casemate.link.errors import PeerGoneError
from casemate.process.memory import give_back_memory
from casemate.process.stopped_children import STOPPED_TIME, end_stopped_children
from casemate.wire.encodings.message import encode_message
from casemate.wire.errors import CasemateError
from casemate.wire.messages.spawner import Configure
from casemate.wire.messages.supervisor import ChipReady
from casemate.wire.protocol.faults import Code, fault

if TYPE_CHECKING:
    from collections.abc import Callable

    from casemate.chip.snp.certification import Ask, SnpCertification
    from casemate.chip.snp.commands import Firmware
    from casemate.chip.snp.platform import SnpPlatform
    from casemate.wire.messages.snp_firmware import VmProcessIs

SUPERVISOR_FRAME_LIMIT = 256 * 1024
"""Longest frame on the supervisor's link (bytes); the list of all anchors is its longest content."""


def run_machine(options: ChipOptions) -> int:
    """Serves until SIGTERM or until the supervisor is gone; the exit status."""
    for descriptor in (options.host_fd, options.supervisor_fd, options.runtime_lock):
        os.set_inheritable(descriptor, False)  # this stage is the last: no process that it starts shall have them
    return asyncio.run(_run(options))


async def _run(options: ChipOptions) -> int:
    stopping = asyncio.Event()
    asyncio.get_running_loop().add_signal_handler(signal.SIGTERM, stopping.set)
    supervisor = AsyncChannel(socket.socket(fileno=options.supervisor_fd), limit=SUPERVISOR_FRAME_LIMIT)
    host = AsyncChannel(socket.socket(fileno=options.host_fd))
    copy = options.copy
    try:
        folder, _lock = open_state_directory(Path(os.fsdecode(options.state)))
        loss = options.accept_loss
        is_new = loss is not None and not accept_losses(folder, loss, datetime.now(UTC))
        check_complete(folder)
        fuses = load_fuses(folder, options.seed)
        if loss is not None and is_new:
            accept_another_chip(folder, loss, datetime.now(UTC))
        sgx = SgxPlatform(folder, fuses, load_tcb(folder))
        anchors = Anchors(folder, fuses)
        expect(folder, FUSES, ANCHORS)
        server = ChipServer(
            host,
            sgx,
            anchors,
            platform=this_platform(),
            runtime=copy,
            configure=Configure(
                options.layers,
                deno=str(copy.directory / ENGINE),
                python=str(copy.directory / PYTHON),
                pool=options.pool,
            ),
            power_firmware=_firmware(options, lambda: snp()),  # noqa: PLW0108 - made below
            snp=lambda: snp()[0],
        )
        link = SupervisorLink(
            supervisor, sgx, anchors, directory=folder, new_host=server.take_host, snp=lambda: snp()[1]
        )
        snp = cache(lambda: _snp(folder, fuses, options, link.ask))
        if options.snp_product is not None or options.snp_report is not None:
            snp()  # refuses a chip of another kind now, and not when the first VM is launched
        link.listen()
        await link.certify(datetime.now(UTC))
    except PeerGoneError:
        return 0
    except CasemateError as error:
        return await _give_up(supervisor, error)
    serving = asyncio.create_task(server.run())
    watching = asyncio.create_task(end_stopped_children(_say_killed))
    try:
        await link.say(_ready(copy, sgx))
        give_back_memory()
        await _until_ended(asyncio.create_task(link.run()), asyncio.create_task(stopping.wait()), serving)
    except PeerGoneError:
        pass
    finally:
        serving.cancel()
        watching.cancel()
        await server.end()
    return 0


def _snp(folder: Path, fuses: Fuses, options: ChipOptions, ask: "Ask") -> "tuple[SnpPlatform, SnpCertification]":
    from casemate.chip.snp.certification import SnpCertification
    from casemate.chip.snp.platform import SnpPlatform
    from casemate.chip.snp.platform_state import ChipKind

    platform = SnpPlatform(folder, fuses, ChipKind(options.snp_product, options.snp_report))
    return platform, SnpCertification(platform, folder, ask)


def _firmware(
    options: ChipOptions, snp: "Callable[[], tuple[SnpPlatform, SnpCertification]]"
) -> "Callable[[Callable[[VmProcessIs], None]], Firmware]":
    """Makes the SEV-SNP firmware when it is first wanted: a machine without VMs does without its memory."""

    def power(tell: "Callable[[VmProcessIs], None]") -> "Firmware":
        from casemate.chip.snp.commands import Firmware

        platform, certification = snp()
        python = Path(os.fsdecode(options.python))
        return Firmware(platform, certification, python=python, layers=options.layers, tell=tell)

    return power


async def _until_ended(
    supervised: "asyncio.Task[None]", stopped: "asyncio.Task[bool]", serving: "asyncio.Task[None]"
) -> None:
    """Until the supervisor is gone or says stop. A host that is gone ends nothing; a defect of the server ends all."""
    ends: set[asyncio.Task[None] | asyncio.Task[bool]] = {supervised, stopped}
    await asyncio.wait({*ends, serving}, return_when=asyncio.FIRST_COMPLETED)
    for task in ends:
        task.cancel()
    if serving.done():
        serving.result()


def _say_killed(pid: int) -> None:
    """Logs that a stopped child, the spawner or a VM, was killed; its death is handled as any other."""
    sys.stderr.write(f"casemate.chip: process {pid} was stopped (SIGSTOP) for {STOPPED_TIME:g} s, and killed\n")


async def _give_up(supervisor: AsyncChannel, error: CasemateError) -> int:
    sys.stderr.write(f"casemate.chip: {error}\n")
    try:
        await supervisor.send(encode_message(fault(Code.UNAVAILABLE, str(error))))
    except PeerGoneError:
        return 1  # the error is on standard error already
    return 1


def _ready(copy: RuntimeCopy, sgx: SgxPlatform) -> ChipReady:
    return ChipReady(
        pid=os.getpid(),
        ppid=sgx.ppid,
        platform=this_platform(),
        runtime=copy.parts,
        runtime_rebuilt=copy.rebuilt,
        cpu_svn=sgx.tcb.cpu_svn,
        pce_svn=sgx.tcb.pce_svn,
    )
